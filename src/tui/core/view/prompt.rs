//! The prompt at the bottom of a view, and a message about its input.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::draw::{clear, put, put_right};
use super::footer;
use crate::format;
use crate::model::layout::Layout;
use crate::model::{ExportOf, Model, Prompt, PromptPurpose};
use bklit_wire::backend::Change;
use bklit_wire::text;

/// Returns the cursor's position.
pub(super) fn render(
    model: &Model,
    prompt: &Prompt,
    buf: &mut Buffer,
    layout: &Layout,
) -> Position {
    let theme = model.options.theme;
    let area = layout.status;
    let width = usize::from(area.width);
    let style = match prompt.purpose {
        PromptPurpose::Confirm(Change::Delete, _) => theme.badge(),
        _ => theme.title(),
    };
    clear(buf, area, 0, width);
    let used = put(buf, area, 0, width * 3 / 4, &label(model, prompt), style);
    let result = match prompt.purpose {
        PromptPurpose::QueueFilter { .. } => {
            format!("{} shown", format::count(model.panels().queue.count() as u64))
        }
        _ => String::new(),
    };
    put_right(buf, area, width - 1, 20, &result, theme.dim());
    let start = used + 1;
    let room = width.saturating_sub(start + text::width(&result) + 3).max(1);
    let scroll = prompt.input.visual_scroll(room);
    let value = prompt.input.value();
    let value = &value[text::fit(value, scroll).len()..];
    put(buf, area, start, room, text::fit(value, room), theme.strong());
    match &prompt.problem {
        Some(problem) => {
            let hints: Rect = layout.hints;
            put(buf, hints, 1, width - 2, &text::safe(problem), theme.error());
        }
        None => footer::hints(model, buf, layout.hints),
    }
    let x = start + prompt.input.visual_cursor().saturating_sub(scroll).min(room);
    Position { x: area.x + u16::try_from(x).unwrap_or(0), y: area.y }
}

fn label(model: &Model, prompt: &Prompt) -> String {
    match &prompt.purpose {
        PromptPurpose::QueueFilter { .. } | PromptPurpose::HelpFilter { .. } => {
            " Only with: ".to_owned()
        }
        PromptPurpose::Export(ExportOf::Shown) => " Export to file: ".to_owned(),
        PromptPurpose::Export(ExportOf::Failed(ids)) => {
            format!(" Export {} to file: ", format::plural(ids.len() as u64, "failed event"))
        }
        PromptPurpose::Export(ExportOf::Lines(_)) => {
            " Export the group's lines to file: ".to_owned()
        }
        PromptPurpose::Export(ExportOf::Rows(table)) => {
            let rows = format::plural(table.rows().len() as u64, "row");
            format!(" Export {rows} to FILE.csv or .jsonl: ")
        }
        PromptPurpose::Confirm(change, ids) => {
            let count = format::count(ids.len() as u64);
            let unknown = if ids.len() > 1 { model.panels().queue.unknown() } else { 0 };
            let what = match (ids.len(), unknown) {
                (1, _) => format!("{count} event"),
                (_, 0) => format!("{count} events"),
                // The count does not include events that are not loaded.
                (_, _) => format!("the newest {count}"),
            };
            match change {
                Change::Retry => format!(" Retry {what}? Type {}: ", ids.len()),
                Change::Delete => {
                    format!(" Delete {what} permanently? Type {} or delete: ", ids.len())
                }
            }
        }
    }
}
