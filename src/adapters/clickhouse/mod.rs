//! The production store: Bklit's tables in ClickHouse.
//!
//! Each accepted event is stored exactly once, no matter how often it is sent or what crashes in
//! between.
//!
//! | file | contents |
//! | --- | --- |
//! | `connection.rs` | HTTP connection, settings and timeouts of every statement |
//! | `settings.rs` | the settings of statements, and what to do where they are not allowed |
//! | `events.rs` | inserts events, each exactly once |
//! | `blocks.rs` | inserts rows as blocks, despite failing materialized views and too many partitions |
//! | `stored_ids.rs` | which events a table already has |
//! | `session_writes.rs` | writes states and versions |
//! | `gathered.rs` | what batches add to sessions, until it is inserted |
//! | `sessions.rs` | derives sessions from events: their states, then their versions |
//! | `session_plan.rs` | what to write for a session |
//! | `session_state.rs` | the states of sessions |
//! | `session_versions.rs` | the versions in `tracked_session`, and what other programs wrote there |
//! | `foreign_starts.rs` | whether other programs start sessions |
//! | `pending.rs` | sessions whose versions are yet to be written |
//! | `recovery.rs` | completes the sessions of processes that have ended |
//! | `idle_sessions.rs` | ends idle sessions without scanning all sessions |
//! | `key_locks.rs` | locks per event and session within this process |
//! | `query.rs` | read-only queries with limits |
//! | `baseline.rs` | the baseline tables |
//! | `migrate.rs` | creates and upgrades tables |
//! | `cluster.rs` | the same on all servers of a cluster |
//! | `check/` | what `doctor` reports about the server |
//! | `table_schema.rs` | the actual columns of the server's tables |
//! | `column_type.rs` | the types of these columns, and values in them |
//! | `native.rs` | rows of these tables in a columnar format |
//! | `encode.rs` | rows of this program's own tables in a binary format |
//! | `sql.rs` | literals and identifiers in SQL |
//! | `errors.rs` | which errors are temporary |

mod baseline;
mod blocks;
mod check;
mod cluster;
mod column_type;
mod connection;
mod encode;
mod errors;
mod events;
mod foreign_starts;
mod gathered;
mod idle_sessions;
mod key_locks;
mod migrate;
mod native;
mod pending;
mod query;
mod recovery;
mod session_plan;
mod session_state;
mod session_versions;
mod session_writes;
mod sessions;
mod settings;
mod sql;
mod stored_ids;
mod table_schema;

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use self::blocks::{InDoubt, Notes};
use self::connection::Connection;
use self::foreign_starts::ForeignStarts;
use self::gathered::Gathered;
use self::idle_sessions::Sweeps;
use self::key_locks::KeyLocks;
use self::pending::Pending;
use self::recovery::Writer;
use self::table_schema::TableSchemas;
use bklit_pipeline::store::{
    Batch, Dialect, Inserted, QueryLimits, QueryResult, Store, StoreError, WrittenSessions,
};
use bklit_wire::event::{EventKind, QueuedEvent};
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

/// Server address, credentials and options of a [`ClickHouseStore`].
#[derive(Clone)]
pub struct ClickHouseOptions {
    /// The HTTP interface: `http://localhost:8123` or `https://…`. May contain user and password;
    /// prefer the two fields below.
    pub url: String,
    /// The user; `None` for the server's default user.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<String>,
    /// Root certificates (PEM) to verify the server with; `None` for the well-known ones.
    pub root_certificates: Option<Vec<u8>>,
    /// The database with the tables.
    pub database: String,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Query the stored event ids before inserts, and after those that may be repetitions. Without it, inserts are slightly
    /// faster, but only deduplication tokens prevent duplicates. Tokens do not cover an event that
    /// arrives again in a different batch, or tables without a deduplication window.
    pub check_ids: bool,
    /// Create the baseline tables as well.
    pub baseline: bool,
}

/// Time limits of calls to the server.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// To establish a connection.
    pub connect: Duration,
    /// For the response to one statement.
    pub request: Duration,
    /// For all statements that store one batch.
    pub batch: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            request: Duration::from_secs(30),
            batch: Duration::from_secs(90),
        }
    }
}

impl Default for ClickHouseOptions {
    fn default() -> Self {
        Self {
            url: "http://localhost:8123".to_owned(),
            user: None,
            password: None,
            root_certificates: None,
            database: "analytics".to_owned(),
            timeouts: Timeouts::default(),
            check_ids: true,
            baseline: false,
        }
    }
}

impl fmt::Debug for ClickHouseOptions {
    /// Omits the URL, because it may contain the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClickHouseOptions")
            .field("user", &self.user)
            .field("database", &self.database)
            .field("timeouts", &self.timeouts)
            .field("check_ids", &self.check_ids)
            .finish_non_exhaustive()
    }
}

/// [`Store`] in ClickHouse.
pub struct ClickHouseStore {
    connection: Connection,
    schemas: TableSchemas,
    key_locks: KeyLocks,
    sweeps: Sweeps,
    gathered: Gathered,
    pending: Pending,
    writer: Writer,
    foreign_starts: ForeignStarts,
    notes: Notes,
    in_doubt: InDoubt,
    check_ids: bool,
    baseline: bool,
}

impl ClickHouseStore {
    /// Creates the store without connecting; [`ClickHouseStore::migrate`] creates the tables.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the URL or the certificates are invalid.
    pub fn new(options: ClickHouseOptions) -> Result<Self, StoreError> {
        let ClickHouseOptions { check_ids, baseline, .. } = options;
        Ok(Self {
            connection: Connection::new(options)?,
            schemas: TableSchemas::default(),
            key_locks: KeyLocks::default(),
            sweeps: Sweeps::default(),
            gathered: Gathered::default(),
            pending: Pending::default(),
            writer: Writer::default(),
            foreign_starts: ForeignStarts::default(),
            notes: Notes::default(),
            in_doubt: InDoubt::default(),
            check_ids,
            baseline,
        })
    }

    /// Bounds all statements for a batch.
    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let limit = self.connection.timeouts.batch;
        tokio::time::timeout(limit, Box::pin(work)).await.unwrap_or_else(|_| {
            let reason = format!("ClickHouse took longer than {limit:?} for a batch");
            Err(StoreError::Unavailable(reason))
        })
    }
}

#[async_trait]
impl Store for ClickHouseStore {
    async fn insert(&self, batch: &Batch) -> Result<Inserted, StoreError> {
        let known = self.in_time(events::store(self, batch)).await?;
        sessions::gather(self, batch);
        let has_row = |event: &&QueuedEvent| event.payload.kind() != EventKind::SessionEnd;
        let rows = batch.events.iter().filter(has_row).count() - known.len();
        Ok(Inserted { rows: rows as u64, known, notes: self.notes.take() })
    }

    async fn settle(&self) -> Result<(), StoreError> {
        self.in_time(sessions::record(self)).await
    }

    fn unsettled(&self) -> usize {
        self.gathered.len()
    }

    async fn write_sessions(&self) -> Result<WrittenSessions, StoreError> {
        sessions::write(self).await
    }

    async fn first_views(
        &self,
        keys: &[SessionKey],
    ) -> Result<HashMap<SessionKey, String>, StoreError> {
        sessions::first_views(self, keys).await
    }

    async fn end_idle_sessions(
        &self,
        since: UtcMillis,
        most: usize,
    ) -> Result<Vec<SessionKey>, StoreError> {
        idle_sessions::end(self, since, most).await
    }

    async fn has_sessions_since(&self, since: UtcMillis) -> Result<bool, StoreError> {
        idle_sessions::has_any_since(self, since).await
    }

    async fn query(&self, sql: &str, limits: QueryLimits) -> Result<QueryResult, StoreError> {
        query::run(&self.connection, sql, limits).await
    }

    fn dialect(&self) -> &'static Dialect {
        &baseline::DIALECT
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.connection.ping().await
    }
}
