//! The failed list: one JSON object a member,
//! `{"batch", "item", "failedAt", "reason", "body"}`, where `body` is the queue's item as a string,
//! unchanged. Other members, which other programs put there, are shown and retried as they are.

use std::collections::{HashMap, HashSet};

use redis::cmd;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::claims::text;
use super::keys::{Keys, hex_into};
use super::scripts::Scripts;
use crate::pipeline::event::QueuedEvent;
use crate::pipeline::queue::{ClaimId, FailedItem, Rejected};
use crate::pipeline::redis::{Connection, RedisFailure};
use crate::pipeline::time::UtcMillis;

/// Members read at once when looking for some.
const PAGE: i64 = 500;
/// Members moved in one step.
const MOST_MOVED: usize = 500;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RecordStart<'a> {
    batch: &'a str,
    item: i64,
    failed_at: UtcMillis,
    reason: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    failed_at: Option<UtcMillis>,
    reason: String,
    body: String,
}

/// A record up to its body, which a script appends.
pub(super) fn record_start(claim: &ClaimId, rejected: &Rejected, now: UtcMillis) -> String {
    let (batch, item, reason) = (&claim.batch, rejected.seq, &rejected.reason);
    let start = RecordStart { batch, item, failed_at: now, reason };
    // Strings and numbers always serialise.
    let mut json = serde_json::to_string(&start).unwrap_or_default();
    json.pop();
    json.push_str(",\"body\":");
    json
}

/// Names a member by what it is: its place changes.
fn id_of(member: &[u8]) -> String {
    let mut id = String::with_capacity(32);
    hex_into(&mut id, &Sha256::digest(member)[..16]);
    id
}

fn read(member: Vec<u8>) -> FailedItem {
    let id = id_of(&member);
    let member = text(member);
    match serde_json::from_str::<Record>(&member) {
        Ok(Record { failed_at, reason, body }) => {
            let failed_at = failed_at.unwrap_or(UtcMillis::MIN);
            FailedItem { id, body, reason, failed_at }
        }
        Err(_) => {
            let queued_at = QueuedEvent::from_json(&member).map(|event| event.queued_at);
            FailedItem {
                id,
                body: member,
                reason: "another program put it here, without a reason that can be read".to_owned(),
                failed_at: queued_at.unwrap_or(UtcMillis::MIN),
            }
        }
    }
}

pub(super) async fn list(
    connection: &Connection<'_>,
    keys: &Keys,
    most: usize,
) -> Result<Vec<FailedItem>, RedisFailure> {
    let last = i64::try_from(most).unwrap_or(i64::MAX) - 1;
    if last < 0 {
        return Ok(Vec::new());
    }
    let asked = cmd("LRANGE").arg(&keys.failed).arg(0).arg(last).take();
    let members: Vec<Vec<u8>> = connection.query(&asked).await?;
    Ok(members.into_iter().map(read).collect())
}

/// Puts members back into the queue in the order of `ids`.
pub(super) async fn retry(
    connection: &Connection<'_>,
    keys: &Keys,
    scripts: &Scripts,
    ids: &[String],
) -> Result<u64, RedisFailure> {
    let mut found = find(connection, keys, ids).await?;
    let members: Vec<_> = ids.iter().filter_map(|id| found.remove(id)).collect();
    let mut moved = 0;
    for members in members.chunks(MOST_MOVED) {
        let mut call = scripts.retry_failed.key(&keys.failed);
        call.key(&keys.queue).arg(uuid::Uuid::now_v7().simple().to_string());
        for (place, member) in members {
            call.arg(*place).arg(member.as_slice());
        }
        moved += connection.script::<u64>(&call).await?;
    }
    Ok(moved)
}

/// The members with these ids, each with its place from the old end, which later ones leave as
/// it is.
async fn find(
    connection: &Connection<'_>,
    keys: &Keys,
    ids: &[String],
) -> Result<HashMap<String, (i64, Vec<u8>)>, RedisFailure> {
    let wanted: HashSet<_> = ids.iter().collect();
    let mut found = HashMap::new();
    let mut seen = 0;
    while found.len() < wanted.len() {
        let asked = cmd("LRANGE").arg(&keys.failed).arg(-seen - PAGE).arg(-seen - 1).take();
        let page: Vec<Vec<u8>> = connection.query(&asked).await?;
        let count = page.len() as i64;
        for (n, member) in page.into_iter().rev().enumerate() {
            let id = id_of(&member);
            if wanted.contains(&id) {
                found.insert(id, (-seen - 1 - n as i64, member));
            }
        }
        seen += count;
        if count < PAGE {
            break;
        }
    }
    Ok(found)
}
