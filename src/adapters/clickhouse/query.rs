//! Read-only queries, bounded in time, rows and bytes.

use std::time::Duration;

use ::clickhouse::error::Error;
use ::clickhouse::query::BytesCursor;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt};

use super::connection::Connection;
use super::errors;
use bklit_pipeline::store::{QueryLimits, QueryResult, StoreError};

/// Bytes of an answer; above, it is cut short.
const RESULT_BYTES: u64 = 64 << 20;

/// What the server may take beyond the limit to say that it is over.
const GRACE: Duration = Duration::from_secs(2);

/// Names, then one JSON array a row.
const FORMAT: &str = "JSONCompactEachRowWithNames";

/// Answers one query.
pub(super) async fn run(
    connection: &Connection,
    sql: &str,
    limits: QueryLimits,
) -> Result<QueryResult, StoreError> {
    let too_long =
        || StoreError::Unavailable(format!("the query took longer than {:?}", limits.time));
    let rows = limits.rows.saturating_add(1).to_string();
    let seconds = limits.time.as_secs_f64().max(0.001);
    let query = connection
        .foreign(sql)
        .with_setting("readonly", "1")
        .with_setting("max_execution_time", format!("{seconds:.3}"))
        .with_setting("max_result_rows", rows)
        .with_setting("result_overflow_mode", "break")
        .with_setting("cancel_http_readonly_queries_on_client_close", "1")
        .with_setting("output_format_json_quote_64bit_integers", "0")
        .with_setting("output_format_json_quote_denormals", "1");
    let answer = async {
        let cursor = query.fetch_bytes(FORMAT)?;
        read(cursor, limits.rows).await
    };
    match tokio::time::timeout(limits.time + GRACE, answer).await {
        Err(_) => Err(too_long()),
        Ok(Err(error)) if errors::code(&error) == Some(errors::TIMEOUT_EXCEEDED) => Err(too_long()),
        Ok(Err(error)) => Err(errors::of_query(&error)),
        Ok(Ok(result)) => result.ok_or_else(|| {
            StoreError::Refused("the answer is no table; leave FORMAT out".to_owned())
        }),
    }
}

/// `None` when the answer is not in the format that was asked for.
async fn read(cursor: BytesCursor, most: usize) -> Result<Option<QueryResult>, Error> {
    // One more, to tell a cut answer from a whole one.
    let mut answer = cursor.take(RESULT_BYTES + 1);
    let mut result = QueryResult::default();
    let mut line = Vec::new();
    let mut named = false;
    while answer.read_until(b'\n', &mut line).await? > 0 {
        if answer.limit() == 0 || result.rows.len() >= most && named {
            result.truncated = true;
            break;
        }
        let text = String::from_utf8_lossy(&line);
        let Ok(cells) = serde_json::from_str::<Vec<Value>>(&text) else { return Ok(None) };
        if named {
            if cells.len() != result.columns.len() {
                return Ok(None);
            }
            result.rows.push(cells.into_iter().map(scalar).collect());
        } else {
            let names = cells.into_iter().map(|name| name.as_str().map(str::to_owned));
            let Some(names) = names.collect() else { return Ok(None) };
            result.columns = names;
            named = true;
        }
        line.clear();
    }
    Ok(named.then_some(result))
}

/// Numbers for yes and no, as in the embedded store; arrays and the like as JSON text.
fn scalar(value: Value) -> Value {
    match value {
        Value::Bool(yes) => i32::from(yes).into(),
        Value::Array(_) | Value::Object(_) => value.to_string().into(),
        scalar => scalar,
    }
}
