//! Walks through failed or waiting events with one page in memory at a time.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use color_eyre::Result;
use serde::Serialize;

use crate::cli::FilterArgs;
use bklit_pipeline::queue::{Order, Page, Queue};
use bklit_wire::queue::MAX_PAGE;
use bklit_wire::queue::{EventView, FailedView};
use bklit_wire::time::UtcMillis;

/// Which list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Failed,
    Waiting,
}

impl Which {
    pub(super) fn of(waiting: bool) -> Self {
        if waiting { Self::Waiting } else { Self::Failed }
    }

    /// As in "failed events".
    pub(super) fn adjective(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Waiting => "waiting",
        }
    }
}

/// One event, as `list --json` and `export` write it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    pub(super) id: String,
    #[serde(flatten)]
    pub(super) event: EventView,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failed_at: Option<UtcMillis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// The event as it was queued.
    pub(super) body: String,
}

impl From<Entry> for FailedView {
    fn from(entry: Entry) -> Self {
        let Entry { id, event, failed_at, reason, body } = entry;
        Self { id, event, failed_at, reason: reason.unwrap_or_default(), body }
    }
}

/// A walk over all pages of a list.
pub(super) struct Walk<'a> {
    queue: &'a dyn Queue,
    which: Which,
    order: Order,
    filter: Filter,
    after: Option<String>,
    ended: bool,
    /// If set, only these events.
    only: Option<Seen>,
}

/// Events seen on an earlier walk, by content: their ids may change while others modify the list.
#[derive(Default)]
pub(super) struct Seen {
    hashes: HashSet<u64>,
    hasher: RandomState,
}

impl Seen {
    pub(super) fn record(&mut self, entry: &Entry) {
        self.hashes.insert(self.hasher.hash_one(&entry.body));
    }

    fn has(&self, entry: &Entry) -> bool {
        self.hashes.contains(&self.hasher.hash_one(&entry.body))
    }
}

/// Which events to return.
struct Filter {
    project: Option<String>,
    /// In lower case.
    reason: Option<String>,
}

impl Filter {
    fn matches(&self, entry: &Entry) -> bool {
        let of_project = |project: &String| entry.event.project_id.as_ref() == Some(project);
        let has_reason = |text: &String| {
            entry.reason.as_ref().is_some_and(|reason| reason.to_lowercase().contains(text))
        };
        self.project.as_ref().is_none_or(of_project) && self.reason.as_ref().is_none_or(has_reason)
    }
}

impl<'a> Walk<'a> {
    /// Newest first: in this order none is skipped when others change the list meanwhile.
    pub(super) fn over(queue: &'a dyn Queue, which: Which, filter: &FilterArgs) -> Self {
        let filter = Filter {
            project: filter.project.clone(),
            reason: filter.reason.as_ref().map(|text| text.to_lowercase()),
        };
        let order = Order::NewestFirst;
        Self { queue, which, order, filter, after: None, ended: false, only: None }
    }

    /// Oldest first, which only waiting events support.
    pub(super) fn oldest_first(self) -> Self {
        Self { order: Order::OldestFirst, ..self }
    }

    /// The same walk again, restricted to the events already seen.
    pub(super) fn again(self, seen: Seen) -> Self {
        Self { after: None, ended: false, only: Some(seen), ..self }
    }

    /// The matching events of the next page, perhaps none; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Entry>>> {
        if self.ended {
            return Ok(None);
        }
        let Page { items, next } = self.page().await?;
        self.ended = next.is_none();
        self.after = next;
        let matches = |entry: &Entry| {
            self.filter.matches(entry) && self.only.as_ref().is_none_or(|seen| seen.has(entry))
        };
        Ok(Some(items.into_iter().filter(matches).collect()))
    }

    async fn page(&self) -> Result<Page<Entry>> {
        let after = self.after.as_deref();
        Ok(match self.which {
            Which::Failed => {
                let Page { items, next } = self.queue.failed(after, MAX_PAGE).await?;
                let entry = items.into_iter().map(|item| Entry {
                    event: EventView::of(&item.body),
                    id: item.id,
                    failed_at: item.failed_at,
                    reason: Some(item.reason),
                    body: item.body,
                });
                Page { items: entry.collect(), next }
            }
            Which::Waiting => {
                let page = self.queue.waiting(self.order, after, MAX_PAGE).await?;
                let Page { items, next } = page;
                let entry = items.into_iter().map(|item| Entry {
                    event: EventView::of(&item.body),
                    id: item.id,
                    failed_at: None,
                    reason: None,
                    body: item.body,
                });
                Page { items: entry.collect(), next }
            }
        })
    }
}
