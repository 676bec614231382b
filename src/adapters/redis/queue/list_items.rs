//! Looking into the queue's lists, and removing items from the midst of them.
//!
//! An item has no name of its own, and its place changes. So it is named by what it is and by its
//! place counted from the old end, which only falls: what comes is put at the other end, and what
//! goes lets those above it sink.

use std::collections::{HashMap, HashSet};

use redis::cmd;
use sha2::{Digest, Sha256};

use super::keys::hex_into;
use super::scripts::Scripts;
use crate::redis::connection::{Connection, RedisFailure};
use bklit_pipeline::queue::{MAX_BATCH_BYTES, Order, Page};
use bklit_wire::queue::MAX_PAGE;

/// Items read at once when looking for some.
const WINDOW: i64 = 500;
/// Items removed in one step. Redis goes through the list once for all of them, which takes some
/// milliseconds for 100,000 items.
const MOST_REMOVED: usize = MAX_PAGE;
/// Places a script searches for an item that was moved since it was found.
const SEARCHED: usize = 20_000;
/// How often items that moved too far are looked for anew.
const TRIES: usize = 4;
/// Bytes of a hash in an id.
const HASH: usize = 12;

/// Names an item by what it is and where it was.
fn id_of(place: i64, member: &[u8]) -> String {
    let mut id = String::with_capacity(2 * HASH + 8);
    hex_into(&mut id, &Sha256::digest(member)[..HASH]);
    id + "-" + &place.to_string()
}

/// What an id says: the hash, and the place, counted from the oldest.
fn parts(id: &str) -> Option<(&str, i64)> {
    let (hash, place) = id.rsplit_once('-')?;
    let place = place.parse().ok().filter(|place| (0..i64::MAX).contains(place))?;
    (hash.len() == 2 * HASH).then_some((hash, place))
}

/// The items from place `low` to `high`, each with its place, the newest first.
async fn window(
    connection: &Connection<'_>,
    list: &str,
    low: i64,
    high: i64,
) -> Result<Vec<(i64, Vec<u8>)>, RedisFailure> {
    let asked = cmd("LRANGE").arg(list).arg(-1 - high).arg(-1 - low).take();
    let found: Vec<Vec<u8>> = connection.query(&asked).await?;
    // Fewer than asked for where the list is shorter: the newest ones are missing.
    let oldest_first = found.into_iter().rev().enumerate();
    let mut placed: Vec<_> = oldest_first.map(|(n, member)| (low + n as i64, member)).collect();
    placed.reverse();
    Ok(placed)
}

/// A page of the list.
pub(super) async fn page<T>(
    connection: &Connection<'_>,
    list: &str,
    order: Order,
    after: Option<&str>,
    most: usize,
    read: impl Fn(String, Vec<u8>) -> T,
) -> Result<Page<T>, RedisFailure> {
    let length: i64 = connection.query(cmd("LLEN").arg(list)).await?;
    let after: Option<i64> = after.and_then(|place| place.parse().ok());
    let most = most.clamp(1, MAX_PAGE) as i64;
    let (low, high) = match order {
        Order::NewestFirst => {
            let top = after.unwrap_or(length).min(length);
            ((top - most).max(0), top - 1)
        }
        Order::OldestFirst => {
            let low = after.map_or(0, |place| place.saturating_add(1)).max(0);
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
    for (place, member) in found {
        if bytes >= MAX_BATCH_BYTES {
            break;
        }
        bytes += member.len();
        last = Some(place);
        items.push(read(id_of(place, &member), member));
    }
    let next = match (order, last) {
        (Order::NewestFirst, last) => Some(last.unwrap_or(low)).filter(|place| *place > 0),
        (Order::OldestFirst, last) => last.filter(|place| place + 1 < length),
    };
    Ok(Page { items, next: next.map(|place| place.to_string()) })
}

/// Removes the items with these ids, in their order, putting them into `target` if there is one.
/// Returns how many were there.
pub(super) async fn remove(
    connection: &Connection<'_>,
    scripts: &Scripts,
    list: &str,
    target: Option<&str>,
    ids: &[String],
) -> Result<u64, RedisFailure> {
    let mut seen = HashSet::new();
    let mut left: Vec<&str> =
        ids.iter().map(String::as_str).filter(|id| seen.insert(*id)).collect();
    let mut removed = 0;
    for _ in 0..TRIES {
        let found = find(connection, list, &left).await?;
        let found: Vec<_> = left.iter().filter_map(|id| found.get_key_value(*id)).collect();
        if found.is_empty() {
            break;
        }
        let mut missed = Vec::new();
        for some in found.chunks(MOST_REMOVED) {
            let mut call = scripts.remove.key(list);
            call.key(target.unwrap_or(list)).arg(uuid::Uuid::now_v7().simple().to_string());
            call.arg(u8::from(target.is_some())).arg(SEARCHED);
            for (_, (place, member)) in some {
                call.arg(-1 - place).arg(member.as_slice());
            }
            let answers: Vec<bool> = connection.script(&call).await?;
            removed += answers.iter().filter(|there| **there).count() as u64;
            let missing = some.iter().zip(answers).filter(|(_, there)| !there);
            missed.extend(missing.map(|((id, _), _)| **id));
        }
        if missed.is_empty() {
            break;
        }
        left = missed;
    }
    Ok(removed)
}

/// Where the items with these ids are now, each at a place of its own.
async fn find<'a>(
    connection: &Connection<'_>,
    list: &str,
    ids: &[&'a str],
) -> Result<HashMap<&'a str, (i64, Vec<u8>)>, RedisFailure> {
    let mut found = HashMap::new();
    let mut used = HashSet::new();
    let known: Vec<_> = ids.iter().filter_map(|id| Some((*id, parts(id)?))).collect();
    for some in known.chunks(WINDOW as usize) {
        let mut asked = redis::pipe();
        for (_, (_, place)) in some {
            asked.cmd("LINDEX").arg(list).arg(-1 - place);
        }
        let members: Vec<Option<Vec<u8>>> = connection.pipeline(&asked).await?;
        for ((id, (_, place)), member) in some.iter().zip(members) {
            if let Some(member) = member.filter(|member| id_of(*place, member) == *id) {
                used.insert(*place);
                found.insert(*id, (*place, member));
            }
        }
    }
    let mut moved: HashMap<&str, Vec<&'a str>> = HashMap::new();
    let mut highest = 0;
    for (id, (hash, place)) in known.into_iter().filter(|(id, _)| !found.contains_key(id)) {
        moved.entry(hash).or_default().push(id);
        highest = highest.max(place);
    }
    // Places only fall, so from the highest one down; whoever puts items at the old end, which
    // nothing in Bklit does, has to list them anew.
    let length: i64 = connection.query(cmd("LLEN").arg(list)).await?;
    let mut high = highest.min(length - 1);
    while !moved.is_empty() && high >= 0 {
        let low = (high + 1 - WINDOW).max(0);
        for (place, member) in window(connection, list, low, high).await? {
            let named = id_of(place, &member);
            let Some((hash, _)) = parts(&named) else { continue };
            let Some(ids) = moved.get_mut(hash) else { continue };
            if !used.insert(place) {
                continue;
            }
            if let Some(id) = ids.pop() {
                found.insert(id, (place, member));
            }
            if ids.is_empty() {
                moved.remove(hash);
            }
        }
        high = low - 1;
    }
    Ok(found)
}
