//! The banner of alerts, shown instead of the hints until they are acknowledged.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::draw::{put, put_right, put_segments, styled};
use crate::keymap;
use crate::keymap::Action;
use crate::model::Model;
use bklit_wire::text;
use bklit_wire::time::UtcMillis;

pub(super) fn render(model: &Model, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    let width = usize::from(area.width);
    put(buf, area, 0, width, &" ".repeat(width), theme.plain());
    let ack = acknowledge(model);
    let room = width.saturating_sub(text::width(&ack) + 2);
    let mut x = put(buf, area, 0, room, " ALERT ", theme.alarm()) + 1;
    for (nth, banner) in model.alerts().banners().iter().enumerate() {
        let alert = &banner.alert;
        let since = model.time_of_day(UtcMillis::from_epoch_millis(alert.since * 1000));
        let again = if banner.count > 1 && alert.value != banner.count {
            format!(" ×{}", banner.count)
        } else {
            String::new()
        };
        let ended = if model.alerts().is_raised(alert.kind) { "" } else { ", ended" };
        let gap = if nth > 0 { " · " } else { "" };
        let said = [
            styled(gap, theme.dim()),
            styled(text::safe(&alert.message), theme.error()),
            styled(format!("{again} since {since}{ended}"), theme.plain()),
        ];
        x += put_segments(buf, area, x, room.saturating_sub(x), &said);
    }
    put_right(buf, area, width, text::width(&ack), &ack, theme.key());
}

/// The key that acknowledges alerts, if it is bound here.
fn acknowledge(model: &Model) -> String {
    let action = Action::Acknowledge;
    if keymap::is_bound(model.context(), action) {
        format!(" {} acknowledge ", model.key(action))
    } else {
        String::new()
    }
}
