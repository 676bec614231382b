//! The columns that the server's tables really have. Existing tables may differ from the schema
//! where no data is lost: for example a text column that is not nullable, or a `LowCardinality`
//! text.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ::clickhouse::Row;
use serde::Deserialize;

use super::connection::Connection;
use super::sql;
use bklit_pipeline::store::StoreError;
use bklit_pipeline::store::schema::{ColumnType, Table};

/// A table's columns, in the order of the schema.
#[derive(Debug, PartialEq)]
pub(super) struct TableSchema {
    pub(super) columns: Vec<SchemaColumn>,
}

/// A column as it is on the server.
#[derive(Debug, PartialEq)]
pub(super) struct SchemaColumn {
    pub(super) name: &'static str,
    pub(super) type_name: String,
    pub(super) kind: ColumnType,
    pub(super) nullable: bool,
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
        let schema = Arc::new(TableSchema::new(table, &columns).map_err(StoreError::Unavailable)?);
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

impl TableSchema {
    pub(super) fn new(table: &'static Table, found: &[ServerColumn]) -> Result<Self, String> {
        if found.is_empty() {
            return Err(format!("ClickHouse has no table {}; run `bklit-tui migrate`", table.name));
        }
        let columns = table.columns.iter().map(|column| {
            let found = found.iter().find(|found| found.name == column.name).ok_or_else(|| {
                format!("{} has no column {}; run `bklit-tui migrate`", table.name, column.name)
            })?;
            let nullable = fits(column.kind, &found.r#type).ok_or_else(|| {
                format!(
                    "{}.{} has the type {}, which cannot store a {}",
                    table.name,
                    column.name,
                    found.r#type,
                    type_name(column.kind)
                )
            })?;
            let type_name = found.r#type.clone();
            Ok(SchemaColumn { name: column.name, type_name, kind: column.kind, nullable })
        });
        Ok(Self { columns: columns.collect::<Result<_, String>>()? })
    }

    /// The comma-separated column names for an `INSERT`.
    pub(super) fn column_list(&self) -> String {
        self.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
    }
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

/// Whether a column of this type is encoded like `kind`; if so, `Some(nullable)`.
pub(super) fn fits(kind: ColumnType, type_name: &str) -> Option<bool> {
    let inner = |outer: &str, name: &str| -> Option<String> {
        Some(name.strip_prefix(outer)?.strip_prefix('(')?.strip_suffix(')')?.to_owned())
    };
    let plain = inner("LowCardinality", type_name).unwrap_or_else(|| type_name.to_owned());
    let value = inner("Nullable", &plain);
    let nullable = value.is_some();
    let value = value.unwrap_or(plain);
    let fits = match kind {
        ColumnType::Text => value == "String",
        ColumnType::DateTime => value == "DateTime" || value.starts_with("DateTime("),
        ColumnType::Float64 => value == "Float64",
        ColumnType::Int32 => value == "Int32",
        ColumnType::Bool => value == "Bool" || value == "UInt8",
    };
    fits.then_some(nullable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bklit_pipeline::store::schema::TRACKED_EVENT;

    #[test]
    fn types_with_the_same_encoding_are_compatible() {
        use ColumnType::{Bool, DateTime, Text};
        assert_eq!(fits(Text, "String"), Some(false));
        assert_eq!(fits(Text, "LowCardinality(Nullable(String))"), Some(true));
        assert_eq!(fits(DateTime, "DateTime('Europe/Oslo')"), Some(false));
        assert_eq!(fits(DateTime, "DateTime64(3)"), None);
        assert_eq!(fits(Bool, "Nullable(UInt8)"), Some(true));
        assert_eq!(fits(Text, "UUID"), None);
    }

    #[test]
    fn errors_name_the_table_and_column() {
        let column = |name: &str, r#type: &str| ServerColumn {
            name: name.to_owned(),
            r#type: r#type.to_owned(),
            default_kind: String::new(),
        };
        let error = TableSchema::new(&TRACKED_EVENT, &[]).unwrap_err();
        assert!(error.contains("no table tracked_event") && error.contains("migrate"), "{error}");
        let error = TableSchema::new(&TRACKED_EVENT, &[column("id", "String")]).unwrap_err();
        assert!(error.contains("no column timestamp"), "{error}");
        let error = TableSchema::new(&TRACKED_EVENT, &[column("id", "UUID")]).unwrap_err();
        assert!(error.contains("tracked_event.id has the type UUID"), "{error}");
    }
}
