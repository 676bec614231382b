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
mod draw;
mod empty;
mod figures;
mod footer;
mod header;
mod log_rows;
mod palette;
mod panes;
mod prompt;
mod screens;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::model::Model;
use super::model::layout::{Layout, MIN_HEIGHT, MIN_WIDTH};
use bklit_wire::text;

/// Columns of what was typed that are shown of a filter or search.
const MAX_QUERY: usize = 24;

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
    let shown = screens::draw(model, buf, &layout);
    let cursor = footer::render(model, buf, &layout).or(shown);
    if let Some(position) = cursor {
        frame.set_cursor_position(position);
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
