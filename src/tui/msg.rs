//! What can happen to the console, and what the console asks for. Nothing else crosses the border
//! between the loop, which does I/O, and the model, which does none.

use crossterm::event::KeyEvent;

use super::backend::{Answer, Request};
use crate::pipeline::bus::DebugMessage;
use crate::pipeline::time::UtcMillis;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Msg {
    /// A key was pressed or repeats.
    Key(KeyEvent),
    /// Text was pasted.
    Paste(String),
    /// The terminal has this many columns and rows.
    Resize(u16, u16),
    /// Messages of the bus, in order.
    Feed(Vec<DebugMessage>),
    /// There is nothing better to do: a slice of the work that [`has_work`] tells of.
    ///
    /// [`has_work`]: super::model::Model::has_work
    Work,
    /// What became of an [`Effect::Ask`]. Each has one answer.
    Answer(Answer),
    /// The time; about once a second, and before the first frame.
    Tick(UtcMillis),
}

/// Something the model cannot do itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// End the console.
    Quit,
    /// Stop as by Ctrl-Z, and come back with `fg`.
    Suspend,
    /// Put this text into the terminal's clipboard.
    Copy(String),
    /// Draw the whole screen anew.
    Redraw,
    /// Ask the pipeline, or write a file; nothing waits for the answer.
    Ask(Request),
}
