//! Finds the events of one session: the content of `GET /api/session` and of the console's view of a
//! session. Store, failed queue and debug history are searched concurrently, each within bounds on
//! time and number of items; what was not searched is reported.

use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use super::event_lookup::{
    MOST_LINES, QUEUE_TIME, STORE_TIME, Sources, ends, recalled, search_limits, time,
};
use super::queue::{Queue, QueueError};
use super::store::live_view::NO_STORE;
use super::store::{Dialect, Store};
use bklit_wire::debug_log::DebugLog;
use bklit_wire::json::Fields;
use bklit_wire::lenient::name;
use bklit_wire::queue::{FailedView, MAX_PAGE};
use bklit_wire::session_lookup::{MOST_EVENTS, SessionEvent, SessionTrace};

/// The field of a line's data, and of an event, with the session's id.
const SESSION: &str = "sessionId";

/// The session to find.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// Its id.
    pub session: &'a str,
    /// Its project; sessions of several projects may have the same id.
    pub project: Option<&'a str>,
}

impl Wanted<'_> {
    fn is_of(&self, project: Option<&str>) -> bool {
        self.project.is_none_or(|wanted| project == Some(wanted))
    }
}

/// Searches for the events of a session.
pub async fn find(sources: Sources<'_>, wanted: Wanted<'_>) -> SessionTrace {
    let (kept, failed, stored) = tokio::join!(
        recalled(sources.bus),
        search_failed(sources.queue, wanted),
        search_store(sources.store, wanted)
    );
    let ((mut events, mut gaps), stored) = (failed, stored);
    match stored {
        Ok((stored, is_cut)) => {
            events.extend(stored);
            if is_cut {
                gaps.push(format!("only the newest {MOST_EVENTS} stored events are shown"));
            }
        }
        Err(reason) => gaps.push(reason),
    }
    events.sort_by_key(|event| event.accepted_at.or(event.at));
    let belongs = |line: &DebugLog| {
        line.data.get(SESSION).and_then(Value::as_str) == Some(wanted.session)
            && wanted.is_of(line.project_id.as_deref())
    };
    let newest = kept.iter().rev().filter(|line| belongs(line)).take(MOST_LINES);
    let mut lines: Vec<_> = newest.map(|line| DebugLog::clone(line)).collect();
    lines.reverse();
    SessionTrace { events, lines, gaps }
}

async fn search_failed(queue: &dyn Queue, wanted: Wanted<'_>) -> (Vec<SessionEvent>, Vec<String>) {
    let (mut found, mut gaps) = (Vec::new(), Vec::new());
    let outcome = timeout(QUEUE_TIME, failed(queue, wanted, &mut found, &mut gaps)).await;
    match outcome {
        Ok(Ok(())) => {}
        // Remote readers must not learn the addresses of servers or the reasons of failures.
        Ok(Err(_)) => gaps.push("the queue is unavailable".to_owned()),
        Err(_) => gaps.push(format!("searching the queue took longer than {QUEUE_TIME:?}")),
    }
    (found, gaps)
}

async fn failed(
    queue: &dyn Queue,
    wanted: Wanted<'_>,
    found: &mut Vec<SessionEvent>,
    gaps: &mut Vec<String>,
) -> Result<(), QueueError> {
    let (mut after, mut searched) = (None, 0);
    loop {
        let page = queue.failed(after.as_deref(), MAX_PAGE).await?;
        searched += page.items.len();
        let items = page.items.into_iter().map(FailedView::from);
        let room = MOST_EVENTS - found.len();
        found.extend(items.filter_map(|item| of_session(item, wanted)).take(room));
        after = page.next;
        if found.len() == MOST_EVENTS || ends(after.as_deref(), searched, "failed", gaps) {
            return Ok(());
        }
    }
}

/// A failed item as an event of the session, if it is one.
fn of_session(item: FailedView, wanted: Wanted<'_>) -> Option<SessionEvent> {
    // Most items are of other sessions and need not be parsed.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if wanted.session.bytes().all(is_plain) && !item.body.contains(wanted.session) {
        return None;
    }
    let fields = Fields::of(&item.body)?;
    let payload = Fields::of(fields.get("payload")?.get())?;
    let text = |field: &str| payload.get(field).and_then(name);
    if text(SESSION).as_deref() != Some(wanted.session)
        || !wanted.is_of(item.event.project_id.as_deref())
    {
        return None;
    }
    let what = text("url").or_else(|| text("eventType")).unwrap_or_default();
    Some(SessionEvent {
        event_id: item.event.event_id.unwrap_or_else(|| format!("item {}", item.id)),
        project_id: item.event.project_id.unwrap_or_default(),
        r#type: item.event.r#type.map_or_else(String::new, |kind| kind.as_str().to_owned()),
        what,
        at: item.event.queued_at,
        accepted_at: item.event.queued_at,
        failed: Some(item.reason),
    })
}

/// Its stored events, and whether there are more.
async fn search_store(
    store: Option<&dyn Store>,
    wanted: Wanted<'_>,
) -> Result<(Vec<SessionEvent>, bool), String> {
    let store = store.ok_or(NO_STORE)?;
    let sql = rows_of(store.dialect(), wanted);
    let query = store.query(&sql, search_limits(MOST_EVENTS + 1));
    let found = timeout(STORE_TIME + Duration::from_millis(500), query).await;
    let late = |_| format!("the store: {}", bklit_net::timeout::no_response(STORE_TIME));
    let found = found.map_err(late)?.map_err(|_| "the store is unavailable".to_owned())?;
    let rows = found.rows.iter().take(MOST_EVENTS).filter_map(|row| {
        let [id, project, kind, what, at, accepted] = row.as_slice() else { return None };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Some(SessionEvent {
            event_id: text(id),
            project_id: text(project),
            r#type: text(kind),
            what: text(what),
            at: time(at),
            accepted_at: time(accepted),
            failed: None,
        })
    });
    Ok((rows.collect(), found.rows.len() > MOST_EVENTS))
}

fn rows_of(dialect: &Dialect, wanted: Wanted<'_>) -> String {
    let session = (dialect.text)(wanted.session);
    let project = wanted.project.map_or_else(String::new, |project| {
        format!(" AND project_id = {}", (dialect.text)(project))
    });
    let happened = (dialect.seconds)("timestamp");
    let accepted = (dialect.seconds)("created_at");
    let part = |table: &str, kind: &str, what: &str| {
        format!(
            "SELECT id, project_id AS project, '{kind}' AS kind, {what} AS what, \
             {happened} AS happened, {accepted} AS accepted FROM {table} \
             WHERE session_id = {session}{project}"
        )
    };
    format!(
        "SELECT id, project, kind, what, happened, accepted FROM ({} UNION ALL {}) AS events \
         ORDER BY accepted DESC, happened DESC, id DESC LIMIT {}",
        part("page_view_event", "pageview", "url"),
        part("tracked_event", "event", "event_definition_id"),
        MOST_EVENTS + 1
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use bklit_wire::queue::EventView;

    #[test]
    fn a_failed_item_belongs_to_the_session_in_its_payload() {
        let item = |body: &str| FailedView {
            id: "1".into(),
            event: EventView::of(body),
            failed_at: None,
            reason: "too long".into(),
            body: body.into(),
        };
        let body = r#"{"id":"evt_1","type":"pageview","projectId":"p","payload":{"url":"u","sessionId":"s"}}"#;
        let wanted = Wanted { session: "s", project: None };
        let found = of_session(item(body), wanted).unwrap();
        assert_eq!((found.event_id.as_str(), found.what.as_str()), ("evt_1", "u"));
        assert_eq!(found.failed.as_deref(), Some("too long"));
        assert!(of_session(item(body), Wanted { project: Some("p"), ..wanted }).is_some());
        assert!(of_session(item(body), Wanted { project: Some("q"), ..wanted }).is_none());
        assert!(of_session(item(body), Wanted { session: "evt_1", ..wanted }).is_none());
        assert!(of_session(item("s"), wanted).is_none());
        let escaped = body.replace("\"s\"", "\"\\u00fc\"");
        assert!(of_session(item(&escaped), Wanted { session: "ü", ..wanted }).is_some());
    }
}
