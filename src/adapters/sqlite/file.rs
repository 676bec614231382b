//! How the embedded adapters open their files.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use bklit_wire::diagnostic::Finding;

/// How long a statement waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Prepared statements kept for a connection.
const STATEMENT_CACHE: usize = 64;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SQLite's own error.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The file cannot be opened.
    #[error("cannot open {path}: {error}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        error: rusqlite::Error,
    },
    /// A newer version of the program has changed the tables.
    #[error(
        "{path} was written by a newer bklit-tui (its schema is version {found}, this program \
         knows up to {known}); use that version, or another --data-dir"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The file's version.
        found: i64,
        /// The newest version known.
        known: i64,
    },
}

/// Opens or creates the file `path`. A commit is durable when it returns: write-ahead log, synced
/// with every commit. A new file gets the tables of `schema`, whose version is `version` (at
/// least 1).
///
/// # Errors
/// When the file cannot be used or has a newer version.
pub fn open(path: &Path, version: i64, schema: &str) -> Result<Connection, Error> {
    let opened = |error| Error::Open { path: path.to_path_buf(), error };
    let mut connection = Connection::open(path).map_err(opened)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    connection.pragma_update(None, "journal_mode", "WAL").map_err(opened)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Fewer, larger checkpoints: 16 MiB of log.
    connection.pragma_update(None, "wal_autocheckpoint", 4096)?;
    // Two processes may start at once: whoever comes second finds the tables made.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > version {
        return Err(Error::Newer { path: path.to_path_buf(), found, known: version });
    }
    if found == 0 {
        transaction.execute_batch(schema)?;
        transaction.pragma_update(None, "user_version", version)?;
    }
    transaction.commit()?;
    Ok(connection)
}

/// What to do about a damaged file.
pub const DAMAGED: &str = "keep a copy, take it out of the data dir, and restore it from a backup; \
                           the sqlite3 command `.recover` saves what can be read";

/// Whether the file `path` is sound. A large file is looked at for `longest`.
pub fn check(path: &Path, longest: Duration) -> Finding {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match quick_check(path, longest) {
        Ok(said) if said == "ok" => Finding::good(format!("{name} is sound")),
        Ok(said) => Finding::problem(format!("{name} is damaged: {said}"), DAMAGED),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            Finding::good(format!("{name} is sound as far as {longest:?} allow to look"))
        }
        Err(error) => Finding::problem(format!("{name} cannot be read: {error}"), DAMAGED),
    }
}

fn quick_check(path: &Path, longest: Duration) -> rusqlite::Result<String> {
    let connection = open_to_read(path)?;
    let deadline = Instant::now() + longest;
    connection.progress_handler(10_000, Some(move || Instant::now() >= deadline));
    connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))
}

/// Opens a file that is there, also beside a process that writes it.
///
/// # Errors
/// When it cannot be opened.
pub fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_file_is_refused_and_an_old_one_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.db");
        let connection = open(&path, 1, "CREATE TABLE t (a); INSERT INTO t VALUES (7)").unwrap();
        assert_eq!(connection.query_row("SELECT a FROM t", (), |r| r.get(0)), Ok(7));
        drop(connection);
        drop(open(&path, 1, "CREATE TABLE t (a)").unwrap());
        let connection = open(&path, 2, "").unwrap();
        connection.pragma_update(None, "user_version", 3).unwrap();
        let error = open(&path, 2, "").unwrap_err().to_string();
        assert!(error.contains("newer bklit-tui") && error.contains("t.db"), "{error}");
        assert!(open(&dir.path().join("no/such/dir.db"), 1, "").is_err());
    }
}
