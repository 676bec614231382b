//! Opens the embedded store's file, and defines its tables.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{sessions, unavailable};
use crate::sqlite::file;
use crate::sqlite::file::Schema;
use bklit_pipeline::store::StoreError;
use bklit_pipeline::store::schema::{
    BASELINE_GAP, BASELINE_TABLES, Column, ColumnType, PAGE_VIEW_EVENT, TABLES, TRACKED_EVENT,
    TRACKED_SESSION,
};

const SCHEMA: Schema = Schema {
    migrations: &[|connection| connection.execute_batch(&definitions()), drop_view_count],
    complete: Some(complete),
};

/// Maximum size of the write-ahead log after a checkpoint; a slow reader may make it longer for a
/// while.
const KEPT_LOG_BYTES: i64 = 64 << 20;

/// Pages in the log before a checkpoint: of those that several batches change, such as sessions, only
/// the last version is copied.
const CHECKPOINT_PAGES: i64 = KEPT_LOG_BYTES / 4096;

/// Page cache in KiB: the indexes are accessed at random.
const CACHE_KIB: i64 = 32 << 10;

/// How long a reader waits while another process recovers the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the file for writing; creates its tables if it is new.
pub(super) fn open_for_writing(path: &Path) -> Result<Connection, StoreError> {
    let connection = file::open(path, &SCHEMA).map_err(|error| match error {
        file::Error::Newer { .. } => StoreError::Refused(error.to_string()),
        _ => StoreError::Unavailable(error.to_string()),
    })?;
    tune(&connection).map_err(|error| unavailable(&error))?;
    Ok(connection)
}

fn tune(connection: &Connection) -> rusqlite::Result<()> {
    // A negative value is a size in KiB instead of a number of pages.
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    // This pragma returns the limit in force, so it is run as a query.
    connection.query_row(&format!("PRAGMA journal_size_limit = {KEPT_LOG_BYTES}"), [], |_| Ok(()))
}

/// Opens the file read-only.
pub(super) fn open_for_reading(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn definitions() -> String {
    let mut sql = String::new();
    for table in TABLES.iter().filter(|table| table.name != TRACKED_SESSION.name) {
        let columns: Vec<_> = table.columns.iter().map(definition).collect();
        sql += &create_table(table.name, &columns);
    }
    for table in [&PAGE_VIEW_EVENT, &TRACKED_EVENT] {
        // Event ids are unique per project; this index makes storing an event twice impossible.
        sql += &format!("CREATE UNIQUE INDEX {0}_id ON {0} (project_id, id);\n", table.name);
    }
    sql +=
        &format!("CREATE INDEX {0}_time ON {0} (project_id, timestamp);\n", PAGE_VIEW_EVENT.name);
    sql += &session_definitions();
    // Bounded: see `BATCHES_KEPT`.
    sql += "CREATE TABLE stored_batch (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, \
            digest BLOB NOT NULL) STRICT;\n";
    sql
}

/// A session's public columns and the internal ones that update them are in one row, so that an
/// event costs one write; the public table is a view of it.
fn session_definitions() -> String {
    let mut sql = create_table(sessions::TABLE, &session_columns());
    sql += &format!(
        "CREATE UNIQUE INDEX {0}_key ON {0} (project_id, session_id);\n\
         CREATE INDEX {0}_idle ON {0} (idle_since) WHERE idle_since IS NOT NULL;\n",
        sessions::TABLE
    );
    sql
}

fn session_columns() -> Vec<String> {
    let public = TRACKED_SESSION.columns.iter();
    let optional = public.map(|column| definition(&Column { nullable: true, ..*column }));
    let internal = sessions::INTERNAL_COLUMNS.iter().map(|(name, kind)| format!("{name} {kind}"));
    optional.chain(internal).collect()
}

/// Early versions counted a session's page views; the keys of the first and last view have replaced
/// that count.
fn drop_view_count(connection: &Connection) -> rusqlite::Result<()> {
    if column_names(connection, sessions::TABLE)?.contains("views") {
        connection.execute_batch(&format!("DROP VIEW {}", TRACKED_SESSION.name))?;
        connection.execute_batch(&format!("ALTER TABLE {} DROP COLUMN views", sessions::TABLE))?;
    }
    Ok(())
}

/// Adds columns that `schema` has and the file's tables lack.
fn complete(connection: &Connection) -> rusqlite::Result<()> {
    let baseline = BASELINE_TABLES.iter().map(|(table, _)| *table);
    for table in [&PAGE_VIEW_EVENT, &TRACKED_EVENT, &BASELINE_GAP].into_iter().chain(baseline) {
        let columns: Vec<_> = table.columns.iter().map(added).collect();
        add_missing(connection, table.name, &columns)?;
    }
    add_missing(connection, sessions::TABLE, &session_columns())?;
    let name = TRACKED_SESSION.name;
    let view = format!(
        "CREATE VIEW {name} AS SELECT {} FROM {} WHERE entry_key IS NOT NULL",
        TRACKED_SESSION.column_list(),
        sessions::TABLE
    );
    let sql = "SELECT 1 FROM sqlite_schema WHERE name = ? AND sql = ?";
    if !connection.prepare(sql)?.exists([name, &view])? {
        connection.execute_batch(&format!("DROP VIEW IF EXISTS {name}; {view}"))?;
    }
    Ok(())
}

/// Adds missing columns. Skips a table that does not exist: the baseline tables are created on
/// demand.
fn add_missing(connection: &Connection, table: &str, columns: &[String]) -> rusqlite::Result<()> {
    let known = column_names(connection, table)?;
    let is_missing = |column: &&String| {
        let name = column.split(' ').next().unwrap_or_default();
        !known.is_empty() && !known.contains(name)
    };
    for column in columns.iter().filter(is_missing) {
        connection.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN {column}"))?;
        tracing::info!(table, column, "added a column to the store of an older version");
    }
    Ok(())
}

fn column_names(connection: &Connection, table: &str) -> rusqlite::Result<HashSet<String>> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?)")?;
    statement.query_map([table], |row| row.get(0))?.collect()
}

/// The baseline tables. Comparing reads both sides in the tables' order, so both get an index for
/// it.
pub(super) fn baseline_definitions() -> String {
    let columns: Vec<_> = BASELINE_GAP.columns.iter().map(definition).collect();
    let if_missing = |sql: String| sql.replacen("TABLE", "TABLE IF NOT EXISTS", 1);
    let mut sql = if_missing(create_table(BASELINE_GAP.name, &columns));
    for (table, of) in BASELINE_TABLES {
        let columns: Vec<_> = table.columns.iter().map(definition).collect();
        sql += &if_missing(create_table(table.name, &columns));
        sql += &format!(
            "CREATE UNIQUE INDEX IF NOT EXISTS {0}_id ON {0} (project_id, id);\n",
            table.name
        );
        for table in [table, of] {
            let order = table.order.join(", ");
            sql += &format!("CREATE INDEX IF NOT EXISTS {0}_order ON {0} ({order});\n", table.name);
        }
    }
    sql
}

fn create_table(name: &str, columns: &[String]) -> String {
    format!("CREATE TABLE {name} (\n  {}\n) STRICT;\n", columns.join(",\n  "))
}

/// The definition of a column that is added to a table with rows: without NULL it needs a default.
fn added(column: &Column) -> String {
    let default = match column.kind {
        _ if column.nullable => "",
        ColumnType::Text => " DEFAULT ''",
        ColumnType::DateTime => " DEFAULT '1970-01-01 00:00:00'",
        ColumnType::Float64 | ColumnType::Int32 | ColumnType::Bool => " DEFAULT 0",
    };
    definition(column) + default
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
