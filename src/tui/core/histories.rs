//! What was typed before: commands, queries of searches and filters, and SQL.

use serde::{Deserialize, Serialize};

/// The most inputs kept of a kind; the oldest are dropped.
pub const MAX_INPUTS: usize = 100;

/// Inputs of one kind, oldest first, without repeats.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct History(Vec<String>);

impl History {
    /// The inputs, oldest first.
    pub fn inputs(&self) -> &[String] {
        &self.0
    }

    /// Adds an input as the newest. Returns whether that changed anything.
    pub(crate) fn remember(&mut self, input: &str) -> bool {
        if input.trim().is_empty() || self.0.last().is_some_and(|last| last == input) {
            return false;
        }
        self.0.retain(|before| before != input);
        self.0.push(input.to_owned());
        if self.0.len() > MAX_INPUTS {
            self.0.remove(0);
        }
        true
    }
}

/// All histories.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Histories {
    /// Commands.
    pub commands: History,
    /// Queries of searches and filters.
    pub queries: History,
    /// Queries on the store.
    pub sql: History,
}

impl Histories {
    /// Adds what was typed in another console, as newer.
    #[must_use]
    pub fn with(mut self, newer: &Self) -> Self {
        let newer = [&newer.commands, &newer.queries, &newer.sql];
        for (history, newer) in self.all().into_iter().zip(newer) {
            newer.0.iter().for_each(|input| _ = history.remember(input));
        }
        self
    }

    /// Within the bound, whatever a file contains.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        for history in self.all() {
            let excess = history.0.len().saturating_sub(MAX_INPUTS);
            history.0.drain(..excess);
        }
        self
    }

    fn all(&mut self) -> [&mut History; 3] {
        [&mut self.commands, &mut self.queries, &mut self.sql]
    }
}

/// The position of a text field in a history.
#[derive(Clone, Debug, Default)]
pub struct Recall {
    /// Counted from the newest input; 0 is what was typed.
    back: usize,
    /// The input before the history was opened.
    typed: String,
}

impl Recall {
    /// The older or newer input; at the end what was typed.
    pub(crate) fn step(&mut self, history: &History, current: &str, older: bool) -> String {
        let inputs = history.inputs();
        if self.back == 0 {
            current.clone_into(&mut self.typed);
        }
        self.back = if older { self.back + 1 } else { self.back.saturating_sub(1) };
        // The current filter is usually also the newest one in the history.
        if older && self.back == 1 && inputs.last() == Some(&self.typed) {
            self.back += 1;
        } else if !older && self.back == 1 && inputs.last() == Some(&self.typed) {
            self.back = 0;
        }
        self.back = self.back.min(inputs.len());
        let before = inputs.len().checked_sub(self.back).and_then(|nth| inputs.get(nth));
        before.filter(|_| self.back > 0).unwrap_or(&self.typed).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(inputs: &[&str]) -> History {
        let mut history = History::default();
        for input in inputs {
            history.remember(input);
        }
        history
    }

    #[test]
    fn inputs_come_back_newest_first_and_end_with_what_was_typed() {
        let history = history(&["a", "b", " ", "a"]);
        assert_eq!(history.inputs(), ["b", "a"]);
        let mut recall = Recall::default();
        let mut current = "typed".to_owned();
        let mut step = |older| {
            current = recall.step(&history, &current, older);
            current.clone()
        };
        let steps = [true, true, true, false, false, false].map(&mut step);
        assert_eq!(steps, ["a", "b", "b", "a", "typed", "typed"]);
        let mut recall = Recall::default();
        assert_eq!(recall.step(&history, "a", true), "b", "the newest one is open already");
        assert_eq!(recall.step(&history, "b", false), "a");
        assert_eq!(Recall::default().step(&History::default(), "x", true), "x");
    }

    #[test]
    fn histories_are_bounded() {
        let names: Vec<_> = (0..MAX_INPUTS + 7).map(|nth| nth.to_string()).collect();
        let mut history = History::default();
        assert!(names.iter().all(|name| history.remember(name)));
        assert_eq!(history.inputs(), &names[7..]);
        let commands = History(names.clone());
        let bounded = Histories { commands, ..Histories::default() }.bounded();
        assert_eq!(bounded.commands, history);
        assert!(!history.remember(names.last().unwrap()));
    }
}
