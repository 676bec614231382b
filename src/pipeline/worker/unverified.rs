//! Drops the ends of sessions that do not exist, where they came without a token. The process that
//! accepted them did not know the session; another one may.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;

use super::parse::Item;
use super::{WorkerContext, details};
use crate::store::{QueryLimits, StoreError};
use bklit_wire::debug_log::Stage;
use bklit_wire::event::{EventKind, Payload};

/// Sessions looked up by one query.
const AT_ONCE: usize = 1_000;
/// How long a query may take.
const TIMEOUT: Duration = Duration::from_secs(10);

type Session = (String, String);

/// Removes the unverified ends of sessions that have no page view in the store or in `items`. If that
/// cannot be found out, they stay: an end shows nothing of a session that has not begun, and is at
/// no later time than when it was accepted.
pub(super) async fn drop_unknown(context: &WorkerContext, items: &mut Vec<Item>) {
    let mut wanted: Vec<Session> = items.iter().filter_map(unverified).collect();
    if wanted.is_empty() {
        return;
    }
    let in_batch: HashSet<(&str, &str)> = items
        .iter()
        .filter(|item| item.event.payload.kind() == EventKind::Pageview)
        .filter_map(|item| Some((&*item.event.project_id, item.event.payload.session_id()?)))
        .collect();
    wanted.retain(|(project, session)| !in_batch.contains(&(project, session)));
    wanted.sort_unstable();
    wanted.dedup();
    let mut unknown: HashSet<Session> = HashSet::new();
    for some in wanted.chunks(AT_ONCE) {
        match stored(context, some).await {
            Ok(stored) => unknown.extend(some.iter().filter(|key| !stored.contains(*key)).cloned()),
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
fn unverified(item: &Item) -> Option<Session> {
    match &item.event.payload {
        Payload::SessionEnd(end) if end.unverified => {
            Some((item.event.project_id.clone(), end.session_id.clone()))
        }
        _ => None,
    }
}

/// Those of the sessions that the store has.
async fn stored(
    context: &WorkerContext,
    sessions: &[Session],
) -> Result<HashSet<Session>, StoreError> {
    let text = context.store.dialect().text;
    let list = |part: fn(&Session) -> &String| {
        let mut parts: Vec<_> = sessions.iter().map(|session| text(part(session))).collect();
        parts.sort_unstable();
        parts.dedup();
        parts.join(", ")
    };
    let sql = format!(
        "SELECT DISTINCT project_id, session_id FROM tracked_session \
         WHERE project_id IN ({}) AND session_id IN ({})",
        list(|(project, _)| project),
        list(|(_, session)| session)
    );
    // The same session id may exist in several of the projects.
    let limits = QueryLimits { rows: AT_ONCE * AT_ONCE, time: TIMEOUT };
    let found = context.store.query(&sql, limits).await?;
    let session = |row: &Vec<serde_json::Value>| match row.as_slice() {
        [project, session] => Some((project.as_str()?.to_owned(), session.as_str()?.to_owned())),
        _ => None,
    };
    Ok(found.rows.iter().filter_map(session).collect())
}
