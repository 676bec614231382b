//! Edited failed events, before they are retried: what has changed, and whether it is valid.

use crate::bulk::{Plan, Preview};
use crate::diff::{DiffLine, diff};
use bklit_wire::json_text::pretty;
use bklit_wire::queue::FailedView;

/// The screen with edited events.
#[derive(Debug)]
pub struct EditScreen {
    /// What was edited.
    pub edit: Edit,
    /// The number of rows scrolled off at the top.
    pub scroll: usize,
}

/// What was edited.
#[derive(Debug)]
pub enum Edit {
    /// An event, in an editor.
    One(Editing),
    /// Many events, by a rule that has not been applied yet.
    Many {
        /// What is going to be done.
        plan: Plan,
        /// What that does.
        preview: Preview,
        /// The differences of each of the events in the preview.
        diffs: Vec<Vec<DiffLine>>,
    },
}

/// An edited event.
#[derive(Debug)]
pub struct Editing {
    /// The event as it failed.
    pub item: FailedView,
    /// The text that the editor left.
    pub text: String,
    /// The same as it would be queued.
    pub body: String,
    /// What has changed.
    pub diff: Vec<DiffLine>,
    /// Whether it can be retried.
    pub state: EditState,
}

/// Whether an edited event can be retried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EditState {
    /// The pipeline checks it.
    Checking,
    /// It can.
    Valid,
    /// It cannot, and why.
    Invalid(String),
    /// It is being put into the queue.
    Sending,
}

/// A queued item as it is shown and edited: with a line for each field, if it is JSON.
pub fn editable(body: &str) -> String {
    pretty(body).unwrap_or_else(|| body.to_owned())
}

impl EditScreen {
    /// An event that was edited.
    pub fn one(item: FailedView, text: String, body: String, state: EditState) -> Self {
        let diff = diff(&editable(&item.body), &text);
        Self { edit: Edit::One(Editing { item, text, body, diff, state }), scroll: 0 }
    }

    /// The preview of a rule.
    pub fn many(plan: Plan, preview: Preview) -> Self {
        let compared = preview
            .samples
            .iter()
            .map(|sample| diff(&editable(&sample.item.body), &editable(&sample.edited)));
        let diffs = compared.collect();
        Self { edit: Edit::Many { plan, preview, diffs }, scroll: 0 }
    }

    /// The edited event, if it is one.
    pub fn editing(&self) -> Option<&Editing> {
        match &self.edit {
            Edit::One(editing) => Some(editing),
            Edit::Many { .. } => None,
        }
    }

    /// The same, mutable.
    pub(crate) fn editing_mut(&mut self) -> Option<&mut Editing> {
        match &mut self.edit {
            Edit::One(editing) => Some(editing),
            Edit::Many { .. } => None,
        }
    }
}
