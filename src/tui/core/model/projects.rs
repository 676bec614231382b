//! The list of projects found in the lines.

use std::collections::HashMap;

use tui_input::Input;

use super::line_ring::LineRing;
use super::pane::cover::Cover;

/// The most projects listed.
const MAX_PROJECTS: usize = 1_000;
/// Lines examined per slice.
const SLICE: u64 = 50_000;

/// The list of projects.
#[derive(Debug)]
pub struct Projects {
    /// The input that narrows the list.
    pub(crate) input: Input,
    counts: HashMap<String, u64>,
    cover: Cover,
    selected: usize,
}

impl Projects {
    /// Starts to count the lines of the ring.
    pub fn new(ring: &LineRing) -> Self {
        let cover = Cover::at(ring.next());
        let mut list = Self { input: Input::default(), counts: HashMap::new(), cover, selected: 0 };
        list.work(ring);
        list
    }

    /// The choices, those with the most lines first; `None` stands for all projects.
    pub fn choices(&self) -> Vec<(Option<&str>, u64)> {
        let typed = self.input.value().to_lowercase();
        let all = typed.is_empty().then(|| (None, self.counts.values().sum()));
        let named = self.counts.iter().filter(|(id, _)| id.to_lowercase().contains(&typed));
        let mut named: Vec<_> = named.map(|(id, &lines)| (Some(id.as_str()), lines)).collect();
        named.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        all.into_iter().chain(named).collect()
    }

    /// The position of the selected choice.
    pub fn selected(&self) -> usize {
        self.selected.min(self.choices().len().saturating_sub(1))
    }

    /// The number of choices scrolled off at the top.
    pub fn top(&self, height: usize) -> usize {
        (self.selected() + 1).saturating_sub(height)
    }

    /// The selected choice: a project, or `None` for all. The outer `None` if the list is empty.
    pub fn chosen(&self) -> Option<Option<String>> {
        self.choices().get(self.selected()).map(|(id, _)| id.map(str::to_owned))
    }

    /// Selects another choice.
    pub fn select(&mut self, place: usize) {
        self.selected = place;
    }

    /// Whether there are lines left to count.
    pub fn has_work(&self, ring: &LineRing) -> bool {
        !self.cover.is_all_of(&(ring.first()..self.cover.high))
    }

    /// Counts one more slice, newest lines first; lines added later are not counted.
    pub fn work(&mut self, ring: &LineRing) {
        self.cover.forget(ring.first());
        let all = ring.first()..self.cover.high;
        let Some((lines, end)) = self.cover.next(&all, None, SLICE) else { return };
        for (_, line) in ring.lines(lines.clone()) {
            let Some(id) = line.project_id() else { continue };
            if let Some(count) = self.counts.get_mut(id) {
                *count += 1;
            } else if self.counts.len() < MAX_PROJECTS {
                self.counts.insert(id.to_owned(), 1);
            }
        }
        self.cover.grow(&lines, end);
    }
}
