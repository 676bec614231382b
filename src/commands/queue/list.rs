//! `queue list`.

use color_eyre::Result;
use unicode_width::UnicodeWidthStr;

use super::print;
use super::walk::{Entry, Walk, Which};
use crate::cli::FilterArgs;
use crate::pipeline::event::EventKind;
use crate::pipeline::queue::Queue;
use crate::tui::core::text::{clip, safe, safe_json};

/// The widest that ids which clients chose, and projects, are shown in a table.
const MAX_CELL: usize = 48;
/// Rows that a table is laid out for; more are laid out anew.
const ROWS_AT_ONCE: usize = 500;

pub(super) async fn run(
    queue: &dyn Queue,
    which: Which,
    filter: &FilterArgs,
    limit: usize,
    json: bool,
) -> Result<()> {
    let mut walk = Walk::over(queue, which, filter);
    if which == Which::Waiting {
        walk = walk.oldest_first();
    }
    let mut left = limit;
    let mut shown = false;
    while let Some(mut entries) = walk.next().await? {
        let more = entries.len() > left;
        entries.truncate(left);
        left -= entries.len();
        for rows in entries.chunks(ROWS_AT_ONCE) {
            shown = true;
            let text = if json { lines(rows)? } else { rows_of(which, rows) };
            if !print(&text)? {
                return Ok(());
            }
        }
        if more {
            eprintln!("There are more: only the first {limit} are shown (see --limit)");
            return Ok(());
        }
    }
    if !shown && !json {
        print(&format!("No {} events.\n", which.adjective()))?;
    }
    Ok(())
}

/// One JSON object a line.
pub(super) fn lines(entries: &[Entry]) -> Result<String> {
    let mut text = String::new();
    for entry in entries {
        text.push_str(&safe_json(&serde_json::to_string(entry)?));
        text.push('\n');
    }
    Ok(text)
}

pub(super) fn rows_of(which: Which, entries: &[Entry]) -> String {
    let shown = |text: &Option<String>| {
        let text = safe(text.as_deref().unwrap_or("–"));
        clip(&text, MAX_CELL).into_owned()
    };
    let start = |entry: &Entry| {
        let event = &entry.event;
        let kind = event.r#type.map_or("–", EventKind::as_str).to_owned();
        [entry.id.clone(), shown(&event.event_id), kind, shown(&event.project_id)]
    };
    let time = |at: Option<crate::pipeline::time::UtcMillis>| {
        at.map_or_else(|| "unknown".to_owned(), |at| at.to_date_time())
    };
    match which {
        Which::Failed => {
            let rows: Vec<_> = entries
                .iter()
                .map(|entry| {
                    let [id, event, kind, project] = start(entry);
                    let reason = entry.reason.as_deref().unwrap_or_default();
                    [id, event, kind, project, time(entry.failed_at), safe(reason).into_owned()]
                })
                .collect();
            table(["ID", "EVENT", "TYPE", "PROJECT", "FAILED (UTC)", "REASON"], &rows)
        }
        Which::Waiting => {
            let rows: Vec<_> = entries
                .iter()
                .map(|entry| {
                    let [id, event, kind, project] = start(entry);
                    [id, event, kind, project, time(entry.event.queued_at)]
                })
                .collect();
            table(["ID", "EVENT", "TYPE", "PROJECT", "ACCEPTED (UTC)"], &rows)
        }
    }
}

/// Columns as wide as they need to be.
pub(super) fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].width());
        cells.max().unwrap_or_default().max(header[column].width())
    });
    let line = |cells: [&str; N]| {
        let mut line = String::new();
        for (cell, width) in cells.into_iter().zip(widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.width()) + 2));
        }
        line.trim_end().to_owned() + "\n"
    };
    let rows = rows.iter().map(|row| line(std::array::from_fn(|column| row[column].as_str())));
    line(header) + &rows.collect::<String>()
}
