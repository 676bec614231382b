//! Screens that show a scrollable text, laid out in rows. Scrolling depends on the number of rows,
//! so they are part of the model; the view only draws them.
//!
//! - `detail`: one line in full
//! - `edit`: edited failed events
//! - `failed`: one failed event in full
//! - `help`: keys and commands
//! - `sql_row`: one row of a result in full

mod detail;
mod edit;
mod failed;
mod help;
mod sql_row;

use ratatui::text::{Line, Span};

use super::Model;
use super::screen::Shown;

/// A scrollable text.
pub trait Page: Shown {
    /// The title above the rows.
    fn title(&self, model: &Model) -> Vec<Span<'static>>;

    /// The text in rows of this width.
    fn rows(&self, model: &Model, width: u16) -> Vec<Line<'static>>;

    /// The number of rows scrolled off at the top.
    fn scroll(&self) -> usize;

    /// The same, mutable.
    fn scroll_mut(&mut self) -> &mut usize;
}
