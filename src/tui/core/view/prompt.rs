//! The prompt at the bottom of a view, and a message about its input.

use ratatui::buffer::Buffer;
use ratatui::layout::Position;

use super::draw::{clear, put, put_message, put_right};
use super::footer;
use crate::bulk::{Known, Operation};
use crate::format;
use crate::model::layout::Layout;
use crate::model::{ExportOf, Model, Prompt, PromptPurpose};
use bklit_wire::text;

/// A single event.
const ONE: Known = Known { count: 1, is_exact: true };

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
        PromptPurpose::Delete(_) => theme.badge(),
        PromptPurpose::Confirm(ref plan) if plan.operation == Operation::Delete => theme.badge(),
        _ => theme.title(),
    };
    clear(buf, area, 0, width);
    let used = put(buf, area, 0, width * 3 / 4, &label(prompt), style);
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
            put_message(buf, layout.hints, &text::safe(problem), theme.error());
        }
        None => footer::hints(model, buf, layout.hints),
    }
    let x = start + prompt.input.visual_cursor().saturating_sub(scroll).min(room);
    Position { x: area.x + u16::try_from(x).unwrap_or(0), y: area.y }
}

fn label(prompt: &Prompt) -> String {
    match &prompt.purpose {
        PromptPurpose::QueueFilter { .. } | PromptPurpose::HelpFilter { .. } => {
            " Only with: ".to_owned()
        }
        PromptPurpose::Export(ExportOf::Failed(_, known)) => {
            format!(" Export {} to file: ", amount(*known, "failed event"))
        }
        PromptPurpose::Export(ExportOf::Lines(_)) => {
            " Export the group's lines to file: ".to_owned()
        }
        PromptPurpose::Export(ExportOf::Rows(table)) => {
            let rows = format::plural(table.rows().len() as u64, "row");
            format!(" Export {rows} to FILE.csv or .jsonl: ")
        }
        PromptPurpose::Rule(_, known) => format!(" Edit {} by rule: ", amount(*known, "event")),
        PromptPurpose::Delete(_) => confirmation(&Operation::Delete, ONE),
        PromptPurpose::Confirm(plan) => confirmation(&plan.operation, plan.known),
    }
}

/// `5 events`, or if there may be others `at least 5 events`
fn amount(known: Known, of: &str) -> String {
    let count = format::plural(known.count, of);
    if known.is_exact { count } else { format!("at least {count}") }
}

fn confirmation(operation: &Operation, known: Known) -> String {
    let (what, verb) = (amount(known, "event"), operation.verb());
    let number = known.count;
    match (operation, known.is_exact) {
        (Operation::Delete, true) => {
            format!(" Delete {what} permanently? Type {number} or {verb}: ")
        }
        (Operation::Delete, false) => format!(" Delete {what} permanently? Type {verb}: "),
        (Operation::Edit(_), _) => format!(" Edit and retry {what}? Type {number}: "),
        (_, true) => format!(" Retry {what}? Type {number}: "),
        (_, false) => format!(" Retry {what}? Type {verb}: "),
    }
}
