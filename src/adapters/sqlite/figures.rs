//! The history of figures of the processes that ran on a data dir: a SQLite file.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, params};
use tokio::sync::Mutex;

use crate::sqlite::file;
use crate::sqlite::file::Schema;
use bklit_pipeline::history::{Collector, FigureStore, FigureStoreError, Minute};
use bklit_wire::history::MINUTES;

const SCHEMA: Schema =
    Schema { migrations: &[|connection| connection.execute_batch(TABLE)], complete: None };

const TABLE: &str = "CREATE TABLE minute (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    process TEXT NOT NULL,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (process, number)
) STRICT;
CREATE INDEX minute_at ON minute (at)";

/// The embedded [`FigureStore`]. It keeps the last [`MINUTES`] minutes in the order in which they
/// were added, so that a clock that is wrong deletes nothing.
pub struct SqliteFigureStore {
    connection: Arc<Mutex<Connection>>,
}

impl SqliteFigureStore {
    /// Opens or creates the file `path`.
    ///
    /// # Errors
    /// If the file cannot be used, or if its version is newer than this program.
    pub fn open(path: &Path) -> Result<Self, FigureStoreError> {
        let connection = file::open(path, &SCHEMA).map_err(failed)?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)) })
    }

    /// Runs `work` on a blocking thread, one call at a time.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, FigureStoreError> {
        let mut connection = Arc::clone(&self.connection).lock_owned().await;
        let done = tokio::task::spawn_blocking(move || work(&mut connection)).await;
        done.map_err(failed)?.map_err(failed)
    }
}

fn failed(error: impl std::fmt::Display) -> FigureStoreError {
    FigureStoreError(error.to_string())
}

#[async_trait]
impl FigureStore for SqliteFigureStore {
    async fn add(&self, minutes: &[Arc<Minute>]) -> Result<(), FigureStoreError> {
        let minutes = minutes.to_vec();
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            for minute in minutes {
                let (number, at) = (minute.number as i64, minute.at.epoch_millis());
                transaction
                    .prepare_cached(
                        "INSERT OR IGNORE INTO minute (process, number, at, body)
                         VALUES (?1, ?2, ?3, ?4)",
                    )?
                    .execute(params![minute.process, number, at, minute.to_bytes()])?;
            }
            transaction
                .prepare_cached("DELETE FROM minute WHERE id <= (SELECT max(id) FROM minute) - ?1")?
                .execute([MINUTES as i64])?;
            transaction.commit()
        })
        .await
    }

    async fn read(&self, mut collector: Collector) -> Result<Collector, FigureStoreError> {
        self.run(move |connection| {
            let mut statement = connection
                .prepare_cached("SELECT body FROM minute WHERE at >= ?1 AND at < ?2 ORDER BY id")?;
            let query = collector.query();
            let range = [query.from().epoch_millis(), query.to().epoch_millis()];
            let mut rows = statement.query(range)?;
            while let Some(row) = rows.next()? {
                match Minute::from_bytes(row.get_ref(0)?.as_blob()?) {
                    Ok(minute) => collector.add(&minute),
                    Err(_) => collector.unreadable(),
                }
            }
            drop(rows);
            drop(statement);
            Ok(collector)
        })
        .await
    }
}
