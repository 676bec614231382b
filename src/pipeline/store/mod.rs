//! The port `Store`: stores and queries events, in the tables of Bklit's ClickHouse.
//!
//! - `baseline`: the port for the rows that dual-write verification compares with
//! - `live_view`: queries the current visitors
//! - `rows`: events as rows
//! - `schema`: the tables
//! - `session`: a session's state, folded from its events

pub mod baseline;
pub mod live_view;
pub mod rows;
pub mod schema;
pub mod session;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use bklit_wire::event::QueuedEvent;
use bklit_wire::session::SessionKey;
use bklit_wire::sql::Engine;
pub use bklit_wire::sql::QueryResult;
use bklit_wire::time::UtcMillis;

/// Events that are stored together. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The queue's id of the batch: delivered again, it has the same id and the same events.
    pub id: String,
    /// Its events, oldest first.
    pub events: Arc<Vec<QueuedEvent>>,
    /// Whether this is certainly the first attempt to store it. Only saves checks.
    pub is_first_attempt: bool,
}

/// Identifies events, in order, by project and id. Stores keep it with a batch's id, because a
/// queue that was set up anew may use a batch id again for other events. Must stay the same across
/// versions and platforms: it is stored.
pub fn digest<'a>(events: impl IntoIterator<Item = &'a QueuedEvent>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for event in events {
        for part in [&event.project_id, &event.id] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    hash.finalize().into()
}

/// What a batch changed in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inserted {
    /// Rows added to `page_view_event` and `tracked_event`. Events that were stored before are
    /// not counted.
    pub rows: u64,
    /// Positions in the batch of events whose id was stored before. Empty if the batch as a whole
    /// was.
    pub known: Vec<usize>,
    /// What an operator should know although the events are stored: for example that a materialized
    /// view lacks them.
    pub notes: Vec<String>,
}

/// What [`Store::write_sessions`] did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WrittenSessions {
    /// Sessions that have ended, now or before, and when: events that arrived since do not continue
    /// them.
    pub closed: Vec<(SessionKey, UtcMillis)>,
    /// Whether the rows of other sessions are due in a moment.
    pub more: bool,
    /// What an operator should know although the rows are written; see [`Inserted::notes`].
    pub notes: Vec<String>,
}

/// The size of a result above which the rest is cut off, unless a query has another bound.
pub const RESULT_BYTES: u64 = 64 << 20;

/// Bounds of a query.
#[derive(Clone, Copy, Debug)]
pub struct QueryLimits {
    /// The most rows returned.
    pub rows: usize,
    /// The longest it may run.
    pub time: Duration,
    /// The size of the result above which the rest is cut off, in bytes.
    pub bytes: u64,
}

impl QueryLimits {
    /// Bounds in rows and time, with a size of [`RESULT_BYTES`].
    pub const fn new(rows: usize, time: Duration) -> Self {
        Self { rows, time, bytes: RESULT_BYTES }
    }
}

/// The parts of SQL that differ between stores.
pub struct Dialect {
    /// The store.
    pub engine: Engine,
    /// A query for the columns of all tables and views: table, column and type, in order.
    pub columns: &'static str,
    /// A text as a literal.
    pub text: fn(&str) -> String,
    /// A time, in seconds since the epoch, as a literal.
    pub moment: fn(i64) -> String,
    /// An expression for a time column as seconds since the epoch.
    pub seconds: fn(&str) -> String,
}

/// Why an operation of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A temporary failure: network, timeout, full disk, busy server.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// A permanent failure with this input.
    #[error("the store refused: {0}")]
    Refused(String),
}

/// Stores events. All methods are safe to call concurrently.
#[async_trait]
pub trait Store: Send + Sync {
    /// Stores a batch atomically. A batch whose id was stored before, and an event whose id the
    /// project has stored before, change nothing. The rows of its sessions may follow with
    /// [`Store::write_sessions`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: retry the same batch. [`StoreError::Refused`]: some event in it
    /// can never be stored.
    async fn insert(&self, batch: &Batch) -> Result<Inserted, StoreError>;

    /// Completes the batches that were stored before: what [`Store::insert`] left out, so that it is
    /// written once for several of them. Only then may they be acknowledged; a batch that is stored
    /// again is complete after the next call.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: nothing is lost, call it again.
    async fn settle(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// How many sessions [`Store::settle`] would complete.
    fn unsettled(&self) -> usize {
        0
    }

    /// Writes the rows of sessions that have changed, where [`Store::insert`] does not. Called once a
    /// second; does nothing if there are none, or if large batches are about to change them again.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: the rows are still due.
    async fn write_sessions(&self) -> Result<WrittenSessions, StoreError> {
        Ok(WrittenSessions::default())
    }

    /// The keys of the first page views of these sessions (see [`session::key_of`]); nothing for a
    /// session without a page view.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn first_views(
        &self,
        sessions: &[SessionKey],
    ) -> Result<HashMap<SessionKey, String>, StoreError>;

    /// Ends the sessions without an event since `since`, as of their last event. Ends and returns at
    /// most `most` of them; there may be more.
    ///
    /// Reads only what may have ended since the last call, not all sessions. Called again with the
    /// same `since`, it continues where it stopped.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn end_idle_sessions(
        &self,
        since: UtcMillis,
        most: usize,
    ) -> Result<Vec<SessionKey>, StoreError>;

    /// Whether sessions had an event since then, so that they may become idle later. Called after
    /// [`Store::end_idle_sessions`] has ended all sessions idle since then; if there are none, it
    /// is not called again before this process has stored another batch.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn has_sessions_since(&self, _since: UtcMillis) -> Result<bool, StoreError> {
        Ok(true)
    }

    /// Runs one read-only SQL statement.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if it is not a query or has an error, [`StoreError::Unavailable`] also
    /// when it takes too long.
    async fn query(&self, sql: &str, limits: QueryLimits) -> Result<QueryResult, StoreError>;

    /// The SQL dialect of [`Store::query`].
    fn dialect(&self) -> &'static Dialect;

    /// Checks that the store responds. Must not wake a server that sleeps while it is idle.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn ping(&self) -> Result<(), StoreError>;
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    #[test]
    fn the_digest_is_the_one_that_stores_already_hold() {
        let event = |project: &str, id: &str| {
            let json = format!(
                r#"{{"id":"{id}","type":"session_end","payload":{{"sessionId":"s"}},"queuedAt":0,"projectId":"{project}"}}"#
            );
            QueuedEvent::from_json(&json).unwrap()
        };
        let events = [event("p", "evt_1"), event("p", "evt_2")];
        let stored = "565a7adddca7289e50d369213b44f16dbd78af3edf70b696803f1ee1285faeea";
        assert_eq!(HEXLOWER.encode(&digest(&events)), stored);
        assert_ne!(digest(&[event("pe", "vt_1")]), digest(&[event("p", "evt_1")]));
    }
}
