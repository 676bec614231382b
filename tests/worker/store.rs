//! The embedded store, and faults in front of it.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use bklit_adapters::sqlite::store::SqliteStore;
use bklit_pipeline::store::{
    Batch, Dialect, Inserted, QueryLimits, QueryResult, Store, StoreError,
};
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;
use serde_json::Value;

use super::queue::fails;

/// A store that fails as configured.
pub struct FaultyStore {
    inner: SqliteStore,
    _dir: tempfile::TempDir,
    /// The number of inserts that fail before anything is stored.
    pub inserts_to_fail: AtomicU32,
    /// The number of inserts that succeed, but report failure.
    pub answers_to_lose: AtomicU32,
    /// Sessions are kept apart, and completed by `settle`.
    pub settles: AtomicBool,
    /// So many of those calls fail.
    pub settles_to_fail: AtomicU32,
    /// Events whose sessions are not complete.
    unsettled: AtomicUsize,
    /// How many events each call has completed.
    pub settled: Mutex<Vec<usize>>,
    /// Batches with one of these events are refused.
    pub refused: Mutex<HashSet<String>>,
    /// The number of sweeps that fail.
    pub sweeps_to_fail: AtomicU32,
    /// Steps of sweeps that were requested.
    pub sweeps: AtomicU32,
    /// No session may become idle later.
    pub is_quiet: AtomicBool,
    /// Checks of whether it responds.
    pub pings: AtomicU32,
    /// Milliseconds an insert takes.
    pub slowness: AtomicU64,
    /// The batches that were sent: their ids and sizes.
    pub sent: Mutex<Vec<(String, usize)>>,
    /// For each of them, whether it was marked as a first attempt.
    pub first_attempts: Mutex<Vec<bool>>,
}

/// Why a poisonous event is refused.
pub const POISON: &str = "it is poisonous";

impl FaultyStore {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            inner: SqliteStore::open(&dir.path().join("store.db")).unwrap(),
            _dir: dir,
            inserts_to_fail: AtomicU32::new(0),
            answers_to_lose: AtomicU32::new(0),
            settles: AtomicBool::new(false),
            settles_to_fail: AtomicU32::new(0),
            unsettled: AtomicUsize::new(0),
            settled: Mutex::default(),
            refused: Mutex::default(),
            sweeps_to_fail: AtomicU32::new(0),
            sweeps: AtomicU32::new(0),
            is_quiet: AtomicBool::new(false),
            pings: AtomicU32::new(0),
            slowness: AtomicU64::new(0),
            sent: Mutex::default(),
            first_attempts: Mutex::default(),
        }
    }

    pub async fn count(&self, table: &str) -> i64 {
        self.rows(&format!("SELECT count() FROM {table}")).await[0][0].as_i64().unwrap()
    }

    /// Up to a hundred rows.
    pub async fn rows(&self, sql: &str) -> Vec<Vec<Value>> {
        let limits = QueryLimits::new(100, Duration::from_secs(30));
        self.inner.query(sql, limits).await.unwrap().rows
    }

    pub fn batches(&self) -> Vec<(String, usize)> {
        self.sent.lock().unwrap().clone()
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn insert(&self, batch: &Batch) -> Result<Inserted, StoreError> {
        self.sent.lock().unwrap().push((batch.id.clone(), batch.events.len()));
        self.first_attempts.lock().unwrap().push(batch.is_first_attempt);
        tokio::time::sleep(Duration::from_millis(self.slowness.load(SeqCst))).await;
        if fails(&self.inserts_to_fail) {
            return Err(StoreError::Unavailable("the store is away".to_owned()));
        }
        let poisonous = {
            let refused = self.refused.lock().unwrap();
            batch.events.iter().any(|event| refused.contains(&event.id))
        };
        if poisonous {
            return Err(StoreError::Refused(POISON.to_owned()));
        }
        let inserted = self.inner.insert(batch).await?;
        if fails(&self.answers_to_lose) {
            return Err(StoreError::Unavailable("the answer was lost".to_owned()));
        }
        if self.settles.load(SeqCst) {
            self.unsettled.fetch_add(batch.events.len(), SeqCst);
        }
        Ok(inserted)
    }

    async fn settle(&self) -> Result<(), StoreError> {
        if fails(&self.settles_to_fail) {
            return Err(StoreError::Unavailable("the sessions cannot be stored".to_owned()));
        }
        let settled = self.unsettled.swap(0, SeqCst);
        if settled > 0 {
            self.settled.lock().unwrap().push(settled);
        }
        Ok(())
    }

    fn unsettled(&self) -> usize {
        self.unsettled.load(SeqCst)
    }

    async fn first_views(
        &self,
        sessions: &[SessionKey],
    ) -> Result<HashMap<SessionKey, String>, StoreError> {
        self.inner.first_views(sessions).await
    }

    async fn end_idle_sessions(
        &self,
        since: UtcMillis,
        most: usize,
    ) -> Result<Vec<SessionKey>, StoreError> {
        self.sweeps.fetch_add(1, SeqCst);
        if fails(&self.sweeps_to_fail) {
            return Err(StoreError::Unavailable("no time for that".to_owned()));
        }
        self.inner.end_idle_sessions(since, most).await
    }

    async fn has_sessions_since(&self, _: UtcMillis) -> Result<bool, StoreError> {
        Ok(!self.is_quiet.load(SeqCst))
    }

    async fn query(&self, sql: &str, limits: QueryLimits) -> Result<QueryResult, StoreError> {
        self.inner.query(sql, limits).await
    }

    fn dialect(&self) -> &'static Dialect {
        self.inner.dialect()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.pings.fetch_add(1, SeqCst);
        self.inner.ping().await
    }
}
