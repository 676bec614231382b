//! Where typed letters go.

use std::sync::Arc;

use tui_input::Input;

use super::filter::Filter;
use super::palette::Palette;
use super::query::{Purpose, Query, QueryError};
use super::sql::table::ResultTable;
use crate::bulk::{Known, Plan, Which};
use crate::histories::Recall;

/// A prompt at the bottom of a view.
#[derive(Debug)]
pub struct Prompt {
    /// Its purpose.
    pub purpose: PromptPurpose,
    /// The input.
    pub input: Input,
    /// Why the input is invalid.
    pub problem: Option<String>,
}

/// The purpose of a prompt.
#[derive(Clone, Debug)]
pub enum PromptPurpose {
    /// Filters the failed events; applied while typing.
    QueueFilter {
        /// The previous filter, restored on cancel.
        before: String,
    },
    /// Confirms deleting the failed event with this id.
    Delete(String),
    /// Confirms a change of many failed events.
    Confirm(Box<Plan>),
    /// The rule by which failed events are edited.
    Rule(Which, Known),
    /// The file for an export.
    Export(ExportOf),
    /// Shows only the keys and commands with a text in them; applied while typing.
    HelpFilter {
        /// The previous text, restored on cancel.
        before: String,
    },
}

/// What is exported.
#[derive(Clone, Debug)]
pub enum ExportOf {
    /// Failed events.
    Failed(Which, Known),
    /// The lines that pass a filter.
    Lines(Box<Filter>),
    /// The rows of a query's result.
    Rows(Arc<ResultTable>),
}

/// Where typed letters go.
#[derive(Debug)]
pub enum Focus {
    /// To the key table.
    Keys,
    /// To the text field.
    Field(Box<Field>),
    /// To the prompt.
    Prompt(Box<Prompt>),
    /// The next letter names a mark.
    Letter(Letter),
    /// To the palette.
    Palette(Box<Palette>),
    /// To the query on the screen of queries.
    Sql,
}

/// The purpose of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Letter {
    /// To mark the selected line.
    Mark,
    /// To go to a marked line.
    Jump,
}

/// A text field; its input is applied while typing.
#[derive(Debug)]
pub struct Field {
    /// Its purpose.
    pub purpose: Purpose,
    /// The input.
    pub input: Input,
    /// The previous input, restored on cancel.
    pub before: Option<Query>,
    /// The position in the history.
    pub recall: Recall,
    /// What is wrong with the input; the rest of it is applied.
    pub problem: Option<QueryError>,
}
