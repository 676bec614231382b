//! The SQL that reads both sides, and its results.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use serde_json::Value;

use super::{EventKey, Gap, Kind, Pick, Row, Rows, Side, Span};
use crate::store::schema::{BASELINE_GAP, Column, ColumnType};
use crate::store::{Dialect, QueryLimits, QueryResult, StoreError};

/// Bounds of one statement; more rows than are ever read at once.
pub const READ_LIMITS: QueryLimits = QueryLimits::new(100_000, Duration::from_secs(60));

/// Reads rows.
pub fn select(dialect: &Dialect, side: Side, kind: Kind, pick: Pick<'_>) -> String {
    let table = kind.table(side);
    let column = |column: &Column| match column.kind {
        ColumnType::DateTime => (dialect.seconds)(column.name),
        _ => column.name.to_owned(),
    };
    let columns: Vec<_> = table.columns.iter().map(column).collect();
    let (condition, rest) = match pick {
        Pick::Span { span, after, most } => {
            let mut condition = within(dialect, span);
            if let Some(row) = after {
                condition += &format!(" AND {}", follows(dialect, kind, row));
            }
            (condition, format!(" ORDER BY {} LIMIT {most}", table.order.join(", ")))
        }
        Pick::Events { keys, seconds } => (one_of(dialect, keys, seconds), String::new()),
    };
    format!("SELECT {} FROM {} WHERE {condition}{rest}", columns.join(", "), table.name)
}

/// Counts rows.
pub fn count(dialect: &Dialect, side: Side, kind: Kind, span: &Span) -> String {
    format!("SELECT count(*) FROM {} WHERE {}", kind.table(side).name, within(dialect, span))
}

/// Reads the gaps that overlap a span.
pub fn gaps_in(dialect: &Dialect, span: &Span) -> String {
    let moment = dialect.moment;
    format!(
        "SELECT {}, {}, events FROM {} WHERE until >= {} AND since < {} ORDER BY since",
        (dialect.seconds)("since"),
        (dialect.seconds)("until"),
        BASELINE_GAP.name,
        moment(span.since),
        moment(span.until)
    )
}

/// The gaps in a result.
pub fn gaps(span: &Span, result: &QueryResult) -> Vec<Gap> {
    let gap = |row: &Vec<Value>| {
        let number = |at: usize| row.get(at).and_then(Value::as_i64);
        let events = u64::try_from(number(2)?).unwrap_or(0);
        Some(Gap { since: number(0)?, until: number(1)?, events })
    };
    let mut gaps: Vec<_> = result.rows.iter().filter_map(gap).collect();
    if let Some(last) = gaps.last_mut()
        && result.truncated
    {
        // More gaps than fit into one result: extend the last one, so that no event is wrongly
        // reported as missing.
        last.until = span.until;
    }
    gaps
}

/// Reads the first and last time of the baseline, if it has rows.
pub fn extent_of(dialect: &Dialect, kind: Kind) -> String {
    let (at, table) = ((dialect.seconds)("created_at"), kind.table(Side::Baseline).name);
    format!("SELECT min({at}), max({at}) FROM {table} HAVING count(*) > 0")
}

/// The first and last time in a result.
pub fn extent(result: &QueryResult) -> Option<[i64; 2]> {
    let row = result.rows.first()?;
    Some([row.first()?.as_i64()?, row.get(1)?.as_i64()?])
}

fn within(dialect: &Dialect, span: &Span) -> String {
    let moment = dialect.moment;
    let (since, until) = (moment(span.since), moment(span.until));
    let mut condition = format!("created_at >= {since} AND created_at < {until}");
    if let Some(project) = &span.project {
        condition += &format!(" AND project_id = {}", (dialect.text)(project));
    }
    condition
}

/// The condition for rows after a given one. Written out, because not every store can use an index
/// for a comparison of tuples.
fn follows(dialect: &Dialect, kind: Kind, row: &Row) -> String {
    let table = kind.table(Side::Queue);
    let literal = |column: &str| match row.cell(kind, column) {
        Value::String(text) => (dialect.text)(text),
        number => (dialect.moment)(number.as_i64().unwrap_or_default()),
    };
    let mut condition = String::new();
    for column in table.order.iter().rev() {
        let value = literal(column);
        condition = if condition.is_empty() {
            format!("{column} > {value}")
        } else {
            format!("{column} >= {value} AND ({column} > {value} OR ({condition}))")
        };
    }
    condition
}

fn one_of(dialect: &Dialect, keys: &[EventKey], seconds: &[i64]) -> String {
    let list =
        |texts: BTreeSet<&str>| texts.into_iter().map(dialect.text).collect::<Vec<_>>().join(", ");
    let projects = list(keys.iter().map(|key| key.project_id.as_str()).collect());
    let ids = list(keys.iter().map(|key| key.id.as_str()).collect());
    let mut condition = format!("project_id IN ({projects}) AND id IN ({ids})");
    if !seconds.is_empty() {
        let seconds: BTreeSet<_> = seconds.iter().copied().collect();
        let seconds: Vec<_> = seconds.into_iter().map(dialect.moment).collect();
        condition += &format!(" AND timestamp IN ({})", seconds.join(", "));
    }
    condition
}

/// The rows in a result.
pub fn rows(kind: Kind, pick: Pick<'_>, result: QueryResult) -> Result<Rows, StoreError> {
    let width = kind.table(Side::Queue).columns.len();
    if result.columns.len() != width {
        return Err(StoreError::Unavailable("the store returned unexpected columns".to_owned()));
    }
    let mut rows: Vec<_> = result.rows.into_iter().map(|cells| Row { cells }).collect();
    let mut truncated = result.truncated;
    match pick {
        Pick::Span { most, .. } => truncated |= rows.len() >= most,
        Pick::Events { keys, .. } => {
            let keys: HashSet<_> = keys.iter().collect();
            rows.retain(|row| keys.contains(&row.key(kind)));
        }
    }
    Ok(Rows { rows, truncated })
}

/// The single number of a result.
pub fn number(result: &QueryResult) -> Option<i64> {
    result.rows.first()?.first()?.as_i64()
}

/// The count of a result.
pub fn counted(result: &QueryResult) -> Result<u64, StoreError> {
    let count = number(result).and_then(|count| u64::try_from(count).ok());
    count.ok_or_else(|| StoreError::Unavailable("the store returned no count".to_owned()))
}

/// Formats seconds since the epoch as `YYYY-MM-DD HH:MM:SS`.
pub fn moment(seconds: i64) -> String {
    bklit_wire::time::UtcMillis::from_epoch_millis(seconds.saturating_mul(1000)).to_date_time()
}
