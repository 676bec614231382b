//! Drops the ends of sessions that do not exist, where they came without a token. The process that
//! accepted them did not know the session; another one may.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;

use super::parse::Item;
use super::{WorkerContext, details};
use crate::store::StoreError;
use bklit_net::timeout::within;
use bklit_wire::debug_log::Stage;
use bklit_wire::event::{EventKind, Payload};
use bklit_wire::session::SessionKey;

/// Sessions looked up by one query.
const AT_ONCE: usize = 1_000;
/// How long a query may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Removes the unverified ends of sessions that have no page view in the store or in `items`. If that
/// cannot be found out, they stay: an end shows nothing of a session that has not begun, and is at
/// no later time than when it was accepted.
pub(super) async fn drop_unknown(context: &WorkerContext, items: &mut Vec<Item>) {
    let mut wanted: Vec<SessionKey> = items.iter().filter_map(unverified).collect();
    if wanted.is_empty() {
        return;
    }
    let in_batch: HashSet<(&str, &str)> = items
        .iter()
        .filter(|item| item.event.payload.kind() == EventKind::Pageview)
        .filter_map(|item| Some((&*item.event.project_id, item.event.payload.session_id()?)))
        .collect();
    wanted.retain(|key| !in_batch.contains(&(&*key.project_id, &*key.session_id)));
    wanted.sort_unstable();
    wanted.dedup();
    let mut unknown: HashSet<SessionKey> = HashSet::new();
    for some in wanted.chunks(AT_ONCE) {
        let stored = context.store.first_views(some);
        match within(TIMEOUT, stored, StoreError::Unavailable).await {
            Ok(stored) => {
                unknown.extend(some.iter().filter(|key| !stored.contains_key(*key)).cloned());
            }
            Err(error) => {
                context
                    .log
                    .step(Stage::Worker)
                    .uncounted()
                    .warn("Ends of unknown sessions not checked", || {
                        details(json!({ "reason": error.to_string(), "sessions": some.len() }))
                    });
            }
        }
    }
    let before = items.len();
    items.retain(|item| unverified(item).is_none_or(|session| !unknown.contains(&session)));
    if items.len() < before {
        context
            .log
            .step(Stage::Worker)
            .uncounted()
            .info("Ends of unknown sessions dropped", || {
                details(json!({ "ends": before - items.len() }))
            });
    }
}

/// The session of an unverified end.
fn unverified(item: &Item) -> Option<SessionKey> {
    match &item.event.payload {
        Payload::SessionEnd(end) if end.unverified => SessionKey::of(&item.event),
        _ => None,
    }
}
