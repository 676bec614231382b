//! The palette: completions above the input, errors below it.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;

use super::draw::{clear, put, put_message, put_right, row};
use crate::keymap::Action;
use crate::model::Model;
use crate::model::layout::Layout;
use crate::model::palette::{Candidate, Palette, commands};
use bklit_wire::text;

/// The most columns of the words; a longer one pushes its help aside.
const MAX_WORD: usize = 24;

/// Returns the cursor's position.
pub(super) fn render(
    model: &Model,
    palette: &Palette,
    buf: &mut Buffer,
    layout: &Layout,
) -> Position {
    candidates(model, palette, buf, layout);
    let theme = model.options.theme;
    let area = layout.status;
    let width = usize::from(area.width);
    clear(buf, area, 0, width);
    let used = put(buf, area, 0, width, " : ", theme.title());
    let start = used + 1;
    let room = width.saturating_sub(start + 2).max(1);
    let scroll = palette.input.visual_scroll(room);
    let value = palette.input.value();
    let shown = &value[text::fit(value, scroll).len()..];
    put(buf, area, start, room, text::fit(shown, room), theme.strong());
    under(model, palette, buf, layout.hints);
    let x = start + palette.input.visual_cursor().saturating_sub(scroll).min(room);
    Position { x: area.x + u16::try_from(x).unwrap_or(0), y: area.y }
}

/// The error, or else the notation of the argument.
fn under(model: &Model, palette: &Palette, buf: &mut Buffer, area: Rect) {
    let theme = model.options.theme;
    let room = usize::from(area.width).saturating_sub(2);
    put(buf, area, 0, usize::from(area.width), &" ".repeat(area.width.into()), Style::new());
    if let Some(problem) = &palette.problem {
        put_message(buf, area, &text::safe(problem), theme.error());
        return;
    }
    let (name, _) = commands::split(palette.input.value());
    if let Some((spec, _)) = commands::find(name) {
        let used = put(buf, area, 1, room, spec.name, theme.key());
        let used = used + put(buf, area, 2 + used, room - used, spec.usage, theme.plain());
        put(buf, area, 4 + used, room.saturating_sub(used + 3), spec.help, theme.dim());
    } else {
        let [complete, older, newer, accept, cancel] = [
            Action::NextCandidate,
            Action::OlderCommand,
            Action::NewerCommand,
            Action::Accept,
            Action::Cancel,
        ]
        .map(|action| model.key(action));
        let keys =
            format!("{complete} complete  {older} {newer} history  {accept} run  {cancel} cancel");
        put(buf, area, 1, room, &keys, theme.dim());
    }
}

/// The completions above the input; the last row is next to it.
fn candidates(model: &Model, palette: &Palette, buf: &mut Buffer, layout: &Layout) {
    let area = layout.candidates(palette.candidates.len());
    let top = palette.top(area.height.into());
    list(model, &palette.candidates, palette.chosen, top, buf, area);
}

/// A list of completions from `top` on.
pub(super) fn list(
    model: &Model,
    candidates: &[Candidate],
    chosen: Option<usize>,
    top: usize,
    buf: &mut Buffer,
    area: Rect,
) {
    let theme = model.options.theme;
    let (count, height) = (candidates.len(), usize::from(area.height));
    let width = usize::from(area.width);
    let words = candidates.iter().map(|candidate| text::width(&text::safe(&candidate.word)));
    let word = words.max().unwrap_or(0).min(MAX_WORD);
    for (nth, candidate) in candidates.iter().enumerate().skip(top).take(height) {
        let at = row(area, nth - top);
        put(buf, at, 0, width, &" ".repeat(width), Style::new());
        buf.set_style(at, Style::reset());
        let is_chosen = chosen == Some(nth);
        if is_chosen {
            buf.set_style(at, theme.selected());
        }
        let mark = if is_chosen { "▌" } else { "│" };
        put(buf, at, 0, 1, mark, if is_chosen { theme.key() } else { theme.dim() });
        let used =
            put(buf, at, 2, width.saturating_sub(3), &text::safe(&candidate.word), theme.strong());
        let help_at = (2 + used + 2).max(2 + word + 2);
        let style = theme.on(is_chosen, theme.dim());
        let more = match nth == top && count > height {
            true => format!("{} of {count}", chosen.map_or(1, |nth| nth + 1)),
            false => String::new(),
        };
        put_right(buf, at, width - 1, text::width(&more), &more, style);
        let room = width.saturating_sub(help_at + text::width(&more) + 2);
        put(buf, at, help_at, room, &text::safe(&candidate.help), style);
    }
}
