//! Changes of many failed events: what to do, with which of them, and the progress.
//!
//! The list of failed events may be longer than what the console has loaded, and changes meanwhile.
//! So a plan says which events it is about, and the loop pages through the whole list.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use bklit_wire::edit_rule::EditRule;
use bklit_wire::queue::FailedView;
use bklit_wire::time::UtcMillis;

/// What to do with failed events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Put them back into the queue.
    Retry,
    /// Delete them permanently.
    Delete,
    /// Write them to this new file.
    Export(String),
    /// Find out what a rule would change.
    Preview(EditRule),
    /// Apply a rule, and put those that it has changed back into the queue.
    Edit(EditRule),
}

impl Operation {
    /// Its name, which can also be typed to confirm it.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Delete => "delete",
            Self::Export(_) => "export",
            Self::Preview(_) => "preview",
            Self::Edit(_) => "edit",
        }
    }

    /// What it does, while in progress.
    pub fn doing(&self) -> &'static str {
        match self {
            Self::Retry => "retrying failed events",
            Self::Delete => "deleting failed events",
            Self::Export(_) => "exporting failed events",
            Self::Preview(_) => "trying the rule on failed events",
            Self::Edit(_) => "editing failed events",
        }
    }

    /// What was done to the events.
    pub fn done(&self) -> &'static str {
        match self {
            Self::Retry => "put back into the queue",
            Self::Delete => "deleted",
            Self::Export(_) => "written",
            Self::Preview(_) => "checked",
            Self::Edit(_) => "edited and put back into the queue",
        }
    }

    /// Its rule, if it has one, as it can be typed.
    pub fn rule_text(&self) -> String {
        match self {
            Self::Preview(rule) | Self::Edit(rule) => rule.to_string(),
            Self::Retry | Self::Delete | Self::Export(_) => String::new(),
        }
    }
}

/// Which failed events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those that contain a text, which is in lower case; all if it is empty.
    With(String),
    /// Those with this reason, apart from ids, numbers and quoted values.
    Reason(Box<str>),
    /// Those marked.
    Marked(Marks),
}

/// Marked failed events, by their content: their ids may change while others change the list.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    hashes: HashSet<u64>,
    hasher: RandomState,
}

impl PartialEq for Marks {
    fn eq(&self, other: &Self) -> bool {
        self.hashes == other.hashes
    }
}

impl Eq for Marks {}

impl Marks {
    fn hash(&self, item: &FailedView) -> u64 {
        self.hasher.hash_one((&item.body, &item.reason, item.failed_at))
    }

    /// Marks an event, or removes its mark.
    pub fn toggle(&mut self, item: &FailedView) {
        let hash = self.hash(item);
        if !self.hashes.remove(&hash) {
            self.hashes.insert(hash);
        }
    }

    /// Whether an event is marked.
    pub fn has(&self, item: &FailedView) -> bool {
        !self.hashes.is_empty() && self.hashes.contains(&self.hash(item))
    }

    /// The number of marked events.
    pub fn count(&self) -> u64 {
        self.hashes.len() as u64
    }

    /// Removes all marks.
    pub fn clear(&mut self) {
        self.hashes.clear();
    }

    /// Removes these marks, which must be copies of some of its own.
    pub(crate) fn remove(&mut self, marks: &Self) {
        self.hashes.retain(|hash| !marks.hashes.contains(hash));
    }

    /// Keeps only the marks of these events.
    pub fn retain<'a>(&mut self, items: impl Iterator<Item = &'a FailedView>) {
        if self.hashes.is_empty() {
            return;
        }
        let left: HashSet<_> = items.map(|item| self.hash(item)).collect();
        self.hashes.retain(|hash| left.contains(hash));
    }

    /// Removes the mark of an event; returns whether it had one.
    pub(crate) fn take(&mut self, item: &FailedView) -> bool {
        let hash = self.hash(item);
        self.hashes.remove(&hash)
    }
}

/// Whether an event contains a text in lower case: in its row or in the queued item.
pub fn contains(item: &FailedView, text: &str) -> bool {
    let fields = [Some(&item.reason), Some(&item.body), item.event.event_id.as_ref()];
    let fields = fields.into_iter().chain([item.event.project_id.as_ref()]).flatten();
    text.is_empty() || fields.into_iter().any(|field| field.to_lowercase().contains(text))
}

/// How many events a plan is about, as far as known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The number of those loaded.
    pub count: u64,
    /// Whether there are no others.
    pub is_exact: bool,
}

/// A change of many failed events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What to do.
    pub operation: Operation,
    /// Which events to change.
    pub which: Which,
    /// The number of these events.
    pub known: Known,
    /// The number of all failed events when it was planned.
    pub total: u64,
    /// When they were counted. Those that failed later are left alone, because the confirmation did
    /// not cover them.
    pub until: Option<UtcMillis>,
}

impl Plan {
    /// The total for the progress: events to change, else events to look through.
    pub fn goal(&self) -> u64 {
        if self.known.is_exact { self.known.count } else { self.total }
    }
}

/// The progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Failed events checked.
    pub seen: u64,
    /// Those of the plan among them.
    pub chosen: u64,
    /// Those that were changed.
    pub done: u64,
    /// Those that were left as they are, because they would not be valid events.
    pub invalid: u64,
}

/// What a rule would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    /// The number of events of the plan.
    pub chosen: u64,
    /// How many of them it would change.
    pub changes: u64,
    /// The first of these.
    pub samples: Vec<Sample>,
}

/// An event, and the result of applying the rule to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The event.
    pub item: FailedView,
    /// The edited item.
    pub edited: String,
    /// Why it would not be valid.
    pub problem: Option<String>,
}

/// Why it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// All events were checked. With the file of an export, or the one with the originals of edited
    /// events.
    Done(Option<String>),
    /// The rule was tried.
    Previewed(Preview),
    /// The user stopped it.
    Stopped,
    /// An error.
    Failed(String),
}

/// Its progress, or its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkReport {
    /// The progress.
    pub progress: Progress,
    /// Why it ended, if it did.
    pub end: Option<End>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use bklit_wire::queue::EventView;

    fn item(body: &str) -> FailedView {
        let (id, event) = ("1".into(), EventView::default());
        FailedView { id, event, failed_at: None, reason: "r".into(), body: body.into() }
    }

    #[test]
    fn marks_of_events_that_are_gone_are_dropped() {
        let (a, b) = (item("a"), item("b"));
        let mut marks = Marks::default();
        marks.toggle(&a);
        marks.toggle(&b);
        marks.retain([&b].into_iter());
        assert!(!marks.has(&a) && marks.has(&b) && marks.count() == 1);
        marks.clear();
        assert!(!marks.has(&b));
    }
}
