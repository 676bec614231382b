//! Draws the model, without changing it.
//!
//! ```text
//!  name  source  health                    rate  LIVE      header
//! ╭─ queue ────────────────────────── accept→stored ─╮    figures: the flow,
//! │ ingestion ──▶ queue ──▶ worker ──▶ …             │
//! ├─ stage ── rate ── errors ── p50 p95 p99 ─┬ queue ┤    a row per stage, and the queue
//! │ 1 ● ingestion …                          │       │
//! ├─▶log ────────────────────────── what is wrong ───┤    rule
//! │ time stage level message details  event duration │    log, or why it is empty
//! ╰─ what is shown ────────────────────── position ──╯    status, or the text field
//!  RUNNING …                                               a change of many failed events
//!  ALERT …                                                 alerts
//!  keys                                                    hints
//! ```
//!
//! - `alerts`: the banner of alerts
//! - `ascii`: replaces everything that is not ASCII
//! - `bulk`: the row of a change of many failed events
//! - `draw`: shared drawing functions
//! - `empty`: shown instead of the log while there are no lines
//! - `figures`: the figures of stages and queue
//! - `flow`: the path of events through the stages
//! - `footer`: the last rows
//! - `graph`: graphs of values over time, with axes
//! - `header`: the first row
//! - `heat_map`: latencies over time
//! - `log_rows`: the rows of the log
//! - `palette`: the palette and its completions
//! - `panel`: frames with titles
//! - `panes`: the panes and their titles
//! - `prompt`: the prompt at the bottom of a view
//! - `queue_figures`: the figures of the queue
//! - `screens`: how each screen is drawn
//! - `timeline`: the timeline above the log

mod alerts;
mod ascii;
mod bulk;
mod draw;
mod empty;
mod figures;
mod flow;
mod footer;
mod graph;
mod header;
mod heat_map;
mod log_rows;
mod palette;
mod panel;
mod panes;
mod prompt;
mod queue_figures;
mod screens;
mod timeline;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::model::Model;
use super::model::layout::{Layout, MIN_HEIGHT, MIN_WIDTH};
use bklit_wire::text;

/// The most columns of a filter or search that are shown.
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
    // The terminal's size may already differ from the model's.
    let Some(layout) = Layout::of(area, model.wanted()) else {
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
