//! The embedded store: one SQLite file.
//!
//! One writer at a time; each batch is one transaction, which is on disk when it ends. Events are
//! identified by project and id, so a batch that is sent again adds nothing. Queries use separate
//! read-only connections, which do not wait for writes.
//!
//! | file | contents |
//! | --- | --- |
//! | `tables.rs` | opening the file; tables and migrations |
//! | `rows.rs` | inserts events as rows |
//! | `sessions.rs` | reads, updates and ends sessions |
//! | `functions.rs` | replacements for functions that may take too long |
//! | `query.rs` | read-only queries with limits |
//! | `baseline.rs` | the baseline tables |

mod baseline;
mod functions;
mod query;
mod rows;
mod sessions;
mod tables;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{
    Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params,
};
use tokio::sync::{Mutex, Semaphore};

use self::rows::Rows;
use self::sessions::Sessions;
use super::locks;
use bklit_pipeline::store::session::contributions;
use bklit_pipeline::store::{
    self, Batch, Dialect, Inserted, QueryLimits, QueryResult, Store, StoreError,
};
use bklit_wire::event::EventKind;
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

/// Stored batches that are remembered: far more than can be in flight.
const BATCHES_KEPT: i64 = 10_000;

/// Concurrent queries; further ones wait within their time limit.
const QUERIES: usize = 4;

/// [`Store`] in one SQLite file.
pub struct SqliteStore {
    path: PathBuf,
    /// The only connection of this process that writes.
    writer: Arc<Mutex<Connection>>,
    queries: Arc<Semaphore>,
}

impl SqliteStore {
    /// Opens or creates the file. Its directory must exist.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if it cannot be opened, [`StoreError::Refused`] if its version
    /// is newer than this program.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = tables::open_for_writing(path)?;
        Ok(Self {
            path: path.to_owned(),
            writer: Arc::new(Mutex::new(connection)),
            queries: Arc::new(Semaphore::new(QUERIES)),
        })
    }

    /// Runs `work` in a transaction on a blocking thread. Once started, it is completed even if the
    /// caller is cancelled.
    async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let mut connection = Arc::clone(&self.writer).lock_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = work(&transaction)?;
            transaction.commit()?;
            Ok(result)
        });
        match done.await {
            Ok(result) => result.map_err(|error| describe(&error, &self.path)),
            Err(error) => Err(StoreError::Unavailable(error.to_string())),
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn insert(&self, batch: &Batch) -> Result<Inserted, StoreError> {
        let batch = batch.clone();
        self.write(move |transaction| insert(transaction, &batch)).await
    }

    async fn first_views(
        &self,
        keys: &[SessionKey],
    ) -> Result<HashMap<SessionKey, String>, StoreError> {
        let keys = keys.to_vec();
        self.write(move |transaction| {
            let mut sessions = Sessions::new(transaction)?;
            let mut found = HashMap::new();
            for key in keys {
                if let Some(entry) = sessions.load(&key)?.entry {
                    found.insert(key, entry.key);
                }
            }
            Ok(found)
        })
        .await
    }

    async fn end_idle_sessions(
        &self,
        since: UtcMillis,
        most: usize,
    ) -> Result<Vec<SessionKey>, StoreError> {
        self.write(move |transaction| {
            sessions::remove_never_started(transaction, since)?;
            let idle = sessions::idle(transaction, since, most)?;
            let mut sessions = Sessions::new(transaction)?;
            for key in &idle {
                let mut session = sessions.load(key)?;
                session.end_as_of_last_event();
                sessions.save(key, &session)?;
            }
            Ok(idle)
        })
        .await
    }

    async fn query(&self, sql: &str, limits: QueryLimits) -> Result<QueryResult, StoreError> {
        query::run(&self.path, &self.queries, sql, limits).await
    }

    fn dialect(&self) -> &'static Dialect {
        &baseline::DIALECT
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.write(|transaction| transaction.query_row("SELECT 1", [], |_| Ok(()))).await
    }
}

fn insert(transaction: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<Inserted> {
    let mut inserted = Inserted::default();
    if !remember(transaction, batch)? {
        return Ok(inserted);
    }
    let mut rows = Rows::new(transaction)?;
    let mut new = Vec::with_capacity(batch.events.len());
    for (position, event) in batch.events.iter().enumerate() {
        if event.payload.kind() == EventKind::SessionEnd {
            // Ends have no row of their own. Adding one again changes nothing.
            new.push(event);
        } else if rows.insert(event)? {
            inserted.rows += 1;
            new.push(event);
        } else {
            inserted.known.push(position);
        }
    }
    let mut sessions = Sessions::new(transaction)?;
    for ((project, session), contribution) in contributions(new) {
        let key = SessionKey { project_id: project.to_owned(), session_id: session.to_owned() };
        let before = sessions.load(&key)?;
        let mut session = before.clone();
        session.merge_events(&contribution);
        if session != before {
            sessions.save(&key, &session)?;
        }
    }
    Ok(inserted)
}

/// Records that the batch is stored; false if it already was. The digest covers the case that a
/// recreated queue uses the id of a stored batch for other events.
fn remember(transaction: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<bool> {
    let digest = store::digest(batch.events.iter());
    let known: Option<Vec<u8>> = transaction
        .prepare_cached("SELECT digest FROM stored_batch WHERE id = ?1")?
        .query_row([&batch.id], |row| row.get(0))
        .optional()?;
    if known.as_deref() == Some(&digest) {
        return Ok(false);
    }
    transaction
        .prepare_cached("INSERT OR REPLACE INTO stored_batch (id, digest) VALUES (?1, ?2)")?
        .execute(params![batch.id, digest])?;
    transaction
        .prepare_cached("DELETE FROM stored_batch WHERE number <= ?1")?
        .execute([transaction.last_insert_rowid() - BATCHES_KEPT])?;
    Ok(true)
}

/// A temporary error.
pub(super) fn unavailable(error: &rusqlite::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

/// Distinguishes permanent errors from temporary ones.
fn describe(error: &rusqlite::Error, path: &Path) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch) => {
            StoreError::Refused(error.to_string())
        }
        _ => StoreError::Unavailable(locks::reason(error, path)),
    }
}
