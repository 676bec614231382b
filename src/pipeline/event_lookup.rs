//! Finds out where one event is: the content of `GET /api/event` and of the console's trace. Queue,
//! store and debug history are searched concurrently, each within bounds on time and number of items;
//! what was not searched is reported.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use super::queue::{Order, Queue, QueueError};
use super::store::{Dialect, QueryLimits, Store};
use bklit_net::timeout::no_response;
use bklit_wire::debug_bus::{DebugBus, DebugMessage};
use bklit_wire::debug_log::DebugLog;
use bklit_wire::event_lookup::{EventTrace, QueuedPlace, StoredEvent};
use bklit_wire::numbers::grouped;
use bklit_wire::queue::MAX_PAGE;
use bklit_wire::queue::{EventView, FailedView, MOST_BATCHES};
use bklit_wire::time::UtcMillis;

/// The most waiting, failed and in-flight events searched, each.
const MOST_ITEMS: usize = 10_000;
/// The most lines returned, the newest ones.
pub(super) const MOST_LINES: usize = 500;
/// How long the queue is searched.
pub(super) const QUEUE_TIME: Duration = Duration::from_secs(3);
/// How long the store's query may run.
pub(super) const STORE_TIME: Duration = Duration::from_secs(3);
/// How long reading the debug history may take.
const HISTORY_TIME: Duration = Duration::from_secs(3);
/// The field of a line's data with the batch's id.
const BATCH: &str = "batchId";

/// Where to search.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The queue.
    pub queue: &'a dyn Queue,
    /// The store, if this process has one.
    pub store: Option<&'a dyn Store>,
    /// The debug history.
    pub bus: &'a dyn DebugBus,
}

/// Searches for the event with this id.
pub async fn find(sources: Sources<'_>, id: &str) -> EventTrace {
    let (kept, (queued, mut gaps), stored) = tokio::join!(
        recalled(sources.bus),
        search_queue(sources.queue, id),
        search_store(sources.store, id)
    );
    let lines = lines_of(&kept, id);
    let stored = stored.unwrap_or_else(|reason| {
        gaps.push(reason);
        Vec::new()
    });
    EventTrace { stored, queued, lines, gaps }
}

/// All lines kept, as many as arrive in time.
pub(super) async fn recalled(bus: &dyn DebugBus) -> Vec<Arc<DebugLog>> {
    let (mut stream, mut lines) = (bus.recall(usize::MAX), Vec::new());
    // The bus bounds how many it keeps.
    let _ = timeout(HISTORY_TIME, async {
        while let Some(message) = stream.next().await {
            if let DebugMessage::Log(line) = message {
                lines.push(line);
            }
        }
    })
    .await;
    lines
}

/// The event's own lines, and those of its batches that belong to no single event.
fn lines_of(kept: &[Arc<DebugLog>], id: &str) -> Vec<DebugLog> {
    let batch = |line: &DebugLog| line.data.get(BATCH).and_then(Value::as_str).map(str::to_owned);
    let is_own = |line: &DebugLog| line.event_id.as_deref() == Some(id);
    let batches: HashSet<_> =
        kept.iter().filter(|line| is_own(line)).filter_map(|line| batch(line)).collect();
    let is_batchs = |line: &DebugLog| {
        line.event_id.is_none() && batch(line).is_some_and(|batch| batches.contains(&batch))
    };
    let newest = kept.iter().rev().filter(|line| is_own(line) || is_batchs(line)).take(MOST_LINES);
    let mut lines: Vec<_> = newest.map(|line| DebugLog::clone(line)).collect();
    lines.reverse();
    lines
}

async fn search_queue(queue: &dyn Queue, id: &str) -> (Vec<QueuedPlace>, Vec<String>) {
    let (mut found, mut gaps) = (Vec::new(), Vec::new());
    // Against the direction in which events move, so that an event that moves in the meantime is
    // not missed.
    let search = async {
        in_flight(queue, id, &mut found, &mut gaps).await?;
        waiting(queue, id, &mut found, &mut gaps).await?;
        failed(queue, id, &mut found, &mut gaps).await
    };
    let outcome = timeout(QUEUE_TIME, search).await;
    match outcome {
        Ok(Ok(())) => {}
        // Remote readers must not learn the addresses of servers or the reasons of failures.
        Ok(Err(_)) => gaps.push("the queue is unavailable".to_owned()),
        Err(_) => gaps.push(format!("searching the queue took longer than {QUEUE_TIME:?}")),
    }
    match queue.spooled() {
        0 => {}
        spooled => {
            gaps.push(format!("{} events in the spool were not searched", grouped(spooled)));
        }
    }
    (found, gaps)
}

/// Parses a queued body if it is the event with this id.
fn read(body: &str, id: &str) -> Option<EventView> {
    // Most bodies are other events and need not be parsed. JSON may escape some characters of an id.
    let is_plain = id.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\/".contains(&byte));
    if is_plain && !body.contains(id) {
        return None;
    }
    Some(EventView::of(body)).filter(|event| event.event_id.as_deref() == Some(id))
}

async fn waiting(
    queue: &dyn Queue,
    id: &str,
    found: &mut Vec<QueuedPlace>,
    gaps: &mut Vec<String>,
) -> Result<(), QueueError> {
    let (mut after, mut searched) = (None, 0);
    loop {
        let page = queue.waiting(Order::NewestFirst, after.as_deref(), MAX_PAGE).await?;
        searched += page.items.len();
        if let Some(event) = page.items.iter().find_map(|item| read(&item.body, id)) {
            let EventView { queued_at: since, project_id, .. } = event;
            found.push(QueuedPlace::Waiting { since, project_id });
            return Ok(());
        }
        after = page.next;
        if ends(after.as_deref(), searched, "waiting", gaps) {
            return Ok(());
        }
    }
}

async fn in_flight(
    queue: &dyn Queue,
    id: &str,
    found: &mut Vec<QueuedPlace>,
    gaps: &mut Vec<String>,
) -> Result<(), QueueError> {
    let mut searched = 0;
    for batch in queue.batches(MOST_BATCHES).await? {
        if searched >= MOST_ITEMS {
            gaps.push(format!("only {} events in flight were searched", grouped(searched as u64)));
            break;
        }
        // It may have been acknowledged between the two calls.
        let items = queue.batch_items(&batch.id, MOST_ITEMS).await?.unwrap_or_default();
        searched += items.len();
        if items.iter().any(|body| read(body, id).is_some()) {
            let lapsed = batch.lease_left_ms <= 0;
            let (owner, since) = (batch.owner, batch.claimed_at);
            found.push(QueuedPlace::InFlight { batch: batch.id, owner, since, lapsed });
            break;
        }
    }
    Ok(())
}

async fn failed(
    queue: &dyn Queue,
    id: &str,
    found: &mut Vec<QueuedPlace>,
    gaps: &mut Vec<String>,
) -> Result<(), QueueError> {
    let (mut after, mut searched) = (None, 0);
    loop {
        let page = queue.failed(after.as_deref(), MAX_PAGE).await?;
        searched += page.items.len();
        let matches = |item: &FailedView| item.event.event_id.as_deref() == Some(id);
        let mut items = page.items.into_iter().map(FailedView::from);
        if let Some(FailedView { id, reason, failed_at: since, .. }) = items.find(matches) {
            found.push(QueuedPlace::Failed { id, reason, since });
            return Ok(());
        }
        after = page.next;
        if ends(after.as_deref(), searched, "failed", gaps) {
            return Ok(());
        }
    }
}

/// Whether to stop before the next page; records the gap if there is one.
pub(super) fn ends(
    next: Option<&str>,
    searched: usize,
    what: &str,
    gaps: &mut Vec<String>,
) -> bool {
    let is_full = next.is_some() && searched >= MOST_ITEMS;
    if is_full {
        let searched = grouped(searched as u64);
        gaps.push(format!("only the newest {searched} {what} events were searched"));
    }
    is_full || next.is_none()
}

async fn search_store(store: Option<&dyn Store>, id: &str) -> Result<Vec<StoredEvent>, String> {
    let store = store.ok_or(super::store::live_view::NO_STORE)?;
    // More than one, because several projects may use the same id.
    let sql = rows_of(store.dialect(), id);
    let query = store.query(&sql, search_limits(20));
    let result = timeout(STORE_TIME + Duration::from_millis(500), query).await;
    let late = |_| format!("the store: {}", no_response(STORE_TIME));
    let found = result.map_err(late)?.map_err(|_| "the store is unavailable".to_owned())?;
    let rows = found.rows.iter().filter_map(|row| {
        let [table, project, at, accepted] = row.as_slice() else { return None };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (table, project_id) = (text(table), text(project));
        Some(StoredEvent { table, project_id, at: time(at), accepted_at: time(accepted) })
    });
    Ok(rows.collect())
}

/// The limits of a search for this many rows.
pub(super) fn search_limits(rows: usize) -> QueryLimits {
    QueryLimits::new(rows, STORE_TIME)
}

/// A moment that a store returned as seconds.
pub(super) fn time(value: &Value) -> Option<UtcMillis> {
    let seconds = value.as_i64().or_else(|| value.as_str()?.parse().ok())?;
    Some(UtcMillis::from_epoch_millis(seconds.saturating_mul(1000)))
}

fn rows_of(dialect: &Dialect, id: &str) -> String {
    let id = (dialect.text)(id);
    let happened = (dialect.seconds)("timestamp");
    let accepted = (dialect.seconds)("created_at");
    let part = |table: &str| {
        format!(
            "SELECT '{table}' AS kept_in, project_id AS project, {happened} AS happened, \
             {accepted} AS accepted FROM {table} WHERE id = {id}"
        )
    };
    format!("{} UNION ALL {}", part("page_view_event"), part("tracked_event"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use bklit_wire::debug_log::{Level, Stage};

    #[test]
    fn an_events_lines_are_its_own_and_its_batchs() {
        let line = |message: &'static str, event: Option<&str>, batch: Option<&str>| {
            let mut line = DebugLog::new(Stage::Worker, Level::Info, message);
            line.event_id = event.map(str::to_owned);
            line.data.extend(batch.map(|id| (BATCH.to_owned(), json!(id))));
            Arc::new(line)
        };
        let kept = [
            line("accepted", Some("a"), None),
            line("of another", Some("b"), Some("1")),
            line("in a batch", Some("a"), Some("1")),
            line("batch stored", None, Some("1")),
            line("another batch", None, Some("2")),
        ];
        let lines = lines_of(&kept, "a");
        let found: Vec<_> = lines.iter().map(|line| line.message.as_ref()).collect();
        assert_eq!(found, ["accepted", "in a batch", "batch stored"]);
        let many: Vec<_> = (0..2_000).map(|_| line("again", Some("a"), None)).collect();
        assert_eq!(lines_of(&many, "a").len(), MOST_LINES);
    }

    #[test]
    fn an_id_in_a_body_is_compared_as_a_whole() {
        let body = r#"{"id":"evt_12","projectId":"evt_1"}"#;
        assert!(read(body, "evt_12").is_some() && read(body, "evt_1").is_none());
        assert!(read(r#"{"id":"\u00fc\/1"}"#, "ü/1").is_some());
        assert!(read("garbage evt_1", "evt_1").is_none());
    }
}
