//! Walking through what failed or waits, a page in memory at a time.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use color_eyre::Result;
use serde::Serialize;

use crate::cli::FilterArgs;
use bklit_pipeline::queue::{Order, Page, Queue};
use bklit_wire::queue::EventView;
use bklit_wire::queue::MAX_PAGE;
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

    /// Before `event` or `events`.
    pub(super) fn adjective(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Waiting => "waiting",
        }
    }
}

/// One of them, as `list --json` and `export` write it.
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
    /// What was queued, unchanged.
    pub(super) body: String,
}

/// A walk over all pages.
pub(super) struct Walk<'a> {
    queue: &'a dyn Queue,
    which: Which,
    order: Order,
    filter: Filter,
    after: Option<String>,
    ended: bool,
    /// Nothing but these.
    only: Option<Seen>,
}

/// Which items were seen, by what they are: their places change while others work on the list.
#[derive(Default)]
pub(super) struct Seen {
    hashes: HashSet<u64>,
    hasher: RandomState,
}

impl Seen {
    pub(super) fn note(&mut self, entry: &Entry) {
        self.hashes.insert(self.hasher.hash_one(&entry.body));
    }

    fn has(&self, entry: &Entry) -> bool {
        self.hashes.contains(&self.hasher.hash_one(&entry.body))
    }
}

/// What to leave out.
struct Filter {
    project: Option<String>,
    /// In lower case.
    reason: Option<String>,
}

impl Filter {
    fn lets_through(&self, entry: &Entry) -> bool {
        let of_project = |project: &String| entry.event.project_id.as_ref() == Some(project);
        let has_reason = |text: &String| {
            entry.reason.as_ref().is_some_and(|reason| reason.to_lowercase().contains(text))
        };
        self.project.as_ref().is_none_or(of_project) && self.reason.as_ref().is_none_or(has_reason)
    }
}

impl<'a> Walk<'a> {
    /// From the newest to the oldest, so that none is left out, whatever others do meanwhile.
    pub(super) fn over(queue: &'a dyn Queue, which: Which, filter: &FilterArgs) -> Self {
        let filter = Filter {
            project: filter.project.clone(),
            reason: filter.reason.as_ref().map(|text| text.to_lowercase()),
        };
        let order = Order::NewestFirst;
        Self { queue, which, order, filter, after: None, ended: false, only: None }
    }

    /// The other way round, which only waiting ones can be shown.
    pub(super) fn oldest_first(self) -> Self {
        Self { order: Order::OldestFirst, ..self }
    }

    /// The same walk once more, over what was seen and nothing that has come since.
    pub(super) fn again(self, seen: Seen) -> Self {
        Self { after: None, ended: false, only: Some(seen), ..self }
    }

    /// Those of the next page that the filter lets through, none perhaps; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Entry>>> {
        if self.ended {
            return Ok(None);
        }
        let Page { items, next } = self.page().await?;
        self.ended = next.is_none();
        self.after = next;
        let lets_through = |entry: &Entry| {
            self.filter.lets_through(entry) && self.only.as_ref().is_none_or(|seen| seen.has(entry))
        };
        Ok(Some(items.into_iter().filter(lets_through).collect()))
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
