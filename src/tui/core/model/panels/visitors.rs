//! Current visitors: projects, top pages, last events.

use super::Polled;
use crate::model::cursor::Cursor;
use bklit_wire::live_view::{LastEvent, LiveProject, LiveView, TopPage};
use bklit_wire::time::UtcMillis;

/// The polling interval while the screen is open, in milliseconds.
const VISITORS_EVERY: i64 = 3_000;

/// The lists of the screen, from top to bottom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VisitorsList {
    /// The projects.
    #[default]
    Projects,
    /// The top pages.
    Pages,
    /// The last events.
    Events,
}

impl VisitorsList {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Projects, Self::Pages, Self::Events];
}

/// A selected item.
#[derive(Clone, Copy, Debug)]
pub enum VisitorsItem<'a> {
    /// A project.
    Project(&'a LiveProject),
    /// A page.
    Page(&'a TopPage),
    /// An event.
    Event(&'a LastEvent),
}

/// Current visitors, and the selections in the lists.
#[derive(Debug)]
pub struct VisitorsPanel {
    /// The last answer.
    pub polled: Polled<LiveView>,
    /// The focused list.
    pub(crate) list: VisitorsList,
    /// The selections in the lists.
    pub(crate) cursors: [Cursor; VisitorsList::ALL.len()],
}

impl VisitorsPanel {
    /// The lengths of the lists.
    pub fn counts(&self) -> [usize; VisitorsList::ALL.len()] {
        self.polled.data().map_or([0; VisitorsList::ALL.len()], |view| {
            [view.projects.len(), view.top_pages.len(), view.last_events.len()]
        })
    }

    /// The focused list.
    pub fn list(&self) -> VisitorsList {
        self.list
    }

    /// The position of a list's selection.
    pub fn cursor(&self, list: VisitorsList) -> Cursor {
        self.cursors[list as usize]
    }

    /// The selected item.
    pub fn selected(&self) -> Option<VisitorsItem<'_>> {
        self.item(self.list)
    }

    fn item(&self, list: VisitorsList) -> Option<VisitorsItem<'_>> {
        let (view, place) = (self.polled.data()?, self.cursor(list).selected());
        match list {
            VisitorsList::Projects => view.projects.get(place).map(VisitorsItem::Project),
            VisitorsList::Pages => view.top_pages.get(place).map(VisitorsItem::Page),
            VisitorsList::Events => view.last_events.get(place).map(VisitorsItem::Event),
        }
    }

    /// Applies an answer. The selections stay at the same project, page and event; in a list that
    /// moves on, a selection of the first row stays there.
    pub(crate) fn take(&mut self, answer: Result<LiveView, String>, now: UtcMillis) {
        let name = |item: VisitorsItem<'_>| match item {
            VisitorsItem::Project(project) => (project.project_id.clone(), String::new()),
            VisitorsItem::Page(page) => (page.project_id.clone(), page.url.clone()),
            VisitorsItem::Event(event) => (event.project_id.clone(), event.event_id.clone()),
        };
        let before = VisitorsList::ALL.map(|list| self.item(list).map(name));
        self.polled.take(answer, now);
        let counts = self.counts();
        for (list, before) in VisitorsList::ALL.into_iter().zip(before) {
            let mut cursor = self.cursor(list);
            let same = before.filter(|_| cursor.selected() > 0).and_then(|before| {
                (0..counts[list as usize]).find(|&place| {
                    self.cursors[list as usize].follow(Some(place), counts[list as usize]);
                    self.item(list).map(name).as_ref() == Some(&before)
                })
            });
            cursor.follow(same, counts[list as usize]);
            self.cursors[list as usize] = cursor;
        }
        if counts[self.list as usize] == 0 {
            self.list = VisitorsList::default();
        }
    }

    /// Selects a position in a list.
    pub(crate) fn select(&mut self, list: VisitorsList, place: usize, height: usize) {
        let count = self.counts()[list as usize];
        self.list = list;
        self.cursors[list as usize].select(place, count, height);
    }

    /// Keeps the selections visible.
    pub(crate) fn settle(&mut self, heights: [usize; VisitorsList::ALL.len()]) {
        let counts = self.counts();
        for ((cursor, count), height) in self.cursors.iter_mut().zip(counts).zip(heights) {
            cursor.settle(count, height);
        }
    }
}

impl Default for VisitorsPanel {
    fn default() -> Self {
        let (list, cursors) = (VisitorsList::default(), Default::default());
        Self { polled: Polled::new(VISITORS_EVERY), list, cursors }
    }
}
