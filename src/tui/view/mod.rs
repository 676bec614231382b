//! Draws the model, and changes nothing in it.
//!
//! ```text
//! name  source  health                        rate  LIVE     header
//! 1 ● ingestion  rate  errors  p50 p95 p99  ▁▂▃ │ queue      figures, a row for each stage,
//! …                                             │            or all stages in two rows
//! ─ queue ──────────────────────────────── what is amiss ─   rule
//! time stage level message details       event duration      log, or what it waits for
//! ─ what is shown ─────────────────────────── where I am ─   status, or the text field
//! keys                                                       hints
//! ```

mod alerts;
mod ascii;
mod batches;
mod boards;
mod detail;
mod draw;
mod empty;
mod failed;
mod figures;
mod footer;
pub mod format;
mod header;
mod help;
mod live;
mod log;
mod palette;
mod panes;
mod projects;
mod prompt;
mod queue;
mod trace;
mod verify;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::model::layout::{Layout, MIN_HEIGHT, MIN_WIDTH};
use super::model::{Model, Screen};
use bklit_wire::text;

/// Draws the whole screen.
pub fn render(model: &Model, frame: &mut Frame<'_>) {
    whole(model, frame);
    if model.ascii {
        ascii::simplify(frame.buffer_mut());
    }
}

fn whole(model: &Model, frame: &mut Frame<'_>) {
    let area = frame.area();
    // The terminal may have another size already than the model was told.
    let Some(layout) = Layout::of(area, model.amount) else {
        too_small(frame.buffer_mut(), area);
        return;
    };
    let buf = frame.buffer_mut();
    header::render(model, buf, layout.header);
    let mut list_cursor = None;
    match model.screen() {
        Screen::Log => {
            figures::render(model, buf, &layout);
            panes::render(model, buf, &layout);
        }
        Screen::Detail(shown) => detail::render(model, shown, buf, layout.overlay()),
        Screen::Trace(shown) => trace::render(model, shown, buf, layout.overlay()),
        Screen::Projects(list) => {
            list_cursor = Some(projects::render(model, list, buf, layout.overlay()));
        }
        Screen::Queue => queue::render(model, buf, layout.overlay()),
        Screen::Failed(shown) => failed::render(model, shown, buf, layout.overlay()),
        Screen::Batch(shown) => batches::in_full(model, shown, buf, layout.overlay()),
        Screen::Live => live::render(model, buf, layout.overlay()),
        Screen::Verify => verify::render(model, buf, layout.overlay()),
        Screen::Help { scroll, of } => help::render(model, *scroll, *of, buf, layout.overlay()),
    }
    let cursor = footer::render(model, buf, &layout).or(list_cursor);
    if let Some(position) = cursor {
        frame.set_cursor_position(position);
    }
}

/// How many rows the content of the view over the log has.
pub fn overlay_rows(model: &Model, width: u16) -> usize {
    match model.screen() {
        Screen::Failed(shown) => failed::rows(model, shown, width).len(),
        Screen::Detail(shown) => detail::rows(model, shown, width).len(),
        Screen::Help { of, .. } => help::rows(model, *of, width).len(),
        _ => 0,
    }
}

fn too_small(buf: &mut Buffer, area: Rect) {
    let need = format!(
        "Terminal too small: {}×{}. The console needs {MIN_WIDTH}×{MIN_HEIGHT}.",
        area.width, area.height
    );
    let short = format!("needs {MIN_WIDTH}×{MIN_HEIGHT}");
    let needed = text::wrap(&need, area.width.into());
    let rows = if needed.len() <= usize::from(area.height) {
        needed
    } else {
        text::wrap(&short, area.width.into())
    };
    for (y, row) in (area.top()..area.bottom()).zip(rows) {
        buf.set_stringn(area.x, y, row, area.width.into(), ratatui::style::Style::new());
    }
}
