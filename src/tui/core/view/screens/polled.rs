//! What polled screens share.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::format;
use crate::model::Model;
use crate::model::panels::Polled;
use crate::view::draw::{Segment, joined, rule, styled};
use bklit_wire::text;

/// The title of a view, with a message if there is one, and the age of its figures.
pub(super) fn title<T>(
    model: &Model,
    name: &str,
    polled: Option<&Polled<T>>,
    buf: &mut Buffer,
    at: Rect,
) {
    let theme = model.options.theme;
    let left = vec![styled(name, theme.strong())];
    let right = polled.map_or_else(Vec::new, |polled| freshness(model, polled));
    rule(buf, at, theme, &left, &joined(right, theme));
}

fn freshness<T>(model: &Model, polled: &Polled<T>) -> Vec<Vec<Segment>> {
    let theme = model.options.theme;
    let mut items = Vec::new();
    if let Some(age) = polled.age(model.now) {
        let age = format::micros(age as f64 * 1e3);
        items.push(vec![styled(format!("{age} old"), theme.warning())]);
    } else if polled.data().is_none() && polled.error().is_none() {
        items.push(vec![styled("loading…", theme.dim())]);
    }
    items
}

/// Why there is no newer answer, in a row of its own; otherwise the given text.
pub(super) fn error<'a, T>(polled: &'a Polled<T>) -> Option<std::borrow::Cow<'a, str>> {
    polled.error().map(text::safe)
}
