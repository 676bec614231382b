//! The embedded store's file: how it is opened and which tables are in it.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::schema::{
    Column, ColumnType, PAGE_VIEW_EVENT, TABLES, TRACKED_EVENT, TRACKED_SESSION, Table,
};
use super::sqlite::unavailable;
use super::{StoreError, sessions};

/// How long to wait for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The version of the tables, kept in the file as `user_version`.
const SCHEMA_VERSION: i64 = 1;

/// Pages in the write-ahead log before they move into the file: 16 MiB, some batches.
const CHECKPOINT_PAGES: i64 = 4096;

/// Bytes the write-ahead log keeps on disk once it was longer.
const KEPT_LOG_BYTES: i64 = 64 << 20;

/// Statements kept prepared; more than there are.
const STATEMENTS: usize = 32;

/// Opens the file for writing, made and brought up to date where it must be.
pub(super) fn open_for_writing(path: &Path) -> Result<Connection, StoreError> {
    let cannot = |error: &rusqlite::Error| {
        StoreError::Unavailable(format!("cannot open {}: {error}", path.display()))
    };
    let mut connection = Connection::open(path).map_err(|error| cannot(&error))?;
    configure(&connection).map_err(|error| cannot(&error))?;
    migrate(&mut connection, path)?;
    Ok(connection)
}

/// Opens the file only to read.
pub(super) fn open_for_reading(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // The answer is the mode that is in force, so these are queries.
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection
        .query_row(&format!("PRAGMA journal_size_limit = {KEPT_LOG_BYTES}"), [], |_| Ok(()))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    // A file that is up to date needs no write lock, which another process may hold.
    let version = schema_version(connection).map_err(|error| unavailable(&error))?;
    if version == SCHEMA_VERSION {
        return Ok(());
    }
    if version > SCHEMA_VERSION {
        return Err(StoreError::Refused(format!(
            "{} has schema version {version}, made by a newer bklit-tui; this one knows up to \
             {SCHEMA_VERSION}. Use the newer program, or another data dir",
            path.display()
        )));
    }
    create(connection).map_err(|error| unavailable(&error))
}

fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been first.
    if schema_version(&transaction)? == 0 {
        transaction.execute_batch(&definitions())?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    transaction.commit()
}

fn schema_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn definitions() -> String {
    let mut sql = String::new();
    for table in TABLES.iter().filter(|table| table.name != TRACKED_SESSION.name) {
        let columns: Vec<_> = table.columns.iter().map(definition).collect();
        sql += &create_table(table.name, &columns);
    }
    for table in [&PAGE_VIEW_EVENT, &TRACKED_EVENT] {
        // An event's id is its project's own; this is what makes storing it twice impossible.
        sql += &format!("CREATE UNIQUE INDEX {0}_id ON {0} (project_id, id);\n", table.name);
    }
    sql +=
        &format!("CREATE INDEX {0}_time ON {0} (project_id, timestamp);\n", PAGE_VIEW_EVENT.name);
    sql += &session_definitions(&TRACKED_SESSION);
    // Bounded: see `sqlite::BATCHES_KEPT`.
    sql += "CREATE TABLE stored_batch (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, \
            digest BLOB NOT NULL) STRICT;\n";
    sql
}

/// A session's public columns and what is needed to keep them up to date stand in one row, so
/// that an event costs one write; the public table is a view of it.
fn session_definitions(public: &Table) -> String {
    let optional = public.columns.iter().map(|column| Column { nullable: true, ..*column });
    let mut columns: Vec<_> = optional.map(|column| definition(&column)).collect();
    columns.extend(sessions::INTERNAL_COLUMNS.iter().map(|(name, kind)| format!("{name} {kind}")));
    let mut sql = create_table(sessions::TABLE, &columns);
    sql += &format!(
        "CREATE UNIQUE INDEX {0}_key ON {0} (project_id, session_id);\n\
         CREATE INDEX {0}_idle ON {0} (idle_since) WHERE idle_since IS NOT NULL;\n\
         CREATE VIEW {1} AS SELECT {2} FROM {0} WHERE views > 0;\n",
        sessions::TABLE,
        public.name,
        public.column_list()
    );
    sql
}

fn create_table(name: &str, columns: &[String]) -> String {
    format!("CREATE TABLE {name} (\n  {}\n) STRICT;\n", columns.join(",\n  "))
}

fn definition(column: &Column) -> String {
    let kind = match column.kind {
        ColumnType::Text | ColumnType::DateTime => "TEXT",
        ColumnType::Float64 => "REAL",
        ColumnType::Int32 | ColumnType::Bool => "INTEGER",
    };
    let null = if column.nullable { "" } else { " NOT NULL" };
    format!("{} {kind}{null}", column.name)
}
