//! The failed list: each item is a JSON object `{"batch", "item", "failedAt", "reason", "body"}`,
//! where `body` is the queue's item as a string, unchanged. Items of other formats, added by other
//! programs, are shown and retried unchanged.

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

/// A record without its body, which a script appends.
pub(super) fn start(claim: &ClaimId, rejected: &Rejected, now: UtcMillis) -> String {
    let (batch, item, reason) = (&claim.batch, rejected.seq, &rejected.reason);
    let start = RecordStart { batch, item, failed_at: now, reason };
    // Serialising strings and numbers cannot fail.
    let mut json = serde_json::to_string(&start).unwrap_or_default();
    json.pop();
    json.push_str(",\"body\":");
    json
}

/// Parses an item of the failed list.
pub(super) fn read(id: String, member: Vec<u8>) -> FailedItem {
    let member = text(member);
    match serde_json::from_str::<Record>(&member) {
        Ok(Record { failed_at, reason, body }) => FailedItem { id, body, reason, failed_at },
        Err(_) => FailedItem {
            id,
            failed_at: EventView::of(&member).queued_at,
            body: member,
            reason: "added by another program, without a readable reason".to_owned(),
        },
    }
}
