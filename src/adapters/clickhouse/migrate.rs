//! Creates the tables, and upgrades existing ones.

use ::clickhouse::Row;
use serde::Deserialize;

use super::idle_sessions::{ACTIVITY, ACTIVITY_DAYS};
use super::session_state::{STATE, STATE_COLUMNS};
use super::table_schema::{self, ServerColumn};
use super::{ClickHouseStore, sql};
use bklit_pipeline::store::StoreError;
use bklit_pipeline::store::schema::{
    BASELINE_GAP, BASELINE_TABLES, Column, ColumnType, TABLES, Table,
};

/// Insert tokens that a table remembers. A batch needs one per partition; this many last for an
/// outage of hours.
pub(super) const DEDUPLICATION_WINDOW: u64 = 10_000;

pub(super) const WINDOW_SETTING: &str = "non_replicated_deduplication_window";

/// The engine of tables whose rows are in tables of other servers.
pub(super) const DISTRIBUTED: &str = "Distributed";

/// Days that a session's state is kept after its last event.
const STATE_DAYS: u32 = 30;

/// A row of `system.tables`.
#[derive(Row, Deserialize)]
pub(super) struct ServerTable {
    pub(super) name: String,
    pub(super) engine: String,
    pub(super) engine_full: String,
}

impl ClickHouseStore {
    /// Creates missing tables and upgrades existing ones; with `dry_run` nothing is changed.
    /// Returns the statements.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], also if the user lacks a permission; [`StoreError::Refused`] if
    /// an existing table has an unsuitable engine, or if a missing one has to be replicated.
    pub async fn migrate(&self, dry_run: bool) -> Result<Vec<String>, StoreError> {
        let statements = self.plan().await?;
        let tables = self.server_tables().await?;
        // Replicas alter a replicated table together, but neither new nor distributed ones.
        let is_distributed = tables.iter().any(|found| found.engine == DISTRIBUTED);
        let is_for_all = |statement: &String| is_distributed || creates(statement);
        if is_cluster(&tables) && statements.iter().any(is_for_all) {
            let reason = "the tables are on several servers: run `bklit-tui migrate --cluster NAME`, \
                          with a name in system.clusters";
            return Err(StoreError::Refused(reason.to_owned()));
        }
        self.run(&statements, dry_run).await?;
        Ok(statements)
    }

    /// Runs the statements, unless `dry_run`.
    pub(super) async fn run(&self, statements: &[String], dry_run: bool) -> Result<(), StoreError> {
        if !dry_run {
            for statement in statements {
                self.connection.execute(self.connection.on_server(statement)).await?;
            }
            self.forget_schemas();
        }
        Ok(())
    }

    /// Creates the database and missing tables without changing existing ones. Returns the
    /// statements that would upgrade those.
    ///
    /// # Errors
    /// See [`ClickHouseStore::migrate`].
    pub async fn create_missing(&self) -> Result<Vec<String>, StoreError> {
        let statements = self.plan().await?;
        if is_cluster(&self.server_tables().await?) {
            // A table that is created on this server only would be missing on the others.
            return Ok(statements);
        }
        let (create, upgrade): (Vec<_>, Vec<_>) =
            statements.into_iter().partition(|statement| creates(statement));
        for statement in &create {
            self.connection.execute(self.connection.on_server(statement)).await?;
        }
        self.forget_schemas();
        Ok(upgrade)
    }

    fn forget_schemas(&self) {
        let baseline = BASELINE_TABLES.iter().map(|(table, _)| table);
        TABLES
            .iter()
            .chain(baseline)
            .chain([&&BASELINE_GAP])
            .for_each(|table| self.schemas.forget(table));
    }

    pub(super) async fn plan(&self) -> Result<Vec<String>, StoreError> {
        let mut statements = Vec::new();
        let database = &self.connection.database;
        let query =
            format!("SELECT name FROM system.databases WHERE name = {}", sql::literal(database));
        let databases: Vec<String> =
            self.connection.rows(self.connection.on_server(&query)).await?;
        if databases.is_empty() {
            statements.push(format!("CREATE DATABASE IF NOT EXISTS {}", sql::name(database)));
        }
        let tables = self.server_tables().await?;
        for table in TABLES {
            match tables.iter().find(|found| found.name == table.name) {
                None => statements.push(create(database, table)),
                Some(found) => {
                    let columns =
                        table_schema::server_columns(&self.connection, table.name).await?;
                    statements.extend(upgrade(database, table, found, &columns)?);
                }
            }
        }
        match tables.iter().find(|found| found.name == STATE) {
            None => statements.push(create_state(database)),
            Some(found) => statements.extend(widen(database, found)),
        }
        if tables.iter().all(|found| found.name != ACTIVITY) {
            statements.push(create_activity(database));
        }
        if self.baseline && tables.iter().all(|found| found.name != BASELINE_GAP.name) {
            statements.push(create(database, &BASELINE_GAP));
        }
        for (table, of) in BASELINE_TABLES {
            match tables.iter().find(|found| found.name == table.name) {
                None if self.baseline => statements.push(create_baseline(database, table, of)),
                None => {}
                Some(found) => {
                    let columns =
                        table_schema::server_columns(&self.connection, table.name).await?;
                    statements.extend(upgrade(database, table, found, &columns)?);
                }
            }
        }
        Ok(statements)
    }

    /// The tables of the database.
    pub(super) async fn server_tables(&self) -> Result<Vec<ServerTable>, StoreError> {
        let query = format!(
            "SELECT name, engine, engine_full FROM system.tables WHERE database = {}",
            sql::literal(&self.connection.database)
        );
        self.connection.rows(self.connection.on_server(&query)).await
    }
}

/// Whether tables have to be created on several servers. ClickHouse Cloud does that on its own.
fn is_cluster(tables: &[ServerTable]) -> bool {
    let mut replicated = tables.iter().filter(|found| window(found).is_none());
    replicated.any(|found| !found.engine.starts_with("Shared"))
}

fn creates(statement: &str) -> bool {
    statement.starts_with("CREATE ")
}

/// The table name qualified with its database.
fn full(database: &str, table: &str) -> String {
    format!("{}.{}", sql::name(database), sql::name(table))
}

fn create(database: &str, table: &Table) -> String {
    let columns: Vec<_> = table.columns.iter().map(definition).collect();
    format!(
        "CREATE TABLE IF NOT EXISTS {} (\n    {}\n) {}",
        full(database, table.name),
        columns.join(",\n    "),
        engine(table)
    )
}

/// Copies the columns of the original table as they really are: even if these differ from the
/// schema, an event must be the same row on both sides.
fn create_baseline(database: &str, table: &Table, of: &Table) -> String {
    let (table_name, of) = (full(database, table.name), full(database, of.name));
    format!("CREATE TABLE IF NOT EXISTS {table_name} AS {of}\n{}", engine(table))
}

fn engine(table: &Table) -> String {
    format!(
        "ENGINE = MergeTree\nPARTITION BY toYYYYMM({})\n\
         ORDER BY ({})\nSETTINGS {WINDOW_SETTING} = {DEDUPLICATION_WINDOW}",
        partitioned_by(table),
        table.order.join(", ")
    )
}

/// The column that determines a row's month.
fn partitioned_by(table: &Table) -> &'static str {
    let moment = table.order.iter().find(|name| {
        let mut columns = table.columns.iter();
        columns.any(|column| column.name == **name && column.kind == ColumnType::DateTime)
    });
    moment.copied().unwrap_or("timestamp")
}

fn create_state(database: &str) -> String {
    let columns = STATE_COLUMNS
        .iter()
        .map(|(name, fold, kind)| format!("{name} SimpleAggregateFunction({fold}, {kind})"));
    let columns: Vec<_> = ["project_id String".to_owned(), "session_id String".to_owned()]
        .into_iter()
        .chain(columns)
        .chain(["touched SimpleAggregateFunction(max, DateTime) DEFAULT now()".to_owned()])
        .collect();
    // Sessions are looked up by id, a few thousand at a time: with small granules a lookup does not
    // read the whole table.
    format!(
        "CREATE TABLE IF NOT EXISTS {} (\n    {}\n) ENGINE = AggregatingMergeTree\n\
         ORDER BY (project_id, session_id)\nTTL touched + INTERVAL {STATE_DAYS} DAY\n\
         SETTINGS index_granularity = 512, {WINDOW_SETTING} = {DEDUPLICATION_WINDOW}",
        full(database, STATE),
        columns.join(",\n    ")
    )
}

/// Duplicate rows do no harm here, so the table needs no tokens.
fn create_activity(database: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (\n    seen Int64,\n    project_id String,\n    \
         session_id String,\n    touched DateTime DEFAULT now()\n) ENGINE = MergeTree\n\
         PARTITION BY toYYYYMMDD(touched)\nORDER BY seen\n\
         TTL touched + INTERVAL {ACTIVITY_DAYS} DAY\nSETTINGS ttl_only_drop_parts = 1",
        full(database, ACTIVITY)
    )
}

fn definition(column: &Column) -> String {
    let kind = table_schema::type_name(column.kind);
    let kind = if column.nullable { format!("Nullable({kind})") } else { kind.to_owned() };
    let default = column.default.map(|value| format!(" DEFAULT {value}")).unwrap_or_default();
    format!("{} {kind}{default}", column.name)
}

/// The statements that bring an existing table up to date.
fn upgrade(
    database: &str,
    table: &Table,
    found: &ServerTable,
    columns: &[ServerColumn],
) -> Result<Vec<String>, StoreError> {
    if !found.engine.ends_with("MergeTree") && found.engine != DISTRIBUTED {
        return Err(StoreError::Refused(format!(
            "{} is a {}, but only tables of the MergeTree family deduplicate inserts",
            full(database, table.name),
            found.engine
        )));
    }
    let missing =
        table.columns.iter().filter(|column| columns.iter().all(|known| known.name != column.name));
    let add = missing.map(|column| {
        let table = full(database, table.name);
        format!("ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {}", definition(column))
    });
    Ok(add.chain(defaults(database, table, columns)).chain(widen(database, found)).collect())
}

/// Adds the defaults that existing columns lack; the rows stay as they are.
fn defaults(
    database: &str,
    table: &Table,
    columns: &[ServerColumn],
) -> impl Iterator<Item = String> {
    let table_name = full(database, table.name);
    table.columns.iter().filter_map(move |column| {
        let default = column.default?;
        let found = columns.iter().find(|found| found.name == column.name)?;
        found.default_kind.is_empty().then(|| {
            format!(
                "ALTER TABLE {table_name} MODIFY COLUMN {} {} DEFAULT {default}",
                column.name, found.r#type
            )
        })
    })
}

/// Enlarges the deduplication window if it is too small.
fn widen(database: &str, found: &ServerTable) -> Option<String> {
    let window = window(found)?;
    (window < DEDUPLICATION_WINDOW).then(|| {
        format!(
            "ALTER TABLE {} MODIFY SETTING {WINDOW_SETTING} = {DEDUPLICATION_WINDOW}",
            full(database, &found.name)
        )
    })
}

/// How many tokens a table remembers; `None` for replicated tables, where other settings apply.
pub(super) fn window(found: &ServerTable) -> Option<u64> {
    if ["Replicated", "Shared", DISTRIBUTED].iter().any(|kind| found.engine.starts_with(kind)) {
        return None;
    }
    let setting = found.engine_full.split_once(WINDOW_SETTING);
    let value = setting.and_then(|(_, rest)| rest.split_once('=')).map(|(_, value)| value.trim());
    let digits = value.map(|value| {
        let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
        value.get(..end).unwrap_or_default()
    });
    // The server's default is zero.
    Some(digits.and_then(|digits| digits.parse().ok()).unwrap_or(0))
}
