//! Checks for conditions on the server that could lose events or store them twice.

use ::clickhouse::Row;
use serde::Deserialize;

use super::idle_sessions::ACTIVITY;
use super::migrate::{DEDUPLICATION_WINDOW, ServerTable, window};
use super::postponed::POSTPONED;
use super::session_state::STATE;
use super::table_schema::{self, ServerColumn};
use super::{ClickHouseStore, column_type, sql};
use bklit_pipeline::store::StoreError;
use bklit_pipeline::store::schema::{TABLES, Table};
use bklit_wire::diagnostic::Diagnostic;
use bklit_wire::time::UtcMillis;

/// The oldest server whose deduplication is known to work as described.
const OLDEST: (u32, u32) = (23, 3);

/// A disk counts as nearly full when it is below both limits.
const LEAST_FREE_BYTES: u64 = 5 << 30;
const LEAST_FREE_PERCENT: u64 = 10;

/// Parts per partition above which merges are falling behind, and above which the server refuses
/// inserts (its defaults).
const MANY_PARTS: u64 = 300;
const TOO_MANY_PARTS: u64 = 3_000;

/// A regular expression, as a literal: the target of a materialized view, with its database.
const TARGET: &str = r"'\\sTO\\s((?:`[^`]+`|\\w+)\\.(?:`[^`]+`|\\w+))'";

const MIGRATE: &str = "run `bklit-tui migrate`";

#[derive(Row, Deserialize)]
struct Server {
    version: String,
    now: i64,
}

#[derive(Row, Deserialize)]
struct DiskSpace {
    name: String,
    free: u64,
    total: u64,
}

#[derive(Row, Deserialize)]
struct BrokenView {
    view: String,
    target: String,
}

#[derive(Row, Deserialize)]
struct Parts {
    table: String,
    partition: String,
    parts: u64,
}

impl ClickHouseStore {
    /// Checks version, clock, tables, disks and parts. Changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the server does not respond.
    pub async fn check(&self) -> Result<Vec<Diagnostic>, StoreError> {
        let query = "SELECT version() AS version, toUnixTimestamp64Milli(now64(3)) AS now";
        let before = UtcMillis::now().epoch_millis();
        let server: Vec<Server> = self.connection.rows(self.connection.on_server(query)).await?;
        let after = UtcMillis::now().epoch_millis();
        let mut findings = Vec::new();
        for Server { version, now } in server {
            findings.push(version_finding(&version));
            findings.push(Diagnostic::of_clock(now, before, after));
        }
        let tables = self.server_tables().await?;
        for table in TABLES {
            let found = tables.iter().find(|found| found.name == table.name);
            let columns = table_schema::server_columns(&self.connection, table.name).await?;
            findings.extend(table_findings(table, found, &columns));
        }
        findings.push(match tables.iter().find(|found| found.name == STATE) {
            None => Diagnostic::problem(format!("the table {STATE} is missing"), MIGRATE),
            Some(found) => window_finding(found),
        });
        for table in [ACTIVITY, POSTPONED] {
            if tables.iter().all(|found| found.name != table) {
                let what = format!("the table {table} is missing");
                findings.push(Diagnostic::problem(what, MIGRATE));
            }
        }
        findings.extend(self.view_findings().await?);
        findings.extend(self.disk_findings().await?);
        findings.extend(self.part_findings().await?);
        Ok(findings)
    }

    /// Materialized views whose target does not exist: each insert into the table that they read fails.
    async fn view_findings(&self) -> Result<Vec<Diagnostic>, StoreError> {
        let query = format!(
            "SELECT concat(database, '.', name) AS view, \
             replaceAll(extract(create_table_query, {TARGET}), '`', '') AS target \
             FROM system.tables WHERE database = {} AND engine = 'MaterializedView' \
             AND target != '' AND target NOT IN \
             (SELECT concat(database, '.', name) FROM system.tables)",
            sql::literal(&self.connection.database)
        );
        let views = self.connection.rows::<BrokenView>(self.connection.on_server(&query)).await;
        let broken = known(views)?.unwrap_or_default().into_iter();
        let broken = broken.map(|BrokenView { view, target }| {
            let what = format!(
                "the materialized view {view} writes to {target}, which does not exist: inserts \
                 into the table that it reads fail"
            );
            let advice = format!("create {target} again, or drop the view: `DROP VIEW {view}`");
            Diagnostic::problem(what, advice)
        });
        Ok(broken.collect())
    }

    async fn disk_findings(&self) -> Result<Vec<Diagnostic>, StoreError> {
        let query = "SELECT name, free_space AS free, total_space AS total FROM system.disks";
        let disks = self.connection.rows::<DiskSpace>(self.connection.on_server(query)).await;
        let Some(disks) = known(disks)? else { return Ok(vec![not_known("its disk space")]) };
        let short = |disk: &DiskSpace| {
            disk.free < LEAST_FREE_BYTES
                && u128::from(disk.free) * 100
                    < u128::from(disk.total) * u128::from(LEAST_FREE_PERCENT)
        };
        let short = disks.into_iter().filter(short).map(|disk| {
            let what = format!("its disk {} has {} MiB left", disk.name, disk.free >> 20);
            Diagnostic::warning(
                what,
                "free disk space; when the disk is full, events stay in the queue",
            )
        });
        Ok(short.collect())
    }

    async fn part_findings(&self) -> Result<Vec<Diagnostic>, StoreError> {
        let query = format!(
            "SELECT table, partition, count() AS parts FROM system.parts \
             WHERE active AND database = {} GROUP BY table, partition HAVING parts > {MANY_PARTS}",
            sql::literal(&self.connection.database)
        );
        let parts = self.connection.rows::<Parts>(self.connection.on_server(&query)).await;
        let Some(parts) = known(parts)? else {
            return Ok(vec![not_known("how many parts it has")]);
        };
        let many = parts.into_iter().map(|Parts { table, partition, parts }| {
            let what = format!("{table} has {parts} parts in the partition {partition}");
            let advice =
                "raise worker.batch_wait, so that batches are larger, and check that merges are running";
            match parts {
                TOO_MANY_PARTS.. => Diagnostic::problem(what, advice),
                _ => Diagnostic::warning(what, advice),
            }
        });
        Ok(many.collect())
    }
}

/// The rows; `None` if the user may not read them.
fn known<T>(rows: Result<Vec<T>, StoreError>) -> Result<Option<Vec<T>>, StoreError> {
    match rows {
        Ok(rows) => Ok(Some(rows)),
        Err(error) if error.to_string().contains("ACCESS_DENIED") => Ok(None),
        Err(error) => Err(error),
    }
}

fn not_known(what: &str) -> Diagnostic {
    Diagnostic::warning(
        format!("{what} is unknown"),
        "allow the user to SELECT from system.disks and system.parts",
    )
}

fn version_finding(version: &str) -> Diagnostic {
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().ok());
    let number = numbers.next().flatten().zip(numbers.next().flatten());
    if number.is_some_and(|number| number < OLDEST) {
        let advice = format!("upgrade to {}.{} or later", OLDEST.0, OLDEST.1);
        return Diagnostic::warning(format!("ClickHouse {version} is old"), advice);
    }
    Diagnostic::good(format!("ClickHouse {version}"))
}

fn table_findings(
    table: &Table,
    found: Option<&ServerTable>,
    columns: &[ServerColumn],
) -> Vec<Diagnostic> {
    let Some(found) = found else {
        return vec![Diagnostic::problem(format!("the table {} is missing", table.name), MIGRATE)];
    };
    let mut findings = Vec::new();
    for column in table.columns {
        match columns.iter().find(|known| known.name == column.name) {
            None => {
                let what = format!("{} has no column {}", table.name, column.name);
                findings.push(Diagnostic::problem(what, MIGRATE));
            }
            Some(known)
                if !table_schema::is_computed(known)
                    && column_type::parse(column.kind, &known.r#type).is_none() =>
            {
                let what = format!("{}.{} has the type {}", table.name, column.name, known.r#type);
                let advice = format!("it must be a {}", table_schema::type_name(column.kind));
                findings.push(Diagnostic::problem(what, advice));
            }
            Some(_) => {}
        }
    }
    findings.push(window_finding(found));
    findings
}

fn window_finding(found: &ServerTable) -> Diagnostic {
    let name = &found.name;
    match window(found) {
        None => Diagnostic::good(format!("{name} is replicated")),
        Some(0) => {
            let what =
                format!("{name} remembers no insert tokens, so a repeat may be stored twice");
            Diagnostic::problem(what, MIGRATE)
        }
        Some(window) if window < DEDUPLICATION_WINDOW => {
            Diagnostic::warning(format!("{name} remembers only {window} insert tokens"), MIGRATE)
        }
        Some(window) => Diagnostic::good(format!("{name} remembers {window} insert tokens")),
    }
}
