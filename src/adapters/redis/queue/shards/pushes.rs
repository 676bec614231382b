//! Pushes items to the shards of their projects, even while the number of shards changes.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::super::once::{Added, PushResult};
use super::super::{RedisQueue, unavailable};
use super::layout::Layout;
use bklit_pipeline::queue::{NewItem, QueueError};

/// How often an item may find that the number of shards has changed.
const TRIES: usize = 8;

/// Places of items in a call, by shard.
type ByShard = BTreeMap<u32, Vec<usize>>;

/// How the items of one shard are pushed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Way {
    /// Together with those of other calls.
    Grouped,
    /// Atomically, each as if its client had chosen its id.
    Ordered,
}

/// The items of a call, and what has become of them.
struct Pushing<'a> {
    items: &'a [NewItem],
    way: Way,
    results: Vec<Option<PushResult>>,
}

impl RedisQueue {
    /// Pushes items; returns a result for each.
    pub(in super::super) async fn push_all(&self, items: &[NewItem], way: Way) -> Vec<PushResult> {
        let mut pushing = Pushing { items, way, results: vec![None; items.len()] };
        for _ in 0..TRIES {
            let layout = match self.layouts.for_push().await {
                Ok(layout) => layout,
                Err(error) => return pushing.end(&error),
            };
            self.look_up(&layout, &mut pushing).await;
            self.add(&layout, &mut pushing).await;
            let Some(epoch) = pushing.moved() else { break };
            if let Err(error) = self.layouts.catch_up(epoch).await {
                return pushing.end(&error);
            }
        }
        pushing.end(&unavailable("the number of its shards keeps changing"))
    }

    /// Looks items up in the shards that they were pushed to in earlier epochs.
    async fn look_up(&self, layout: &Layout, pushing: &mut Pushing<'_>) {
        let mut looks = ByShard::new();
        for place in pushing.open() {
            let item = &pushing.items[place];
            if item.client_id || pushing.way == Way::Ordered {
                for shard in layout.earlier(&item.event.project_id) {
                    looks.entry(shard).or_default().push(place);
                }
            }
        }
        let epoch = layout.record.epoch;
        let found = join_all(looks.into_iter().map(async |(shard, places)| {
            let events = places.iter().map(|place| &*pushing.items[*place].event);
            let found = self.shard(shard).look_up(epoch, events).await;
            (shard, places, found)
        }));
        for (shard, places, found) in found.await {
            let results = match found {
                Ok((results, age)) => {
                    let is_current = !results.iter().any(|r| matches!(r, Ok(Added::Moved(_))));
                    if is_current {
                        layout.fenced(shard, age);
                    }
                    results
                }
                Err(error) => vec![Err(error); places.len()],
            };
            for (place, result) in places.into_iter().zip(results) {
                // Of several shards, the one that knows the item counts.
                let before = &mut pushing.results[place];
                match result {
                    Ok(Added::Unknown) => {}
                    Err(QueueError::Unavailable(_)) if before.is_some() => {}
                    result => *before = Some(result),
                }
            }
        }
    }

    /// Adds the items that have no result yet.
    async fn add(&self, layout: &Layout, pushing: &mut Pushing<'_>) {
        let mut homes = ByShard::new();
        for place in pushing.open() {
            let home = layout.home(&pushing.items[place].event.project_id);
            homes.entry(home).or_default().push(place);
        }
        let epoch = layout.record.epoch;
        let added = join_all(homes.into_iter().map(async |(shard, places)| {
            let (shard, items) = (self.shard(shard), places.iter().map(|n| &pushing.items[*n]));
            let results = match pushing.way {
                Way::Grouped => shard.push_many(epoch, items).await,
                Way::Ordered => {
                    let events = items.map(|item| &*item.event);
                    let added = shard.push_in_order(epoch, events).await;
                    added.unwrap_or_else(|error| vec![Err(error); places.len()])
                }
            };
            (places, results)
        }));
        for (places, results) in added.await {
            for (place, result) in places.into_iter().zip(results) {
                pushing.results[place] = Some(result);
            }
        }
    }
}

impl Pushing<'_> {
    /// The items without a result.
    fn open(&self) -> Vec<usize> {
        let results = self.results.iter().enumerate();
        results.filter(|(_, result)| result.is_none()).map(|(place, _)| place).collect()
    }

    /// Reopens the items that have to be pushed again by a later layout; returns its epoch.
    fn moved(&mut self) -> Option<u64> {
        let mut latest = None;
        for result in &mut self.results {
            if let Some(Ok(Added::Moved(epoch))) = result {
                latest = latest.max(Some(*epoch));
                *result = None;
            }
        }
        latest
    }

    /// The results; that of items without one is `error`.
    fn end(self, error: &QueueError) -> Vec<PushResult> {
        self.results.into_iter().map(|result| result.unwrap_or(Err(error.clone()))).collect()
    }
}
