//! The columns that the server's tables really have. Existing tables may differ from the schema:
//! for example a text column that is not nullable, an `Enum`, or one that the server computes.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use ::clickhouse::Row;
use serde::Deserialize;

use super::column_type::{self, ServerType};
use super::connection::Connection;
use super::migrate::{DISTRIBUTED, ServerTable, window};
use super::sql;
use bklit_pipeline::store::StoreError;
use bklit_pipeline::store::schema::{ColumnType, Table};

/// The columns of a table that are written, in the order of the schema, and how its inserts are
/// deduplicated.
#[derive(Debug, PartialEq)]
pub(super) struct TableSchema {
    pub(super) columns: Vec<SchemaColumn>,
    /// Whether the server ignores an insert with the token of an earlier one.
    pub(super) remembers_tokens: bool,
    /// Whether a read may be answered by another server than the one that a row was inserted into.
    pub(super) replicated: bool,
    /// Whether the rows are in tables of other servers.
    pub(super) distributed: bool,
    /// Whether times may have fractions of a second.
    pub(super) subseconds: bool,
}

/// A column as it is on the server.
#[derive(Debug, PartialEq)]
pub(super) struct SchemaColumn {
    pub(super) name: &'static str,
    /// The position of its value in a row.
    pub(super) cell: usize,
    /// The type's name, without `Nullable` and `LowCardinality`.
    pub(super) type_name: String,
    pub(super) value: ServerType,
    pub(super) nullable: bool,
    /// Whether the server computes a value for rows without one.
    pub(super) has_default: bool,
    /// Whether a row is complete without it.
    pub(super) optional: bool,
}

/// A row of `system.columns`.
#[derive(Row, Deserialize)]
pub(super) struct ServerColumn {
    pub(super) name: String,
    pub(super) r#type: String,
    /// Empty if the column has no default expression.
    pub(super) default_kind: String,
}

/// Cache of the tables' schemas.
#[derive(Default)]
pub(super) struct TableSchemas(Mutex<HashMap<&'static str, Arc<TableSchema>>>);

impl TableSchemas {
    /// The schema of a table, from the cache if it was read before.
    pub(super) async fn of(
        &self,
        connection: &Connection,
        table: &'static Table,
    ) -> Result<Arc<TableSchema>, StoreError> {
        let known = self.lock().get(table.name).cloned();
        if let Some(schema) = known {
            return Ok(schema);
        }
        let columns = server_columns(connection, table.name).await?;
        let found = server_table(connection, table.name).await?;
        let schema = TableSchema::new(table, found.as_ref(), &columns);
        let schema = Arc::new(schema.map_err(StoreError::Unavailable)?);
        connection.is_replicated.fetch_or(schema.replicated, Relaxed);
        connection.is_distributed.fetch_or(schema.distributed, Relaxed);
        self.lock().insert(table.name, Arc::clone(&schema));
        Ok(schema)
    }

    /// Removes a table from the cache, because it may have been altered.
    pub(super) fn forget(&self, table: &Table) {
        self.lock().remove(table.name);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<&'static str, Arc<TableSchema>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The columns of a table; empty if the table does not exist.
pub(super) async fn server_columns(
    connection: &Connection,
    table: &str,
) -> Result<Vec<ServerColumn>, StoreError> {
    let query = format!(
        "SELECT name, type, default_kind FROM system.columns WHERE database = {} AND table = {}",
        sql::literal(&connection.database),
        sql::literal(table)
    );
    connection.rows(connection.on_server(&query)).await
}

/// The columns of all tables of the database.
pub(super) async fn all_columns(
    connection: &Connection,
) -> Result<HashMap<String, Vec<ServerColumn>>, StoreError> {
    let query = format!(
        "SELECT table, name, type, default_kind FROM system.columns WHERE database = {}",
        sql::literal(&connection.database)
    );
    let mut tables: HashMap<String, Vec<ServerColumn>> = HashMap::new();
    let rows: Vec<TableColumn> = connection.rows(connection.on_server(&query)).await?;
    for TableColumn { table, name, r#type, default_kind } in rows {
        tables.entry(table).or_default().push(ServerColumn { name, r#type, default_kind });
    }
    Ok(tables)
}

#[derive(Row, Deserialize)]
struct TableColumn {
    table: String,
    name: String,
    r#type: String,
    default_kind: String,
}

/// A table; `None` if it does not exist.
async fn server_table(
    connection: &Connection,
    table: &str,
) -> Result<Option<ServerTable>, StoreError> {
    let query = format!(
        "SELECT name, engine, engine_full FROM system.tables WHERE database = {} AND name = {}",
        sql::literal(&connection.database),
        sql::literal(table)
    );
    let tables: Vec<ServerTable> = connection.rows(connection.on_server(&query)).await?;
    Ok(tables.into_iter().next())
}

impl TableSchema {
    pub(super) fn new(
        table: &'static Table,
        server: Option<&ServerTable>,
        found: &[ServerColumn],
    ) -> Result<Self, String> {
        let Some(server) = server.filter(|_| !found.is_empty()) else {
            return Err(format!(
                "ClickHouse has no table {} that this user can see; run `bklit-tui migrate`",
                table.name
            ));
        };
        let mut columns = Vec::with_capacity(table.columns.len());
        for (cell, column) in table.columns.iter().enumerate() {
            let found = found.iter().find(|found| found.name == column.name).ok_or_else(|| {
                format!("{} has no column {}; run `bklit-tui migrate`", table.name, column.name)
            })?;
            if is_computed(found) {
                continue;
            }
            let parsed = column_type::parse(column.kind, &found.r#type).ok_or_else(|| {
                format!(
                    "{}.{} has the type {}, which cannot store a {}",
                    table.name,
                    column.name,
                    found.r#type,
                    type_name(column.kind)
                )
            })?;
            columns.push(SchemaColumn {
                name: column.name,
                cell,
                type_name: parsed.name.to_owned(),
                value: parsed.value,
                nullable: parsed.nullable,
                has_default: found.default_kind == "DEFAULT",
                optional: column.nullable || column.default.is_some(),
            });
        }
        let fraction = |column: &SchemaColumn| matches!(column.value, ServerType::Ticks(1..));
        Ok(Self {
            subseconds: columns.iter().any(fraction),
            columns,
            remembers_tokens: window(server).is_none_or(|window| window > 0),
            replicated: window(server).is_none(),
            distributed: server.engine == DISTRIBUTED,
        })
    }

    /// Whether a text fits into a column. A query that compares the column with one that does not
    /// would fail.
    pub(super) fn fits(&self, name: &str, text: &str) -> bool {
        let column = self.columns.iter().find(|column| column.name == name);
        column.is_none_or(|column| match column.value {
            ServerType::FixedText(length) => text.len() <= length,
            _ => true,
        })
    }

    /// The comma-separated column names for an `INSERT`.
    pub(super) fn column_list(&self) -> String {
        self.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
    }
}

/// Whether the server computes the column's values, so that none can be inserted.
pub(super) fn is_computed(column: &ServerColumn) -> bool {
    ["MATERIALIZED", "ALIAS"].contains(&column.default_kind.as_str())
}

/// ClickHouse's name of a type.
pub(super) fn type_name(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Text => "String",
        ColumnType::DateTime => "DateTime",
        ColumnType::Float64 => "Float64",
        ColumnType::Int32 => "Int32",
        ColumnType::Bool => "Bool",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bklit_pipeline::store::schema::TRACKED_EVENT;

    #[test]
    fn errors_name_the_table_and_column() {
        let column = |name: &str, r#type: &str| ServerColumn {
            name: name.to_owned(),
            r#type: r#type.to_owned(),
            default_kind: String::new(),
        };
        let server = ServerTable {
            name: TRACKED_EVENT.name.to_owned(),
            engine: "MergeTree".to_owned(),
            engine_full: String::new(),
        };
        let schema = |columns: &[_]| TableSchema::new(&TRACKED_EVENT, Some(&server), columns);
        let error = schema(&[]).unwrap_err();
        assert!(error.contains("no table tracked_event") && error.contains("migrate"), "{error}");
        let error = schema(&[column("id", "String")]).unwrap_err();
        assert!(error.contains("no column timestamp"), "{error}");
        let error = schema(&[column("id", "UUID")]).unwrap_err();
        assert!(error.contains("tracked_event.id has the type UUID"), "{error}");
    }
}
