//! The failed list: one JSON object a member,
//! `{"batch", "item", "failedAt", "reason", "body"}`, where `body` is the queue's item as a string,
//! unchanged. Other members, which other programs put there, are shown and retried as they are.

use serde::{Deserialize, Serialize};

use super::claims::text;
use bklit_pipeline::queue::{ClaimId, FailedItem, Rejected};
use bklit_wire::queue::EventView;
use bklit_wire::time::UtcMillis;

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
pub(super) fn start(claim: &ClaimId, rejected: &Rejected, now: UtcMillis) -> String {
    let (batch, item, reason) = (&claim.batch, rejected.seq, &rejected.reason);
    let start = RecordStart { batch, item, failed_at: now, reason };
    // Strings and numbers always serialise.
    let mut json = serde_json::to_string(&start).unwrap_or_default();
    json.pop();
    json.push_str(",\"body\":");
    json
}

/// Reads a member whose id is `id`.
pub(super) fn read(id: String, member: Vec<u8>) -> FailedItem {
    let member = text(member);
    match serde_json::from_str::<Record>(&member) {
        Ok(Record { failed_at, reason, body }) => FailedItem { id, body, reason, failed_at },
        Err(_) => FailedItem {
            id,
            failed_at: EventView::of(&member).queued_at,
            body: member,
            reason: "another program put it here, without a reason that can be read".to_owned(),
        },
    }
}
