//! The panes, side by side or one above the other; each is an independent view of the same lines.

use super::line_ring::LineRing;
use super::pane::Pane;

/// The most panes.
pub const MAX_PANES: usize = 4;

/// The panes, one of which has the focus.
#[derive(Debug)]
pub struct Panes {
    list: Vec<Pane>,
    focus: usize,
    /// Whether the focused one uses all the space.
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

    /// The position of the focused one.
    pub fn focus(&self) -> usize {
        self.focus
    }

    /// Whether the focused one uses all the space.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// The pane at a position; the focused one if there is none.
    pub fn get(&self, nth: usize) -> &Pane {
        self.list.get(nth).unwrap_or(&self.list[self.focus])
    }

    /// The focused one.
    pub fn focused(&self) -> &Pane {
        &self.list[self.focus]
    }

    /// The focused one, mutable.
    pub(crate) fn focused_mut(&mut self) -> &mut Pane {
        &mut self.list[self.focus]
    }

    /// All panes, mutable.
    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut Pane> {
        self.list.iter_mut()
    }

    /// Inserts a copy of the focused pane after it and focuses the copy. Returns whether there was
    /// space.
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

    /// Replaces all panes; without any, there is one that shows all lines.
    pub(crate) fn restore(&mut self, mut panes: Vec<Pane>, focus: usize, full: bool) {
        panes.truncate(MAX_PANES);
        if panes.is_empty() {
            panes.push(Pane::default());
        }
        self.focus = focus.min(panes.len() - 1);
        self.full = full && panes.len() > 1;
        self.list = panes;
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

    /// Moves the focus to the pane at a position.
    pub(crate) fn set_focus(&mut self, nth: usize) {
        if nth < self.list.len() {
            self.focus = nth;
        }
    }

    /// Moves the focus by this many panes, wrapping around.
    pub(crate) fn turn(&mut self, by: usize) {
        self.focus = (self.focus + by) % self.list.len();
    }

    /// Gives the focused pane all the space, or ends that.
    pub(crate) fn toggle_full(&mut self) {
        self.full = !self.full && self.list.len() > 1;
    }

    /// The pane that has lines left to examine: the focused one first.
    pub(crate) fn with_work(&self, ring: &LineRing, limit: u64) -> Option<usize> {
        let has_work = |&nth: &usize| self.list[nth].has_work(ring, limit);
        [self.focus].into_iter().chain(0..self.list.len()).find(has_work)
    }

    /// The pane at a position, mutable.
    pub(crate) fn get_mut(&mut self, nth: usize) -> Option<&mut Pane> {
        self.list.get_mut(nth)
    }
}
