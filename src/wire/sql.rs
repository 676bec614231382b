//! Queries that operators run on the store: the JSON of `/api/sql…`, the bounds, and results as text.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The longest query, in bytes.
pub const MAX_QUERY: usize = 64 << 10;
/// The longest id of a query, in bytes.
pub const MAX_QUERY_ID: usize = 64;
/// The most rows of a result; the rest is cut off.
pub const MAX_ROWS: usize = 1_000;
/// The size of a result above which the rest is cut off, in bytes.
pub const MAX_BYTES: u64 = 8 << 20;
/// How long a query may run before the store stops it.
pub const TIME_LIMIT: Duration = Duration::from_secs(10);

/// What stores the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// The embedded store.
    Sqlite,
    /// A ClickHouse server.
    Clickhouse,
}

impl Engine {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Clickhouse => "clickhouse",
        }
    }
}

/// The body of `POST /api/sql`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqlRequest {
    /// One read-only statement.
    pub query: String,
    /// A name for the query, by which it can be stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl SqlRequest {
    /// A request with an id of its own.
    pub fn new(query: &str) -> Self {
        Self { query: query.to_owned(), id: Some(uuid::Uuid::now_v7().simple().to_string()) }
    }
}

/// The body of `POST /api/sql/stop`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopSql {
    /// The query's id, as in its [`SqlRequest`].
    pub id: String,
}

/// The response to [`StopSql`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoppedSql {
    /// Whether the query was running.
    pub stopped: bool,
}

/// The rows that a query has found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QueryResult {
    /// Column names; some may be the same.
    pub columns: Vec<String>,
    /// Rows, each as wide as `columns`; scalars only.
    pub rows: Vec<Vec<Value>>,
    /// Whether there were more rows than the limits allow.
    pub truncated: bool,
}

/// The response to [`SqlRequest`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SqlAnswer {
    /// What it has found.
    #[serde(flatten)]
    pub result: QueryResult,
    /// How long it ran, in milliseconds.
    pub elapsed_ms: u64,
}

/// What can be queried: the JSON of `GET /api/sql/schema`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlSchema {
    /// The store, which determines the dialect.
    pub engine: Engine,
    /// The tables and views.
    pub tables: Vec<SqlTable>,
}

/// A table or view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlTable {
    /// Its name.
    pub name: String,
    /// Its columns, in order.
    pub columns: Vec<SqlColumn>,
}

/// A column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlColumn {
    /// Its name.
    pub name: String,
    /// Its type, as the store names it.
    pub r#type: String,
}

/// A value as text.
pub fn cell(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => "NULL".into(),
        Value::String(text) => text.into(),
        other => other.to_string().into(),
    }
}

/// Numbers repeated column names: as fields of an object they would overwrite each other.
pub fn unique(columns: &[String]) -> Vec<String> {
    let mut taken = HashSet::with_capacity(columns.len());
    // The number to try next for a repeated name.
    let mut next: HashMap<&str, usize> = HashMap::new();
    let names = columns.iter().map(|column| {
        let mut name = column.clone();
        while !taken.insert(name.clone()) {
            let number = next.entry(column).or_insert(2);
            name = format!("{column}_{number}");
            *number += 1;
        }
        name
    });
    names.collect()
}

/// A row as a JSON object with its fields in column order; `names` as [`unique`] returns them.
pub fn row_json(names: &[String], row: &[Value]) -> String {
    let mut json = Vec::new();
    let mut serializer = serde_json::Serializer::new(&mut json);
    let write = |serializer: &mut serde_json::Serializer<_>| {
        let mut object = serializer.serialize_map(Some(row.len()))?;
        for (name, value) in names.iter().zip(row) {
            object.serialize_entry(name, value)?;
        }
        object.end()
    };
    // Texts and scalars always serialise, and writing to memory cannot fail.
    let _: Result<(), serde_json::Error> = write(&mut serializer);
    String::from_utf8_lossy(&json).into_owned()
}

/// What is wrong with a query before it is run; `None` if nothing is known to be.
pub fn query_problem(query: &str) -> Option<String> {
    if query.trim().is_empty() {
        return Some("must not be empty".to_owned());
    }
    // Stores would take it for the end of the query.
    if query.contains('\0') {
        return Some("must not contain the character NUL".to_owned());
    }
    (query.len() > MAX_QUERY).then(|| format!("longer than {MAX_QUERY} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_keep_all_columns_in_order() {
        let columns = ["z", "a", "z", "z_2"].map(str::to_owned);
        let names = unique(&columns);
        assert_eq!(names, ["z", "a", "z_2", "z_2_2"]);
        let row = [json!(1), Value::Null, json!("x\u{9b}\""), json!(1.5)];
        assert_eq!(
            row_json(&names, &row),
            "{\"z\":1,\"a\":null,\"z_2\":\"x\u{9b}\\\"\",\"z_2_2\":1.5}"
        );
        assert_eq!(row.iter().map(cell).collect::<Vec<_>>(), ["1", "NULL", "x\u{9b}\"", "1.5"]);
    }

    #[test]
    fn many_equal_names_are_numbered_at_once() {
        let columns = ["n", "n_2", "m"].into_iter().cycle().take(30_000).map(str::to_owned);
        let columns: Vec<_> = columns.collect();
        let names = unique(&columns);
        assert_eq!(names[..7], ["n", "n_2", "m", "n_3", "n_2_2", "m_2", "n_4"]);
        assert_eq!(names.iter().collect::<std::collections::HashSet<_>>().len(), columns.len());
    }

    #[test]
    fn an_answer_is_one_flat_object() {
        let result = QueryResult {
            columns: vec!["n".to_owned()],
            rows: vec![vec![json!(u64::MAX)]],
            truncated: false,
        };
        let answer = SqlAnswer { result, elapsed_ms: 3 };
        let json = serde_json::to_value(&answer).unwrap();
        let expected = json!({
            "columns": ["n"], "rows": [[u64::MAX]], "truncated": false, "elapsedMs": 3,
        });
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_value::<SqlAnswer>(json).unwrap(), answer);
    }

    #[test]
    fn queries_have_a_bound() {
        assert_eq!(query_problem("SELECT 1"), None);
        assert_eq!(query_problem(&"x".repeat(MAX_QUERY)), None);
        assert!(query_problem(" \n").is_some());
        assert!(query_problem("SELECT 1 \0 FROM t").is_some());
        assert!(query_problem(&"x".repeat(MAX_QUERY + 1)).unwrap().contains("65536"));
    }
}
