//! Screens that are a text to scroll through, laid out in rows. Scrolling must know where the text
//! ends, so the rows are part of the model; the view only draws them.

mod detail;
mod failed;
mod help;

use ratatui::text::{Line, Span};

use super::Model;
use super::screen::Shown;

/// A screen of this kind.
pub trait Page: Shown {
    /// What stands above the rows.
    fn title(&self, model: &Model) -> Vec<Span<'static>>;

    /// The text in rows of a width.
    fn rows(&self, model: &Model, width: u16) -> Vec<Line<'static>>;

    /// Rows scrolled out at the top.
    fn scroll(&self) -> usize;

    /// The same, to be changed.
    fn scroll_mut(&mut self) -> &mut usize;
}
