//! Opens the embedded adapters' files: settings, migrations, integrity check.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use bklit_wire::diagnostic::Diagnostic;

/// How long a statement waits for a transaction of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to retry opening a file that other processes are opening at the same time: SQLite's
/// busy timeout does not cover the switch to a write-ahead log.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
const OPEN_PAUSE: Duration = Duration::from_millis(10);
/// Prepared statements cached per connection.
const STATEMENT_CACHE: usize = 64;

/// Errors of opening a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An error of SQLite.
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
    /// The tables of an older version cannot be migrated. The file is unchanged.
    #[error(
        "cannot migrate {path} from schema version {found} to {known}: {error}; the file is unchanged"
    )]
    Migration {
        /// The file.
        path: PathBuf,
        /// The file's version.
        found: i64,
        /// This program's version.
        known: usize,
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
        known: usize,
    },
}

impl Error {
    /// Whether another process holds a lock, so that a retry may succeed.
    fn is_busy(&self) -> bool {
        let (Self::Sqlite(error) | Self::Open { error, .. }) = self else { return false };
        let busy = [Some(ErrorCode::DatabaseBusy), Some(ErrorCode::DatabaseLocked)];
        busy.contains(&error.sqlite_error_code())
    }
}

/// One migration of a schema. Runs in a transaction.
pub type Migration = fn(&Connection) -> rusqlite::Result<()>;

/// The tables of a file. `PRAGMA user_version` is the number of migrations applied to it. Never
/// change a released migration; append a new one.
pub struct Schema {
    /// In order; the first one creates the tables.
    pub migrations: &'static [Migration],
    /// Runs after the migrations whenever the file is opened, for tables that are derived from
    /// code.
    pub complete: Option<Migration>,
}

/// Opens or creates the file `path` and migrates its tables in one transaction. Commits are durable
/// when they return: write-ahead log, synced with every commit. Waits a few seconds for other
/// processes that use the file.
///
/// # Errors
/// If the file cannot be used, or if its version is newer than this program.
pub fn open(path: &Path, schema: &Schema) -> Result<Connection, Error> {
    let deadline = Instant::now() + OPEN_TIMEOUT;
    loop {
        match try_open(path, schema) {
            Err(error) if error.is_busy() && Instant::now() < deadline => {
                std::thread::sleep(OPEN_PAUSE);
            }
            opened => return opened,
        }
    }
}

fn try_open(path: &Path, schema: &Schema) -> Result<Connection, Error> {
    let opened = |error| Error::Open { path: path.to_path_buf(), error };
    let mut connection = Connection::open(path).map_err(opened)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    connection.pragma_update(None, "journal_mode", "WAL").map_err(opened)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Fewer, larger checkpoints: 16 MiB of log.
    connection.pragma_update(None, "wal_autocheckpoint", 4096)?;
    migrate(path, &mut connection, schema)?;
    Ok(connection)
}

fn migrate(path: &Path, connection: &mut Connection, schema: &Schema) -> Result<(), Error> {
    let known = schema.migrations.len();
    // Immediate: if two processes start at once, the second one finds the tables migrated.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let missing = usize::try_from(found).ok().and_then(|found| schema.migrations.get(found..));
    let Some(missing) = missing else {
        return Err(Error::Newer { path: path.to_path_buf(), found, known });
    };
    let mut steps = missing.iter().chain(&schema.complete);
    let done = steps.try_for_each(|step| step(&transaction)).and_then(|()| match missing {
        [] => Ok(()),
        _ => transaction.pragma_update(None, "user_version", known as i64),
    });
    done.map_err(|error| Error::Migration { path: path.to_path_buf(), found, known, error })?;
    transaction.commit()?;
    if found > 0 && !missing.is_empty() {
        let file = path.display();
        tracing::info!(%file, from = found, to = known, "migrated a file of an older version");
    }
    Ok(())
}

/// Advice for a damaged file.
pub const DAMAGED: &str = "keep a copy, move it out of the data dir, and restore a backup; the sqlite3 \
                           command `.recover` extracts what can still be read";

/// Checks the integrity of the file `path`, for up to `longest`.
pub fn check(path: &Path, longest: Duration) -> Diagnostic {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match quick_check(path, longest) {
        Ok(message) if message == "ok" => Diagnostic::good(format!("{name}: integrity OK")),
        Ok(message) => Diagnostic::problem(format!("{name} is damaged: {message}"), DAMAGED),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            Diagnostic::good(format!("{name}: no damage found within {longest:?}"))
        }
        Err(error) => {
            let what = format!("{name} cannot be read: {error}");
            match error.sqlite_error_code() {
                Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                    Diagnostic::problem(what, DAMAGED)
                }
                // A reader of a file with a write-ahead log creates files next to it.
                Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                    Diagnostic::problem(what, "make the data dir writable for this user")
                }
                _ => Diagnostic::problem(what, "try again; if it stays, check the disk"),
            }
        }
    }
}

fn quick_check(path: &Path, longest: Duration) -> rusqlite::Result<String> {
    let connection = open_read_only(path)?;
    let deadline = Instant::now() + longest;
    connection.progress_handler(10_000, Some(move || Instant::now() >= deadline));
    connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))
}

/// Opens an existing file for reading, also while another process writes it.
///
/// # Errors
/// If the file cannot be opened.
pub fn open_read_only(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Migration =
        |connection| connection.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (7)");
    const SECOND: Migration =
        |connection| connection.execute_batch("ALTER TABLE t ADD COLUMN b; UPDATE t SET b = a + 1");
    const FAILING: Migration =
        |connection| connection.execute_batch("DELETE FROM t; INSERT INTO nowhere VALUES (1)");

    const OLD: Schema = Schema { migrations: &[FIRST], complete: None };
    const NEW: Schema = Schema { migrations: &[FIRST, SECOND], complete: None };
    const BROKEN: Schema = Schema { migrations: &[FIRST, SECOND, FAILING], complete: None };

    fn rows(connection: &Connection) -> Vec<(i64, i64)> {
        let mut statement = connection.prepare("SELECT a, b FROM t").unwrap();
        let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.collect::<rusqlite::Result<_>>().unwrap()
    }

    #[test]
    fn each_migration_runs_once_and_a_newer_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.db");
        drop(open(&path, &OLD).unwrap());
        for _ in 0..2 {
            assert_eq!(rows(&open(&path, &NEW).unwrap()), [(7, 8)]);
        }
        let error = open(&path, &OLD).unwrap_err().to_string();
        assert!(error.contains("newer bklit-tui") && error.contains("t.db"), "{error}");
        assert!(error.contains("version 2") && error.contains("up to 1"), "{error}");
        assert!(open(&dir.path().join("no/such/dir.db"), &NEW).is_err());
        assert_eq!(rows(&open(&dir.path().join("new.db"), &NEW).unwrap()), [(7, 8)]);
    }

    #[test]
    fn a_migration_that_fails_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.db");
        drop(open(&path, &OLD).unwrap());
        let error = open(&path, &BROKEN).unwrap_err().to_string();
        assert!(error.contains("from schema version 1 to 3"), "{error}");
        assert!(error.contains("no such table: nowhere"), "{error}");
        assert_eq!(rows(&open(&path, &NEW).unwrap()), [(7, 8)]);
    }

    #[test]
    fn concurrent_openings_migrate_a_file_once() {
        for old in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("t.db");
            if old {
                drop(open(&path, &OLD).unwrap());
            }
            let all = std::sync::Barrier::new(8);
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        all.wait();
                        assert_eq!(rows(&open(&path, &NEW).unwrap()), [(7, 8)]);
                    });
                }
            });
        }
    }
}
