//! Where letters go.

use tui_input::Input;

use super::palette::Palette;
use super::query::{Purpose, Query, QueryError};
use bklit_wire::backend::Change;

/// A question at the foot of a view.
#[derive(Debug)]
pub struct Prompt {
    /// What for.
    pub purpose: PromptPurpose,
    /// What was typed.
    pub input: Input,
    /// Why that will not do.
    pub problem: Option<String>,
}

/// What is asked at the foot of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromptPurpose {
    /// Which failed events to show; in effect while it is typed.
    QueueFilter {
        /// What was there before, to go back to.
        before: String,
    },
    /// Whether to do something with the failed events of these ids.
    Confirm(Change, Vec<String>),
    /// Into which file the failed events go.
    Export,
}

/// Where letters go.
#[derive(Debug)]
pub enum Focus {
    /// They are keys.
    Keys,
    /// Into a text field.
    Field(Box<Field>),
    /// Into the answer to a question.
    Prompt(Box<Prompt>),
    /// The next one names a mark.
    Letter(Letter),
    /// Into a command.
    Palette(Box<Palette>),
}

/// What a letter is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Letter {
    /// To mark the selected line.
    Mark,
    /// To go to a marked line.
    Jump,
}

/// A text field, in effect while it is typed into.
#[derive(Debug)]
pub struct Field {
    /// What for.
    pub purpose: Purpose,
    /// What was typed.
    pub input: Input,
    /// What was there before, to go back to.
    pub before: Option<Query>,
    /// What is wrong with what was typed; the rest of it is in effect.
    pub problem: Option<QueryError>,
}
