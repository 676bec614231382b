//! A page of graphs over time: latencies as a heat map, rate and failures, figures compared with
//! earlier ones, and the lines and projects behind them.
//!
//! - `chart`: the graphs
//! - `figures`: the figures of the selected time, and of earlier ones
//! - `list`: the slowest steps, failures, projects

mod chart;
mod figures;
mod list;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use super::{Draw, shown_by};
use crate::keymap::{Action, Binding};
use crate::model::Model;
use crate::model::history::{PageParts, Span, Topic};
use crate::model::layout::{Layout, below};
use crate::model::screen::HistoryScreen;
use crate::view::draw::{Segment, row, rule, styled};
use crate::view::{empty, log_rows};
use bklit_wire::debug_log::Stage;
use bklit_wire::time::UtcMillis;

impl Draw for HistoryScreen {
    fn draw(&self, model: &Model, buf: &mut Buffer, layout: &Layout) -> Option<Position> {
        let parts = PageParts::of(layout.overlay());
        chart::render(model, buf, &parts);
        figures::render(model, buf, parts.figures);
        if let Some(area) = parts.list {
            list::render(model, buf, area);
        }
        if let Some(area) = parts.log {
            log(model, buf, area);
        }
        None
    }

    fn hint(model: &Model, binding: &Binding) -> Option<&'static str> {
        let panel = &model.panels().history;
        match binding.action {
            Action::ZoomIn if panel.span() == Span::Minute => None,
            Action::ZoomOut if panel.span() == Span::Week => None,
            Action::Later | Action::ShowTime if panel.cursor.is_none() => None,
            Action::ShowPipeline if panel.topic() == Topic::Pipeline => None,
            _ => binding.hint,
        }
    }
}

/// The name of what the page is about.
fn topic_name(model: &Model) -> Segment {
    let theme = model.options.theme;
    match model.panels().history.topic() {
        Topic::Pipeline => styled("pipeline", theme.strong()),
        Topic::Stage(stage) => styled(model.stage_name(stage), theme.chip(stage)),
    }
}

/// The name of a stage in a column.
fn stage_name(model: &Model, stage: Stage) -> &'static str {
    model.stage_name(stage)
}

/// A time as precise as the points of a span.
fn point_time(model: &Model, span: Span, at: UtcMillis) -> String {
    let format = match span {
        Span::Minute => "%H:%M:%S",
        Span::Hour | Span::Day => "%H:%M",
        Span::Week => "%a %H:%M",
    };
    model.zoned(at).strftime(format).to_string()
}

/// The log at the selected time.
fn log(model: &Model, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    let pane = model.pane();
    let shown = shown_by(model, pane);
    let shown = if shown.is_empty() { Vec::new() } else { vec![shown.join(", ")] };
    let right: Vec<_> = shown.into_iter().map(|text| styled(text, theme.dim())).collect();
    rule(buf, row(area, 0), theme, &[styled("log", theme.strong())], &right);
    let inner = below(area, 1);
    if pane.held(model.ring()).is_some() || !pane.index().is_empty() {
        log_rows::render(model, pane, buf, inner);
    } else {
        empty::render(model, pane, buf, inner);
    }
}
