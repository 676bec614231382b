//! `queue list`: prints failed or waiting events.

use color_eyre::Result;

use super::print;
use super::walk::{Entry, Walk, Which};
use crate::cli::FilterArgs;
use bklit_pipeline::queue::Queue;
use bklit_wire::event::EventKind;
use bklit_wire::table::Table;
use bklit_wire::text::{clip, safe, safe_json};
use bklit_wire::time::UtcMillis;

/// The widest cell, in columns, of event ids and projects, which clients choose.
const MAX_CELL: usize = 48;
/// Rows whose column widths are computed together.
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
            eprintln!("Output truncated: only the first {limit} events are shown (see --limit)");
            return Ok(());
        }
    }
    if !shown && !json {
        print(&format!("No {} events.\n", which.adjective()))?;
    }
    Ok(())
}

/// One JSON object per line.
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
    let time =
        |at: Option<UtcMillis>| at.map_or_else(|| "unknown".to_owned(), UtcMillis::to_date_time);
    let mut table = match which {
        Which::Failed => Table::new(["ID", "EVENT", "TYPE", "PROJECT", "FAILED (UTC)", "REASON"]),
        Which::Waiting => Table::new(["ID", "EVENT", "TYPE", "PROJECT", "ACCEPTED (UTC)"]),
    };
    for entry in entries {
        let [id, event, kind, project] = start(entry);
        match which {
            Which::Failed => {
                let reason = entry.reason.clone().unwrap_or_default();
                table.push([id, event, kind, project, time(entry.failed_at), reason]);
            }
            Which::Waiting => table.push([id, event, kind, project, time(entry.event.queued_at)]),
        }
    }
    table.to_string()
}
