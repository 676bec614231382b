//! The last kept lines that pass a filter.

use std::collections::VecDeque;

/// Holds back the last lines until all kept ones have arrived.
pub struct History {
    most: usize,
    lines: VecDeque<String>,
}

impl History {
    /// For up to `most` lines.
    pub fn new(most: usize) -> Self {
        Self { most, lines: VecDeque::new() }
    }

    /// Adds a line, in place of the oldest one if there are too many.
    pub fn add(&mut self, line: String) {
        self.lines.push_back(line);
        if self.lines.len() > self.most {
            self.lines.pop_front();
        }
    }

    /// The lines held, oldest first.
    pub fn last(self) -> impl Iterator<Item = String> {
        self.lines.into_iter()
    }
}
