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

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use bklit_wire::event::QueuedEvent;
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

/// Events that are stored together. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The queue's id of the batch: delivered again, it has the same id and the same events.
    pub id: String,
    /// Its events, oldest first.
    pub events: Arc<Vec<QueuedEvent>>,
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
    /// Sessions that this batch opened.
    pub new_sessions: HashSet<SessionKey>,
    /// Sessions that this batch ended.
    pub ended_sessions: HashSet<SessionKey>,
    /// Sessions of this batch that have ended, with this batch or before, and when. An event that
    /// arrives late does not continue such a session.
    pub closed_sessions: HashMap<SessionKey, UtcMillis>,
    /// What an operator should know although the events are stored: for example that a materialized
    /// view lacks them.
    pub notes: Vec<String>,
}

impl Inserted {
    /// Adds what a later batch changed.
    pub fn add(&mut self, batch: &Batch, later: Self) {
        self.rows += later.rows;
        self.new_sessions.extend(later.new_sessions);
        self.ended_sessions.extend(later.ended_sessions);
        if !self.closed_sessions.is_empty() {
            for event in batch.events.iter() {
                if let Some(key) = SessionKey::of(event) {
                    self.closed_sessions.remove(&key);
                }
            }
        }
        self.closed_sessions.extend(later.closed_sessions);
        self.notes.extend(later.notes);
    }
}

/// A result of [`Store::query`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueryResult {
    /// Column names.
    pub columns: Vec<String>,
    /// Rows, each as wide as `columns`; scalars only.
    pub rows: Vec<Vec<serde_json::Value>>,
    /// Whether there were more rows than the limit.
    pub truncated: bool,
}

/// Bounds of a query.
#[derive(Clone, Copy, Debug)]
pub struct QueryLimits {
    /// The most rows returned.
    pub rows: usize,
    /// The longest it may run.
    pub time: Duration,
}

/// The parts of SQL that differ between stores.
pub struct Dialect {
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
    /// Stores a batch atomically, and updates its sessions. A batch whose id was stored before, and
    /// an event whose id the project has stored before, change nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: retry the same batch. [`StoreError::Refused`]: some event in it
    /// can never be stored.
    async fn insert(&self, batch: &Batch) -> Result<Inserted, StoreError>;

    /// Writes the rows of sessions that earlier calls had to postpone. Called about once a second;
    /// does nothing if there are none. Returns whether some have to wait a moment longer.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: the rows are still due.
    async fn write_postponed(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

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

    /// Runs one read-only SQL statement.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if it is not a query or has an error, [`StoreError::Unavailable`] also
    /// when it takes too long.
    async fn query(&self, sql: &str, limits: QueryLimits) -> Result<QueryResult, StoreError>;

    /// The SQL dialect of [`Store::query`].
    fn dialect(&self) -> &'static Dialect;

    /// Checks that the store can be used now.
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
