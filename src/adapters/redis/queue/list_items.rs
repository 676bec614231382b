//! Pages of a list, and removing items from the middle of it.
//!
//! List items have no ids, and their positions change. So an item's id consists of a hash of its
//! content and its position counted from the oldest item. That position can only fall: new items
//! are added at the other end, and removing an item lowers the positions of newer ones.

use std::collections::{HashMap, HashSet};

use data_encoding::HEXLOWER;
use redis::cmd;
use sha2::{Digest, Sha256};

use super::scripts::Scripts;
use crate::redis::connection::{Connection, RedisFailure};
use bklit_pipeline::queue::{MAX_BATCH_BYTES, Order, Page};
use bklit_wire::queue::MAX_PAGE;

/// Items read in one round trip during a search.
const WINDOW: i64 = 500;
/// Items removed in one call. Redis scans the list once for all of them, which takes some
/// milliseconds for 100,000 items.
const MAX_REMOVED: usize = MAX_PAGE;
/// Positions that a script searches for an item that has moved since it was found.
const MAX_SEARCHED: usize = 20_000;
/// Attempts to find items that have moved too far.
const TRIES: usize = 4;
/// Bytes of a hash in an id.
const HASH_BYTES: usize = 12;

/// The id of an item: its hash and its position.
fn id_of(position: i64, member: &[u8]) -> String {
    format!("{}-{position}", HEXLOWER.encode(&Sha256::digest(member)[..HASH_BYTES]))
}

/// Splits an id into the hash and the position, counted from the oldest item.
fn parts(id: &str) -> Option<(&str, i64)> {
    let (hash, position) = id.rsplit_once('-')?;
    let position = position.parse().ok().filter(|position| (0..i64::MAX).contains(position))?;
    (hash.len() == 2 * HASH_BYTES).then_some((hash, position))
}

/// The items from position `low` to `high` with their positions, newest first.
async fn window(
    connection: &Connection<'_>,
    list: &str,
    low: i64,
    high: i64,
) -> Result<Vec<(i64, Vec<u8>)>, RedisFailure> {
    let command = cmd("LRANGE").arg(list).arg(-1 - high).arg(-1 - low).take();
    let found: Vec<Vec<u8>> = connection.query(&command).await?;
    // Fewer than requested if the list is shorter: then the newest ones are missing.
    let oldest_first = found.into_iter().rev().enumerate();
    let mut items: Vec<_> = oldest_first.map(|(n, member)| (low + n as i64, member)).collect();
    items.reverse();
    Ok(items)
}

/// Reads a page of the list.
pub(super) async fn page<T>(
    connection: &Connection<'_>,
    list: &str,
    order: Order,
    after: Option<&str>,
    most: usize,
    read: impl Fn(String, Vec<u8>) -> T,
) -> Result<Page<T>, RedisFailure> {
    let length: i64 = connection.query(cmd("LLEN").arg(list)).await?;
    let after: Option<i64> = after.and_then(|position| position.parse().ok());
    let most = most.clamp(1, MAX_PAGE) as i64;
    let (low, high) = match order {
        Order::NewestFirst => {
            let top = after.unwrap_or(length).min(length);
            ((top - most).max(0), top - 1)
        }
        Order::OldestFirst => {
            let low = after.map_or(0, |position| position.saturating_add(1)).max(0);
            (low, low.saturating_add(most - 1))
        }
    };
    if high < low || low >= length {
        return Ok(Page { items: Vec::new(), next: None });
    }
    let mut found = window(connection, list, low, high).await?;
    if order == Order::OldestFirst {
        found.reverse();
    }
    let (mut items, mut bytes, mut last) = (Vec::with_capacity(found.len()), 0, None);
    for (position, member) in found {
        if bytes >= MAX_BATCH_BYTES {
            break;
        }
        bytes += member.len();
        last = Some(position);
        items.push(read(id_of(position, &member), member));
    }
    let next = match (order, last) {
        (Order::NewestFirst, last) => Some(last.unwrap_or(low)).filter(|position| *position > 0),
        (Order::OldestFirst, last) => last.filter(|position| position + 1 < length),
    };
    Ok(Page { items, next: next.map(|position| position.to_string()) })
}

/// An item to remove.
#[derive(Clone, Copy)]
pub(super) struct Removed<'a> {
    /// Its id.
    pub id: &'a str,
    /// What to append to the target instead of it.
    pub edited: Option<&'a str>,
}

impl<'a> Removed<'a> {
    /// Items that are appended as they are.
    pub(super) fn all(ids: &'a [String]) -> Vec<Self> {
        ids.iter().map(|id| Self { id, edited: None }).collect()
    }
}

/// Removes items, in the given order, and appends them to `target` if there is one. Returns the number
/// of items that were found and removed, also if it could not look for the others.
pub(super) async fn remove(
    connection: &Connection<'_>,
    scripts: &Scripts,
    list: &str,
    target: Option<&str>,
    items: &[Removed<'_>],
) -> (u64, Result<(), RedisFailure>) {
    let mut removed = 0;
    let result = remove_counting(connection, scripts, list, target, items, &mut removed).await;
    (removed, result)
}

async fn remove_counting(
    connection: &Connection<'_>,
    scripts: &Scripts,
    list: &str,
    target: Option<&str>,
    items: &[Removed<'_>],
    removed: &mut u64,
) -> Result<(), RedisFailure> {
    let mut edited = HashMap::new();
    let mut left = Vec::with_capacity(items.len());
    for item in items {
        if edited.insert(item.id, item.edited.unwrap_or_default()).is_none() {
            left.push(item.id);
        }
    }
    for _ in 0..TRIES {
        let found = find(connection, list, &left).await?;
        let found: Vec<_> = left.iter().filter_map(|id| found.get_key_value(*id)).collect();
        if found.is_empty() {
            break;
        }
        let mut missed = Vec::new();
        for some in found.chunks(MAX_REMOVED) {
            let mut call = scripts.remove.key(list);
            call.key(target.unwrap_or(list)).arg(uuid::Uuid::now_v7().simple().to_string());
            call.arg(u8::from(target.is_some())).arg(MAX_SEARCHED);
            for (id, (position, member)) in some {
                let edited = edited.get(*id).copied().unwrap_or_default();
                call.arg(-1 - position).arg(member.as_slice()).arg(edited);
            }
            let results: Vec<bool> = connection.script(&call).await?;
            *removed += results.iter().filter(|found| **found).count() as u64;
            let missing = some.iter().zip(results).filter(|(_, found)| !found);
            missed.extend(missing.map(|((id, _), _)| **id));
        }
        if missed.is_empty() {
            break;
        }
        left = missed;
    }
    Ok(())
}

/// Finds the current positions of the items with these ids, each at a different position.
pub(super) async fn find<'a>(
    connection: &Connection<'_>,
    list: &str,
    ids: &[&'a str],
) -> Result<HashMap<&'a str, (i64, Vec<u8>)>, RedisFailure> {
    let mut found = HashMap::new();
    let mut used = HashSet::new();
    let known: Vec<_> = ids.iter().filter_map(|id| Some((*id, parts(id)?))).collect();
    for some in known.chunks(WINDOW as usize) {
        let mut commands = redis::pipe();
        for (_, (_, position)) in some {
            commands.cmd("LINDEX").arg(list).arg(-1 - position);
        }
        let members: Vec<Option<Vec<u8>>> = connection.pipeline(&commands).await?;
        for ((id, (_, position)), member) in some.iter().zip(members) {
            if let Some(member) = member.filter(|member| id_of(*position, member) == *id) {
                used.insert(*position);
                found.insert(*id, (*position, member));
            }
        }
    }
    let mut moved: HashMap<&str, Vec<&'a str>> = HashMap::new();
    let mut highest = 0;
    for (id, (hash, position)) in known.into_iter().filter(|(id, _)| !found.contains_key(id)) {
        moved.entry(hash).or_default().push(id);
        highest = highest.max(position);
    }
    // Positions only fall, so the search goes down from the highest one. Nothing in Bklit adds
    // items at the old end; a program that does has to list the items again.
    let length: i64 = connection.query(cmd("LLEN").arg(list)).await?;
    let mut high = highest.min(length - 1);
    while !moved.is_empty() && high >= 0 {
        let low = (high + 1 - WINDOW).max(0);
        for (position, member) in window(connection, list, low, high).await? {
            let named = id_of(position, &member);
            let Some((hash, _)) = parts(&named) else { continue };
            let Some(ids) = moved.get_mut(hash) else { continue };
            if !used.insert(position) {
                continue;
            }
            if let Some(id) = ids.pop() {
                found.insert(id, (position, member));
            }
            if ids.is_empty() {
                moved.remove(hash);
            }
        }
        high = low - 1;
    }
    Ok(found)
}
