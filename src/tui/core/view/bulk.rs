//! The row of a change of many failed events: its progress, its speed, and the key that stops it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::draw::{put, put_right, put_segments, styled};
use crate::bulk::Progress;
use crate::format;
use crate::keymap;
use crate::keymap::Action;
use crate::model::Model;
use crate::model::bulk::Bulk;
use bklit_wire::text;

/// The columns of the bar.
const BAR: usize = 10;
/// The width from which there is a bar.
const BAR_MIN_WIDTH: usize = 100;

pub(super) fn render(model: &Model, buf: &mut Buffer, area: Rect) {
    let Some(bulk) = model.bulk().filter(|_| !area.is_empty()) else { return };
    let theme = model.options.theme;
    let width = usize::from(area.width);
    let does = if bulk.result.is_some() { "hides this" } else { "stops" };
    let key = match keymap::is_bound(model.context(), Action::StopBulk) {
        true => format!(" {} {does} ", model.key(Action::StopBulk)),
        false => String::new(),
    };
    put_right(buf, area, width, text::width(&key), &key, theme.key());
    let badge = match &bulk.result {
        Some(_) => " ENDED ",
        None if bulk.is_stopping => " STOPPING ",
        None => " RUNNING ",
    };
    let start = put(buf, area, 0, width, badge, theme.badge()) + 1;
    let room = width.saturating_sub(start + text::width(&key) + 1);
    if let Some(result) = &bulk.result {
        let result = text::safe(result);
        put(buf, area, start, room, &text::clip(&result, room), theme.strong());
        return;
    }
    let mut parts = vec![styled(format!("{}: ", bulk.plan.operation.doing()), theme.plain())];
    let (done, goal) = bulk.done_of();
    if width >= BAR_MIN_WIDTH {
        let (full, empty) = format::meter(done as f64 / goal.max(1) as f64, BAR);
        parts.extend([styled(full, theme.strong()), styled(empty, theme.dim())]);
        parts.push(styled(" ", theme.plain()));
    }
    parts.push(styled(state(model, bulk, done, goal), theme.strong()));
    put_segments(buf, area, start, room, &parts);
}

/// `41,200 of 100,000 · 8,300/s`, or if only some of the events are meant
/// `7 done · 62,000 of 100,000 checked · 8,300/s`
fn state(model: &Model, bulk: &Bulk, done: u64, goal: u64) -> String {
    let Progress { done: changed, .. } = bulk.progress;
    let of = format!("{} of {}", format::count(done), format::count(goal));
    let of = match bulk.plan.known.is_exact {
        true => of,
        false => format!("{} done · {of} checked", format::count(changed)),
    };
    let millis = model.wall.epoch_millis().saturating_sub(bulk.since.epoch_millis());
    let rate = match u64::try_from(millis) {
        Ok(millis @ 1..) => format!(" · {}", format::rate(done as f64 * 1e3 / millis as f64)),
        _ => String::new(),
    };
    format!("{of}{rate}")
}
