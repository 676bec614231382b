//! The production store: the tables of Bklit in ClickHouse.
//!
//! What was accepted is stored once, however often it is sent and whatever dies meanwhile; see
//! `events` and `sessions` for how.

mod baseline;
mod check;
mod connection;
mod encode;
mod errors;
mod events;
mod idle_sessions;
mod key_locks;
mod migrate;
mod query;
mod sessions;
mod sql;
mod stored_ids;
mod table_schema;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use self::connection::Connection;
use self::idle_sessions::Sweeps;
use self::key_locks::KeyLocks;
use self::table_schema::{TableSchema, TableSchemas};
use bklit_pipeline::store::schema::Table;
use bklit_pipeline::store::{
    Batch, Dialect, Inserted, QueryLimits, QueryResult, Store, StoreError,
};
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

/// Which server, and as whom.
#[derive(Clone)]
pub struct ClickHouseOptions {
    /// Its HTTP interface: `http://localhost:8123`, or `https://…`. May have user and password in
    /// it, for which the two fields below are preferred.
    pub url: String,
    /// The user; the server's default user where there is none.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<String>,
    /// The certificates (PEM) that the server's one must lead to; without, the well-known ones.
    pub root_certificates: Option<Vec<u8>>,
    /// The database with the tables.
    pub database: String,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// Ask which events are stored before and after each insert. Without it batches are stored a
    /// little faster, and only deduplication tokens keep a repeated batch from being stored
    /// twice: nothing does so for an event that comes again in another batch, or where the tables
    /// have no deduplication window.
    pub check_ids: bool,
    /// Keep the baseline's tables beside the others.
    pub baseline: bool,
}

/// How long to wait for the server.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// For the answer to one statement.
    pub request: Duration,
    /// For a batch to be stored, all its statements together.
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
    /// Without the secrets, which the address may have too.
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
    check_ids: bool,
    baseline: bool,
}

impl ClickHouseStore {
    /// A store on that server. Nothing is asked of it yet; tables are made by
    /// [`ClickHouseStore::migrate`].
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the address is none.
    pub fn new(options: ClickHouseOptions) -> Result<Self, StoreError> {
        let ClickHouseOptions { check_ids, baseline, .. } = options;
        Ok(Self {
            connection: Connection::new(options)?,
            schemas: TableSchemas::default(),
            key_locks: KeyLocks::default(),
            sweeps: Sweeps::default(),
            check_ids,
            baseline,
        })
    }

    /// Rows that were refused because the table is not what it was are no bad rows.
    async fn unless_altered(
        &self,
        table: &'static Table,
        schema: &TableSchema,
        result: Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let Err(error) = result else { return Ok(()) };
        self.schemas.forget(table);
        if let StoreError::Refused(reason) = &error
            && *self.schemas.of(&self.connection, table).await? != *schema
        {
            let reason = format!("{} was altered meanwhile: {reason}", table.name);
            return Err(StoreError::Unavailable(reason));
        }
        Err(error)
    }
}

#[async_trait]
impl Store for ClickHouseStore {
    async fn insert(&self, batch: &Batch) -> Result<Inserted, StoreError> {
        let limit = self.connection.timeouts.batch;
        let work = Box::pin(async {
            let rows = events::store(self, batch).await?;
            let changed = sessions::follow(self, batch).await?;
            Ok(Inserted { rows, new_sessions: changed.begun, ended_sessions: changed.ended })
        });
        tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
            let reason = format!("ClickHouse took longer than {limit:?} for a batch");
            Err(StoreError::Unavailable(reason))
        })
    }

    async fn end_idle_sessions(
        &self,
        since: UtcMillis,
        most: usize,
    ) -> Result<Vec<SessionKey>, StoreError> {
        idle_sessions::end(self, since, most).await
    }

    async fn query(&self, sql: &str, limits: QueryLimits) -> Result<QueryResult, StoreError> {
        query::run(&self.connection, sql, limits).await
    }

    fn dialect(&self) -> &'static Dialect {
        &baseline::DIALECT
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.connection.execute(self.connection.statement("SELECT 1 FORMAT Null")).await
    }
}
