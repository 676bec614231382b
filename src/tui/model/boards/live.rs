//! The live view: projects, top pages, last events.

use super::Polled;
use crate::model::cursor::Cursor;
use bklit_wire::live_view::{LastEvent, LiveProject, LiveView, TopPage};
use bklit_wire::time::UtcMillis;

/// Milliseconds between two questions while it is open.
const LIVE_EVERY: i64 = 3_000;

/// A list of the live view, from top to bottom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LiveList {
    /// The projects.
    #[default]
    Projects,
    /// The top pages.
    Pages,
    /// The last events.
    Events,
}

impl LiveList {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Projects, Self::Pages, Self::Events];
}

/// What is selected in the live view.
#[derive(Clone, Copy, Debug)]
pub enum LiveItem<'a> {
    /// A project.
    Project(&'a LiveProject),
    /// A page.
    Page(&'a TopPage),
    /// An event.
    Event(&'a LastEvent),
}

/// Who is there now, and where the reader is in it.
#[derive(Debug)]
pub struct LiveBoard {
    /// What was answered.
    pub polled: Polled<LiveView>,
    /// In which list the keys move.
    pub(crate) list: LiveList,
    /// The places in the lists.
    pub(crate) cursors: [Cursor; LiveList::ALL.len()],
}

impl LiveBoard {
    /// How much the lists have.
    pub fn counts(&self) -> [usize; LiveList::ALL.len()] {
        self.polled.data().map_or([0; LiveList::ALL.len()], |view| {
            [view.projects.len(), view.top_pages.len(), view.last_events.len()]
        })
    }

    /// In which list the keys move.
    pub fn list(&self) -> LiveList {
        self.list
    }

    /// The place in a list.
    pub fn cursor(&self, list: LiveList) -> Cursor {
        self.cursors[list as usize]
    }

    /// What is selected.
    pub fn selected(&self) -> Option<LiveItem<'_>> {
        self.item(self.list)
    }

    fn item(&self, list: LiveList) -> Option<LiveItem<'_>> {
        let (view, place) = (self.polled.data()?, self.cursor(list).selected());
        match list {
            LiveList::Projects => view.projects.get(place).map(LiveItem::Project),
            LiveList::Pages => view.top_pages.get(place).map(LiveItem::Page),
            LiveList::Events => view.last_events.get(place).map(LiveItem::Event),
        }
    }

    /// Takes an answer. The reader stays at the same project, page and event, or at the top of a
    /// list that moves on.
    pub(crate) fn take(&mut self, answer: Result<LiveView, String>, now: UtcMillis) {
        let name = |item: LiveItem<'_>| match item {
            LiveItem::Project(project) => (project.project_id.clone(), String::new()),
            LiveItem::Page(page) => (page.project_id.clone(), page.url.clone()),
            LiveItem::Event(event) => (event.project_id.clone(), event.event_id.clone()),
        };
        let before = LiveList::ALL.map(|list| self.item(list).map(name));
        self.polled.take(answer, now);
        let counts = self.counts();
        for (list, before) in LiveList::ALL.into_iter().zip(before) {
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
            self.list = LiveList::default();
        }
    }

    /// Selects a place in a list.
    pub(crate) fn select(&mut self, list: LiveList, place: usize, height: usize) {
        let count = self.counts()[list as usize];
        self.list = list;
        self.cursors[list as usize].select(place, count, height);
    }

    /// Keeps what is selected in the lists among so many rows each.
    pub(crate) fn settle(&mut self, heights: [usize; LiveList::ALL.len()]) {
        let counts = self.counts();
        for ((cursor, count), height) in self.cursors.iter_mut().zip(counts).zip(heights) {
            cursor.settle(count, height);
        }
    }
}

impl Default for LiveBoard {
    fn default() -> Self {
        let (list, cursors) = (LiveList::default(), Default::default());
        Self { polled: Polled::new(LIVE_EVERY), list, cursors }
    }
}
