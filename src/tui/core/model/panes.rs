//! The panes side by side or above each other, each a view of its own of the same lines.

use super::line_ring::LineRing;
use super::pane::Pane;

/// Panes at most.
pub const MAX_PANES: usize = 4;

/// The panes, of which one has the focus.
#[derive(Debug)]
pub struct Panes {
    list: Vec<Pane>,
    focus: usize,
    /// The focused one has all the room.
    full: bool,
}

impl Default for Panes {
    fn default() -> Self {
        Self { list: vec![Pane::default()], focus: 0, full: false }
    }
}

impl Panes {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// Which one has the focus.
    pub fn focus(&self) -> usize {
        self.focus
    }

    /// Whether the focused one has all the room.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// One of them; the focused one if there is no such.
    pub fn get(&self, nth: usize) -> &Pane {
        self.list.get(nth).unwrap_or(&self.list[self.focus])
    }

    /// The focused one.
    pub fn focused(&self) -> &Pane {
        &self.list[self.focus]
    }

    /// The focused one, to be changed.
    pub(crate) fn focused_mut(&mut self) -> &mut Pane {
        &mut self.list[self.focus]
    }

    /// All of them, to be changed.
    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut Pane> {
        self.list.iter_mut()
    }

    /// Puts a copy of the focused pane after it and the focus there. Returns whether there was room.
    pub(crate) fn split(&mut self) -> bool {
        if self.list.len() >= MAX_PANES {
            return false;
        }
        let copy = self.focused().clone();
        self.focus += 1;
        self.list.insert(self.focus, copy);
        self.full = false;
        true
    }

    /// Closes the focused pane, unless it is the only one. Returns whether it did.
    pub(crate) fn close(&mut self) -> bool {
        if self.list.len() == 1 {
            return false;
        }
        self.list.remove(self.focus);
        self.focus = self.focus.min(self.list.len() - 1);
        self.full = false;
        true
    }

    /// Moves the focus to one of them.
    pub(crate) fn set_focus(&mut self, nth: usize) {
        if nth < self.list.len() {
            self.focus = nth;
        }
    }

    /// Moves the focus by so many panes, around the ends.
    pub(crate) fn turn(&mut self, by: usize) {
        self.focus = (self.focus + by) % self.list.len();
    }

    /// Gives the focused pane all the room, or takes it back.
    pub(crate) fn toggle_full(&mut self) {
        self.full = !self.full && self.list.len() > 1;
    }

    /// Which pane has lines to look at yet: the focused one first.
    pub(crate) fn with_work(&self, ring: &LineRing, limit: u64) -> Option<usize> {
        let has_work = |&nth: &usize| self.list[nth].has_work(ring, limit);
        [self.focus].into_iter().chain(0..self.list.len()).find(has_work)
    }

    /// One of them, to be changed.
    pub(crate) fn get_mut(&mut self, nth: usize) -> Option<&mut Pane> {
        self.list.get_mut(nth)
    }
}
