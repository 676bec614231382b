//! The first row: what is watched, how it is, how much happens, and whether the display is held.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::draw::{Segment, put_segments, segments_width, styled};
use super::format;
use crate::pipeline::gauges::Health;
use crate::tui::model::{Flow, Link, Model};
use crate::tui::text;

/// The parts whose health is shown, in the order of the summary.
const PARTS: [&str; 3] = ["queue", "store", "worker"];

pub(super) fn render(model: &Model, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    let width = usize::from(area.width);
    let rate = model.figures.summary().events_per_second;
    let mut right = state(model);
    let events = styled(format!("{} events  ", format::rate(rate)), theme.strong());
    right.insert(0, events);
    let right_width = segments_width(&right);
    let name = styled(" bklit-tui ", theme.title());
    let health = health(model);
    // What is left is for the source.
    let fixed = segments_width(std::slice::from_ref(&name)) + segments_width(&health) + 5;
    let room = width.saturating_sub(right_width + fixed);
    let mut left = vec![name, styled(" ", theme.plain())];
    if room >= 8 {
        left.push(source(model, room));
        left.push(styled("   ", theme.plain()));
    }
    left.extend(health);
    put_segments(buf, area, 0, width.saturating_sub(right_width + 1), &left);
    put_segments(buf, area, width.saturating_sub(right_width), right_width, &right);
}

fn source(model: &Model, room: usize) -> Segment {
    let theme = model.options.theme;
    let source = text::safe(&model.options.source);
    match &model.link {
        Link::Up => styled(text::clip(&source, room), theme.plain()),
        Link::Down(_) => {
            let cut = format!("{source} — no connection");
            styled(text::clip(&cut, room), theme.error())
        }
    }
}

/// Signs rather than colours alone.
fn health(model: &Model) -> Vec<Segment> {
    let theme = model.options.theme;
    let known = PARTS.into_iter().zip(model.figures.summary().health);
    let signs = known.flat_map(|(part, health)| {
        let (sign, style) = match health {
            Health::Unknown => ("?", theme.dim()),
            Health::Ok => ("✓", theme.good()),
            Health::Failing => ("✗", theme.error()),
        };
        let name = if health == Health::Failing { theme.error() } else { theme.dim() };
        [styled(format!("{part} "), name), styled(sign, style), styled("  ", theme.plain())]
    });
    signs.collect()
}

fn state(model: &Model) -> Vec<Segment> {
    let theme = model.options.theme;
    match model.flow {
        Flow::Live if model.link == Link::Up => vec![styled("● LIVE ", theme.good())],
        Flow::Live => vec![styled("○ LIVE ", theme.dim())],
        Flow::Paused { since, oldest } => {
            let held = model.ring.next() - since;
            let forgotten = model.ring.first() - oldest;
            let mut state = format!(" PAUSED +{} held ", format::count(held));
            if forgotten > 0 {
                state = format!("{state}−{} old ", format::count(forgotten));
            }
            vec![styled(state, theme.badge())]
        }
    }
}
