//! A message shown for a while.

use std::borrow::Cow;

use super::query::Query;
use super::{Focus, Model, Purpose};
use bklit_wire::text;

/// How long a notice is shown, in milliseconds.
const NOTICE_MILLIS: i64 = 4_000;

/// A message shown for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its text.
    pub text: String,
    until: i64,
}

impl Model {
    /// The notice on the screen.
    pub fn notice(&self) -> Option<&str> {
        self.notice.as_ref().map(|notice| notice.text.as_str())
    }

    /// What is shown in place of the keys: an error in what is typed, or else a notice.
    pub fn message(&self) -> Option<Cow<'_, str>> {
        let notice = || self.notice().map(text::safe);
        let (problem, other) = match self.focus() {
            Focus::Field(field) => {
                let problem = field.problem.as_ref().map(|problem| problem.to_string());
                let note = self.query_of(field.purpose).and_then(Query::note);
                (problem, note.map(text::safe).or_else(notice))
            }
            Focus::Prompt(prompt) => (prompt.problem.clone(), None),
            Focus::Palette(palette) => (palette.problem.clone(), None),
            Focus::Letter(_) => (None, None),
            Focus::Keys | Focus::Sql => (None, notice()),
        };
        problem.map(|problem| text::safe(&problem).into_owned().into()).or(other)
    }

    /// The query that a text field edits, if there is one.
    pub fn query_of(&self, purpose: Purpose) -> Option<&Query> {
        match purpose {
            Purpose::Search => self.pane().search(),
            Purpose::Filter => self.pane().filter().query.as_ref(),
        }
    }

    /// Shows a message for a while.
    pub(crate) fn notify(&mut self, text: impl Into<String>) {
        let until = self.wall.epoch_millis().saturating_add(NOTICE_MILLIS);
        self.notice = Some(Notice { text: text.into(), until });
    }

    /// Removes a notice whose time is over. Returns whether there was one.
    pub(crate) fn forget_old_notice(&mut self) -> bool {
        let now = self.wall.epoch_millis();
        let old = |notice: &Notice| !(notice.until - NOTICE_MILLIS..notice.until).contains(&now);
        self.notice.take_if(|notice| old(notice)).is_some()
    }
}
