//! Read-only queries, bounded in time, rows and bytes.

use std::time::Duration;

use ::clickhouse::error::Error;
use ::clickhouse::query::BytesCursor;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt};

use super::connection::Connection;
use super::{errors, settings};
use bklit_pipeline::store::{QueryLimits, QueryResult, StoreError};

/// Extra time for the server to report that the time limit has passed.
const GRACE: Duration = Duration::from_secs(2);

/// Maximum columns of a result.
const COLUMNS: usize = 1_000;

/// A line with the column names, then a JSON array per row.
const FORMAT: &str = "JSONCompactEachRowWithNames";

/// Runs one query.
pub(super) async fn run(
    connection: &Connection,
    sql: &str,
    limits: QueryLimits,
) -> Result<QueryResult, StoreError> {
    let too_long =
        || StoreError::Unavailable(format!("the query took longer than {:?}", limits.time));
    let rows = limits.rows.saturating_add(1).to_string();
    let seconds = limits.time.as_secs_f64().max(0.001);
    let settings = vec![
        (settings::READ_ONLY, "1".to_owned()),
        ("max_execution_time", format!("{seconds:.3}")),
        ("max_result_rows", rows),
        ("result_overflow_mode", "break".to_owned()),
        ("cancel_http_readonly_queries_on_client_close", "1".to_owned()),
        ("output_format_json_quote_64bit_integers", "0".to_owned()),
        ("output_format_json_quote_denormals", "1".to_owned()),
    ];
    let response = allowed(connection, sql, settings, limits);
    match tokio::time::timeout(limits.time + GRACE, response).await {
        Err(_) => Err(too_long()),
        Ok(Err(error)) if errors::code(&error) == Some(errors::TIMEOUT_EXCEEDED) => Err(too_long()),
        Ok(Err(error)) => Err(errors::of_query(&error)),
        Ok(Ok(result)) => result.map_err(StoreError::Refused),
    }
}

/// Runs the query with as many of the settings as the user may change. What these are is found out
/// with another statement: the query itself may name settings, and must not lift its own limits.
async fn allowed(
    connection: &Connection,
    sql: &str,
    settings: settings::Values,
    limits: QueryLimits,
) -> Result<Result<QueryResult, String>, Error> {
    loop {
        let allowed = connection.not_allowed.without(settings.clone());
        let result = match connection.foreign(sql, &allowed).fetch_bytes(FORMAT) {
            Ok(cursor) => read(cursor, limits).await,
            Err(error) => Err(error),
        };
        match result {
            Err(error) if settings::is_about_settings(&error) => {
                connection.probe(&settings).await?;
                if connection.not_allowed.without(settings.clone()).len() == allowed.len() {
                    return Err(error);
                }
            }
            result => return result,
        }
    }
}

/// Reads the response, or what is wrong with it.
async fn read(
    cursor: BytesCursor,
    limits: QueryLimits,
) -> Result<Result<QueryResult, String>, Error> {
    let no_table = || Ok(Err("the result is not a table; remove the FORMAT clause".to_owned()));
    // One more byte than allowed, to detect a truncated response.
    let mut response = cursor.take(limits.bytes.saturating_add(1));
    let mut result = QueryResult::default();
    let mut line = Vec::new();
    let mut named = false;
    while response.read_until(b'\n', &mut line).await? > 0 {
        if response.limit() == 0 || result.rows.len() >= limits.rows && named {
            result.truncated = true;
            break;
        }
        let text = String::from_utf8_lossy(&line);
        let Ok(cells) = serde_json::from_str::<Vec<Value>>(&text) else { return no_table() };
        if named {
            if cells.len() != result.columns.len() {
                return no_table();
            }
            result.rows.push(cells.into_iter().map(scalar).collect());
        } else {
            if cells.len() > COLUMNS {
                let count = cells.len();
                return Ok(Err(format!(
                    "the result has {count} columns; at most {COLUMNS} are read"
                )));
            }
            let names = cells.into_iter().map(|name| name.as_str().map(str::to_owned));
            let Some(names) = names.collect() else { return no_table() };
            result.columns = names;
            named = true;
        }
        line.clear();
    }
    if named { Ok(Ok(result)) } else { no_table() }
}

/// Converts booleans to numbers, as the embedded store does, and arrays and objects to JSON text.
fn scalar(value: Value) -> Value {
    match value {
        Value::Bool(yes) => i32::from(yes).into(),
        Value::Array(_) | Value::Object(_) => value.to_string().into(),
        scalar => scalar,
    }
}
