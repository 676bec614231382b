//! Pages of the items of all shards, by time.
//!
//! A page continues in each shard after the last item shown of it. Its cursor lists the shards that
//! have more, each with the position of that item: `0:17,3:` continues shard 3 from its beginning.

use std::collections::{BTreeMap, VecDeque};

use futures_util::future::{BoxFuture, join_all};

use super::super::keys::{shard_of, with_shard};
use bklit_pipeline::queue::{
    FailedItem, MAX_BATCH_BYTES, MAX_SHARDS, Order, Page, QueueError, WaitingItem,
};
use bklit_wire::queue::{Edit, EventView, MAX_PAGE};
use bklit_wire::time::UtcMillis;

/// An item of a list.
pub(in super::super) trait Listed: Send {
    fn id(&mut self) -> &mut String;
    /// Its sort key among items of other shards.
    fn time(&self) -> Option<UtcMillis>;
    fn bytes(&self) -> usize;
}

impl Listed for WaitingItem {
    fn id(&mut self) -> &mut String {
        &mut self.id
    }

    fn time(&self) -> Option<UtcMillis> {
        EventView::of(&self.body).queued_at
    }

    fn bytes(&self) -> usize {
        self.body.len()
    }
}

impl Listed for FailedItem {
    fn id(&mut self) -> &mut String {
        &mut self.id
    }

    fn time(&self) -> Option<UtcMillis> {
        self.failed_at
    }

    fn bytes(&self) -> usize {
        self.body.len()
    }
}

/// The list of one shard.
struct Lane<T> {
    shard: u32,
    /// The position of the last item that was shown.
    shown: Option<String>,
    /// The position of the last item that was read, if more follow.
    read: Option<Option<String>>,
    items: VecDeque<(UtcMillis, T)>,
    /// The time of the last item read. Those without a time come right after it.
    time: UtcMillis,
}

/// Reads a page of `most` items: `read` reads one of a shard, after a position.
pub(in super::super) async fn merged<'a, T: Listed>(
    served: u32,
    order: Order,
    after: Option<&str>,
    most: usize,
    read: impl Fn(u32, Option<String>, usize) -> BoxFuture<'a, Result<Page<T>, QueueError>>,
) -> Result<Page<T>, QueueError> {
    let most = most.clamp(1, MAX_PAGE);
    let mut lanes = lanes(served, order, after);
    // Few enough are read at once that all shards together yield little more than a page.
    let at_once = most.div_ceil(lanes.len().max(1));
    let (mut items, mut bytes) = (Vec::new(), 0);
    while items.len() < most && bytes < MAX_BATCH_BYTES {
        let empty = lanes.iter_mut().filter(|lane| lane.items.is_empty());
        let reads = empty.filter_map(|lane| {
            let page = read(lane.shard, lane.read.take()?, at_once);
            Some(async { (lane, page.await) })
        });
        for (lane, page) in join_all(reads).await {
            lane.extend(order, page?);
        }
        let Some(lane) = next(&mut lanes, order) else { break };
        let Some((_, mut item)) = lane.items.pop_front() else { break };
        bytes += item.bytes();
        lane.shown = position(item.id()).map(ToOwned::to_owned);
        let id = std::mem::take(item.id());
        *item.id() = with_shard(id, lane.shard);
        items.push(item);
    }
    let more = lanes.iter().filter(|lane| !lane.items.is_empty() || lane.read.is_some());
    let more: Vec<_> =
        more.map(|l| format!("{}:{}", l.shard, l.shown.as_deref().unwrap_or(""))).collect();
    Ok(Page { items, next: (!more.is_empty()).then(|| more.join(",")) })
}

/// The lists at the beginning of a page. A cursor from when there was only one shard is a position.
fn lanes<T>(served: u32, order: Order, after: Option<&str>) -> Vec<Lane<T>> {
    let all = |shard| Some((shard, None));
    let starts: Vec<_> = match after {
        None => (0..served).map(all).collect(),
        Some(after) => after.split(',').map(start).collect(),
    };
    let lane = |(shard, shown): (u32, Option<String>)| Lane {
        shard,
        read: Some(shown.clone()),
        shown,
        items: VecDeque::new(),
        time: match order {
            Order::NewestFirst => UtcMillis::from_epoch_millis(i64::MAX),
            Order::OldestFirst => UtcMillis::from_epoch_millis(i64::MIN),
        },
    };
    starts.into_iter().flatten().take(MAX_SHARDS as usize).map(lane).collect()
}

/// Where to continue in a shard.
fn start(part: &str) -> Option<(u32, Option<String>)> {
    let (shard, position) = part.split_once(':').unwrap_or(("0", part));
    let shard = shard.parse().ok().filter(|shard| *shard < MAX_SHARDS)?;
    Some((shard, Some(position).filter(|position| !position.is_empty()).map(ToOwned::to_owned)))
}

impl<T: Listed> Lane<T> {
    fn extend(&mut self, order: Order, page: Page<T>) {
        for item in page.items {
            let time = item.time().unwrap_or(self.time);
            self.time = match order {
                Order::NewestFirst => time.min(self.time),
                Order::OldestFirst => time.max(self.time),
            };
            self.items.push_back((self.time, item));
        }
        self.read = page.next.map(Some);
    }
}

/// The list whose item comes next.
fn next<T>(lanes: &mut [Lane<T>], order: Order) -> Option<&mut Lane<T>> {
    let filled = lanes.iter_mut().filter(|lane| !lane.items.is_empty());
    let time = |lane: &&mut Lane<T>| lane.items.front().map(|(time, _)| *time);
    match order {
        Order::NewestFirst => filled.max_by_key(time),
        Order::OldestFirst => filled.min_by_key(time),
    }
}

/// The position of an item in its list, which ends its id.
fn position(id: &str) -> Option<&str> {
    id.rsplit_once('-').map(|(_, position)| position)
}

/// Ids by shard, without its number.
pub(in super::super) fn by_shard(ids: &[String]) -> Vec<(u32, Vec<String>)> {
    let mut all: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for id in ids {
        let (shard, id) = shard_of(id);
        all.entry(shard).or_default().push(id.to_owned());
    }
    all.into_iter().collect()
}

/// Edits by shard, without its number.
pub(in super::super) fn edits_by_shard(edits: &[Edit]) -> Vec<(u32, Vec<Edit>)> {
    let mut all: BTreeMap<u32, Vec<Edit>> = BTreeMap::new();
    for Edit { id, body } in edits {
        let (shard, id) = shard_of(id);
        all.entry(shard).or_default().push(Edit { id: id.to_owned(), body: body.clone() });
    }
    all.into_iter().collect()
}

/// Adds the number of a shard to an id.
pub(in super::super) fn add_shard(id: &mut String, shard: u32) {
    *id = with_shard(std::mem::take(id), shard);
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;

    fn item(shard: u32, position: usize, time: i64) -> FailedItem {
        let failed_at = (time % 7 != 0).then(|| UtcMillis::from_epoch_millis(time));
        let id = format!("hash-{position}");
        FailedItem { id, body: format!("{shard}/{position}"), reason: String::new(), failed_at }
    }

    /// Reads as a shard does: the newest has the highest position.
    fn page(list: &[FailedItem], after: Option<String>, most: usize) -> Page<FailedItem> {
        let end = after.map_or(list.len(), |position| position.parse().unwrap());
        let start = end.saturating_sub(most);
        let items = list[start..end].iter().rev().cloned().collect();
        Page { items, next: (start > 0).then(|| start.to_string()) }
    }

    async fn all(lists: &[Vec<FailedItem>], most: usize) -> Vec<FailedItem> {
        let (mut found, mut after, served) = (Vec::new(), None::<String>, lists.len() as u32);
        loop {
            let read = |shard: u32, after, at_once| {
                let page = page(&lists[shard as usize], after, at_once);
                std::future::ready(Ok(page)).boxed()
            };
            let page = merged(served, Order::NewestFirst, after.as_deref(), most, read).await;
            let page = page.unwrap();
            assert!(page.items.len() <= most);
            assert!(page.next.is_none() || page.items.len() == most, "a page is full");
            found.extend(page.items);
            after = page.next;
            if after.is_none() {
                return found;
            }
        }
    }

    proptest! {
        #[test]
        fn pages_show_every_item_once_and_in_order(
            steps in prop::collection::vec(prop::collection::vec(0..20_i64, 0..12), 1..5),
            most in 1..10_usize,
        ) {
            let lists: Vec<Vec<_>> = (0..).zip(&steps).map(|(shard, steps)| {
                let mut time = 1;
                let item = |(n, step): (usize, &i64)| { time += step; item(shard, n, time) };
                steps.iter().enumerate().map(item).collect()
            }).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let found = runtime.block_on(all(&lists, most));
            let expected: usize = lists.iter().map(Vec::len).sum();
            prop_assert_eq!(found.len(), expected);
            for (shard, list) in (0..).zip(&lists) {
                let of_shard = found.iter().filter(|item| shard_of(&item.id).0 == shard);
                let shown: Vec<_> = of_shard.map(|item| &item.body).collect();
                let expected: Vec<_> = list.iter().rev().map(|item| &item.body).collect();
                prop_assert_eq!(shown, expected);
            }
            let dated: Vec<_> = found.iter().filter_map(|item| item.failed_at).collect();
            prop_assert!(dated.is_sorted_by(|a, b| a >= b), "{:?}", dated);
        }
    }

    #[test]
    fn a_cursor_of_one_shard_continues_it_alone() {
        let of = |after| -> Vec<_> {
            let lanes: Vec<Lane<FailedItem>> = lanes(3, Order::NewestFirst, after);
            lanes.into_iter().map(|lane| (lane.shard, lane.shown)).collect()
        };
        assert_eq!(of(None), [(0, None), (1, None), (2, None)]);
        assert_eq!(of(Some("17")), [(0, Some("17".to_owned()))]);
        assert_eq!(of(Some("0:17,2:")), [(0, Some("17".to_owned())), (2, None)]);
        assert_eq!(of(Some("64:1,x:2")), []);
    }
}
