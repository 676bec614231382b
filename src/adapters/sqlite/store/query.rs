//! Read-only queries on the embedded store, bounded in time, rows and bytes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use data_encoding::HEXLOWER;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, ErrorCode};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{functions, tables, unavailable};
use bklit_pipeline::store::{QueryLimits, QueryResult, StoreError};

/// Maximum bytes of one value, also of intermediate values, as a part of the result's. SQLite builds a
/// row before its size is known.
const VALUE_SHARE: u64 = 4;

/// Maximum columns of a row.
const COLUMNS: i32 = 256;

/// SQLite virtual machine instructions between checks of the deadline. Each may be a call of a function
/// that takes milliseconds.
const INSTRUCTIONS_PER_CHECK: i32 = 100;

/// Maximum bytes of a pattern of `LIKE` and `GLOB`, whose time is up to the product of the lengths of
/// pattern and text.
const PATTERN_BYTES: i32 = 256;

/// Maximum uses of these in a query: all of a row may be executed between two checks of the deadline.
const PATTERNS: usize = 100;
const PATTERN_FUNCTIONS: [&str; 2] = ["like", "glob"];

/// Functions that are not available. A call may take hours, or memory without a bound, and all of these
/// are rarely needed.
const DENIED_FUNCTIONS: [&str; 4] = ["json_patch", "jsonb_patch", "json_pretty", "unhex"];

/// How SQLite's error for a function that the authorizer denies starts.
const DENIED: &str = "not authorized to use function";

/// Pragmas that only describe a table.
const HARMLESS_PRAGMAS: [&str; 2] = ["table_info", "table_xinfo"];

/// Error for a statement that is not a query.
const ONLY_QUERIES: &str = "only one SELECT statement is allowed, and it may only read";

/// Runs one query.
pub(super) async fn run(
    path: &Path,
    permits: &Arc<Semaphore>,
    sql: &str,
    limits: QueryLimits,
) -> Result<QueryResult, StoreError> {
    let deadline = Instant::now() + limits.time;
    let permit = tokio::time::timeout(limits.time, Arc::clone(permits).acquire_owned())
        .await
        .map_err(|_| too_long(limits))?
        .map_err(|error| StoreError::Unavailable(error.to_string()))?;
    let (path, sql): (PathBuf, String) = (path.to_owned(), sql.to_owned());
    let end = End { deadline, dropped: Arc::default() };
    let _dropped = SetOnDrop(Arc::clone(&end.dropped));
    let done = tokio::task::spawn_blocking(move || {
        // Held until the thread is done, also if the caller was cancelled.
        let _permit = permit;
        let connection = open(&path, limits, &end).map_err(|error| unavailable(&error))?;
        select(&connection, &sql, limits, &end).map_err(|error| refusal(&error, limits))
    });
    done.await.map_err(|error| StoreError::Unavailable(error.to_string()))?
}

/// When a query has to end.
#[derive(Clone)]
struct End {
    deadline: Instant,
    /// Whether the result is no longer awaited.
    dropped: Arc<AtomicBool>,
}

impl End {
    fn has_come(&self) -> bool {
        self.dropped.load(Relaxed) || Instant::now() >= self.deadline
    }
}

/// Stops the query when the caller is cancelled.
struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

fn open(path: &Path, limits: QueryLimits, end: &End) -> rusqlite::Result<Connection> {
    let connection = tables::open_for_reading(path)?;
    let value_bytes = i32::try_from(limits.bytes / VALUE_SHARE).unwrap_or(i32::MAX);
    functions::replace_slow(&connection, usize::try_from(value_bytes).unwrap_or(0))?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, value_bytes)?;
    connection.set_limit(Limit::SQLITE_LIMIT_COLUMN, COLUMNS)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, PATTERN_BYTES)?;
    let mut patterns = 0;
    connection.authorizer(Some(move |context: AuthContext<'_>| {
        if may(&context.action, &mut patterns) { Authorization::Allow } else { Authorization::Deny }
    }));
    let end = end.clone();
    connection.progress_handler(INSTRUCTIONS_PER_CHECK, Some(move || end.has_come()));
    Ok(connection)
}

/// Whether a query may do this; counts its `patterns`.
fn may(action: &AuthAction<'_>, patterns: &mut usize) -> bool {
    match action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => true,
        AuthAction::Pragma { pragma_name, .. } => HARMLESS_PRAGMAS.contains(pragma_name),
        AuthAction::Function { function_name } => {
            *patterns += usize::from(PATTERN_FUNCTIONS.contains(function_name));
            *patterns <= PATTERNS && !DENIED_FUNCTIONS.contains(function_name)
        }
        _ => false,
    }
}

fn select(
    connection: &Connection,
    sql: &str,
    limits: QueryLimits,
    end: &End,
) -> rusqlite::Result<QueryResult> {
    let mut statement = connection.prepare(sql)?;
    if statement.column_count() == 0 || !statement.readonly() {
        return Err(Error::MultipleStatement);
    }
    let columns: Vec<_> = statement.column_names().into_iter().map(str::to_owned).collect();
    let mut result = QueryResult { columns, ..QueryResult::default() };
    let mut bytes: u64 = 0;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if result.rows.len() >= limits.rows {
            result.truncated = true;
            break;
        }
        if end.has_come() {
            return Err(interrupted());
        }
        let mut cells = Vec::with_capacity(result.columns.len());
        for index in 0..result.columns.len() {
            if bytes > limits.bytes {
                result.truncated = true;
                return Ok(result);
            }
            let cell = row.get_ref(index)?;
            let text = cell.as_bytes_or_null().ok().flatten().map_or(0, <[u8]>::len);
            bytes += (size_of::<Value>() + text) as u64;
            cells.push(value(cell));
        }
        result.rows.push(cells);
    }
    Ok(result)
}

/// A cell as JSON; values that JSON cannot represent become text.
fn value(cell: ValueRef<'_>) -> Value {
    match cell {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) if number.is_finite() => number.into(),
        ValueRef::Real(number) => number.to_string().into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(bytes) => HEXLOWER.encode(bytes).into(),
    }
}

fn interrupted() -> Error {
    Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_INTERRUPT), None)
}

fn too_long(limits: QueryLimits) -> StoreError {
    StoreError::Unavailable(format!("the query took longer than {:?}", limits.time))
}

fn refusal(error: &Error, limits: QueryLimits) -> StoreError {
    match error {
        Error::MultipleStatement => StoreError::Refused(ONLY_QUERIES.to_owned()),
        Error::SqlInputError { msg, .. } if msg.starts_with(DENIED) => {
            let why =
                format!("it may take too long (LIKE and GLOB: at most {PATTERNS} in a query)");
            StoreError::Refused(format!("{msg}: {why}"))
        }
        Error::SqlInputError { msg, .. } => StoreError::Refused(msg.clone()),
        _ => match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => too_long(limits),
            Some(ErrorCode::AuthorizationForStatementDenied | ErrorCode::ReadOnly) => {
                StoreError::Refused(ONLY_QUERIES.to_owned())
            }
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::SystemIoFailure
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::CannotOpen
                | ErrorCode::NotADatabase
                | ErrorCode::OutOfMemory,
            ) => StoreError::Unavailable(error.to_string()),
            _ => StoreError::Refused(error.to_string()),
        },
    }
}
