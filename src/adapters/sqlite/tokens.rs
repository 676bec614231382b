//! The embedded token store: a SQLite file, which the `token` commands change while a daemon runs.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};
use tokio::sync::Mutex;

use crate::sqlite::file;
use crate::sqlite::file::Schema;
use bklit_pipeline::auth::listing::LeavesOut;
use bklit_pipeline::auth::{Listing, Scope, TokenHash, TokenRecord, TokenStore, TokenStoreError};
use bklit_wire::time::UtcMillis;

const SCHEMA: Schema =
    Schema { migrations: &[|connection| connection.execute_batch(TABLE)], complete: None };

const TABLE: &str = "CREATE TABLE token (
    id TEXT PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    prefix TEXT NOT NULL,
    name TEXT,
    scope TEXT NOT NULL,
    projects TEXT NOT NULL,
    allowed_domains TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER
) STRICT";

const COLUMNS: &str =
    "id, hash, prefix, name, scope, projects, allowed_domains, created_at, expires_at";

/// The embedded [`TokenStore`].
pub struct SqliteTokenStore {
    connection: Arc<Mutex<Connection>>,
    leaves_out: LeavesOut,
}

impl SqliteTokenStore {
    /// Opens or creates the file `path`. Waits a few seconds for other processes that use it.
    ///
    /// # Errors
    /// If the file cannot be used, or if its version is newer than this program.
    pub fn open(path: &Path) -> Result<Self, TokenStoreError> {
        let connection = file::open(path, &SCHEMA);
        let connection = connection.map_err(|error| TokenStoreError(error.to_string()))?;
        let connection = Arc::new(Mutex::new(connection));
        Ok(Self { connection, leaves_out: LeavesOut::default() })
    }

    /// Runs `work` on a blocking thread. One call at a time, so that many lookups wait here and do
    /// not occupy all blocking threads.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, TokenStoreError> {
        let connection = Arc::clone(&self.connection).lock_owned().await;
        let done = tokio::task::spawn_blocking(move || work(&connection)).await;
        match done {
            Ok(result) => result.map_err(|error| TokenStoreError(error.to_string())),
            Err(error) => Err(TokenStoreError(error.to_string())),
        }
    }
}

#[async_trait]
impl TokenStore for SqliteTokenStore {
    async fn create(&self, token: TokenRecord) -> Result<(), TokenStoreError> {
        self.run(move |connection| {
            let sql = format!("INSERT INTO token ({COLUMNS}) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9)");
            connection.execute(
                &sql,
                params![
                    token.id,
                    token.hash.to_hex(),
                    token.prefix,
                    token.name,
                    token.scope.as_str(),
                    list_to_json(&token.projects),
                    list_to_json(&token.allowed_domains),
                    token.created_at.epoch_millis(),
                    token.expires_at.map(UtcMillis::epoch_millis),
                ],
            )?;
            Ok(())
        })
        .await
    }

    async fn find(&self, hash: &TokenHash) -> Result<Option<TokenRecord>, TokenStoreError> {
        let hash = hash.to_hex();
        self.run(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM token WHERE hash = ?1");
            connection.prepare_cached(&sql)?.query_row([hash], record).optional()
        })
        .await
    }

    async fn listing(&self) -> Listing {
        let rows = self.run(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM token ORDER BY created_at, rowid");
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map((), |row| Ok(record(row)))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        });
        let rows = match rows.await {
            Ok(rows) => rows,
            Err(error) => return Listing::unavailable(error),
        };
        let read = rows.into_iter().map(|row| row.map_err(|e| TokenStoreError(e.to_string())));
        let (tokens, unreadable) = self.leaves_out.unreadable(read);
        Listing { tokens, unreadable, unavailable: None }
    }

    async fn revoke(&self, id: &str) -> Result<bool, TokenStoreError> {
        let id = id.to_owned();
        self.run(move |connection| {
            Ok(connection.execute("DELETE FROM token WHERE id = ?1", [id])? > 0)
        })
        .await
    }
}

fn list_to_json(list: &[String]) -> String {
    serde_json::Value::from(list).to_string()
}

fn record(row: &Row<'_>) -> rusqlite::Result<TokenRecord> {
    let invalid = |column: usize, what: &str| {
        let error = format!("the token's {what} cannot be read").into();
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error)
    };
    let list = |column: usize, what: &str| -> rusqlite::Result<Vec<String>> {
        let json = row.get_ref(column)?.as_str()?;
        serde_json::from_str(json).map_err(|_| invalid(column, what))
    };
    let scope = Scope::from_name(row.get_ref(4)?.as_str()?).ok_or_else(|| invalid(4, "scope"))?;
    Ok(TokenRecord {
        id: row.get(0)?,
        hash: TokenHash::from_hex(row.get_ref(1)?.as_str()?).ok_or_else(|| invalid(1, "hash"))?,
        prefix: row.get(2)?,
        name: row.get(3)?,
        scope,
        projects: list(5, "projects")?,
        allowed_domains: list(6, "domains")?,
        created_at: UtcMillis::from_epoch_millis(row.get(7)?),
        expires_at: row.get::<_, Option<i64>>(8)?.map(UtcMillis::from_epoch_millis),
    })
}
