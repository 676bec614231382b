//! The connection to the watched process.

use std::sync::Arc;

use super::Model;

/// The state of the connection to the watched process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// Connected, or no connection is needed.
    Up,
    /// Disconnected, for this reason.
    Down(Arc<str>),
}

impl Model {
    /// Whether nothing is known about the present: the connection is lost, and this process does
    /// not report figures itself.
    pub fn has_no_current_data(&self) -> bool {
        self.link != Link::Up && !(self.hears_itself && self.figures.silence().is_none())
    }
}
