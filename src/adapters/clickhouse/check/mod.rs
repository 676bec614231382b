//! Checks for conditions on the server that could lose events or store them twice.
//!
//! - `replicas`: the state of replicated tables
//! - `access`: settings and permissions of the user
//! - `views`: materialized views

mod access;
mod replicas;
mod views;

use std::time::Duration;

use ::clickhouse::Row;
use serde::Deserialize;
use tokio::net::TcpStream;

use super::migrate::{DEDUPLICATION_WINDOW, DISTRIBUTED, ServerTable, window};
use super::session_state::STATE;
use super::table_schema::{self, ServerColumn};
use super::{ClickHouseStore, column_type, sql};
use bklit_pipeline::store::StoreError;
use bklit_pipeline::store::schema::{TABLES, Table};
use bklit_wire::diagnostic::Diagnostic;
use bklit_wire::duration;
use bklit_wire::numbers::disk_space;
use bklit_wire::time::UtcMillis;

/// The oldest server whose deduplication is known to work as described.
const OLDEST: (u32, u32) = (23, 8);

/// How long establishing a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(800);

/// A disk counts as nearly full when it is below both limits.
const LEAST_FREE_BYTES: u64 = 5 << 30;
const LEAST_FREE_PERCENT: u64 = 10;

/// Parts per partition above which merges are falling behind, and above which the server refuses
/// inserts (its defaults).
const MANY_PARTS: u64 = 300;
const TOO_MANY_PARTS: u64 = 3_000;

const MIGRATE: &str = "run `bklit-tui migrate`";
const MIGRATE_OR_GRANT: &str =
    "run `bklit-tui migrate`, or if it exists, grant the user SELECT and INSERT on it";

#[derive(Row, Deserialize)]
struct Server {
    version: String,
    now: i64,
    zone: String,
}

#[derive(Row, Deserialize)]
struct DiskSpace {
    name: String,
    free: u64,
    total: u64,
}

#[derive(Row, Deserialize)]
struct Parts {
    table: String,
    partition: String,
    parts: u64,
}

impl ClickHouseStore {
    /// Like [`ClickHouseStore::check`], with a finding if that takes too long.
    ///
    /// # Errors
    /// As there.
    pub async fn check_within(&self, limit: Duration) -> Result<Vec<Diagnostic>, StoreError> {
        match tokio::time::timeout(limit, self.check()).await {
            Ok(findings) => findings,
            Err(_) => Ok(vec![self.no_answer(limit).await]),
        }
    }

    /// A service that sleeps accepts connections and answers when it is awake.
    async fn no_answer(&self, limit: Duration) -> Diagnostic {
        let limit = duration::format(limit);
        let connecting = TcpStream::connect(self.connection.address.as_str());
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(_)) => Diagnostic::problem(
                format!("it accepts connections, but did not answer within {limit}"),
                "if it is a service that sleeps when idle, it is waking up now: run doctor again \
                 in a minute; events wait in the queue. Otherwise look into its log",
            ),
            _ => Diagnostic::problem(
                format!("no answer within {limit}"),
                "check that it runs, and clickhouse_url",
            ),
        }
    }

    /// Checks version, clock, tables, disks and parts. Changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the server does not respond.
    pub async fn check(&self) -> Result<Vec<Diagnostic>, StoreError> {
        let query = "SELECT version() AS version, toUnixTimestamp64Milli(now64(3)) AS now, \
                     timezone() AS zone";
        let before = UtcMillis::now().epoch_millis();
        let server: Vec<Server> = self.connection.rows(self.connection.on_server(query)).await?;
        let after = UtcMillis::now().epoch_millis();
        let (mut findings, mut time_zone) = (Vec::new(), String::new());
        for Server { version, now, zone } in server {
            findings.push(version_finding(&version));
            findings.push(Diagnostic::of_clock(now, before, after));
            time_zone = zone;
        }
        findings.extend(access::settings(self).await?);
        // At the same time, because a server may be far away.
        let checks = Box::pin(async {
            tokio::try_join!(
                self.tables_findings(&time_zone),
                views::examine(self),
                replicas::examine(self),
                self.disk_findings(),
                self.part_findings()
            )
        });
        let (tables, views, replicas, disks, parts) = checks.await?;
        findings.extend([tables, views, replicas, disks, parts].into_iter().flatten());
        Ok(findings)
    }

    async fn tables_findings(&self, time_zone: &str) -> Result<Vec<Diagnostic>, StoreError> {
        let names: Vec<_> =
            TABLES.iter().map(|table| table.name).chain(access::OWN_TABLES).collect();
        let (tables, columns) =
            tokio::try_join!(self.server_tables(), table_schema::all_columns(&self.connection))?;
        let columns: Vec<_> =
            names.iter().map(|&name| columns.get(name).map_or(&[][..], Vec::as_slice)).collect();
        let found = |name: &str| tables.iter().find(|found| found.name == name);
        let mut findings = Vec::new();
        for (table, columns) in TABLES.iter().zip(&columns) {
            findings.extend(table_findings(table, found(table.name), columns));
        }
        for name in access::OWN_TABLES {
            findings.extend(match found(name) {
                None => Some(missing(name)),
                Some(found) => (name == STATE).then(|| window_finding(found)),
            });
        }
        let lacks_zone =
            |columns: &[ServerColumn]| columns.iter().any(|column| column.r#type == "DateTime");
        let without_zone = TABLES.iter().zip(&columns).filter(|(_, columns)| lacks_zone(columns));
        let without_zone: Vec<_> = without_zone.map(|(table, _)| table.name).collect();
        findings.extend(zone_finding(time_zone, &without_zone));
        for (name, columns) in names.iter().zip(&columns) {
            findings.extend(access::permissions(self, name, columns).await);
        }
        Ok(findings)
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
            let what = format!("disk {}: {} free", disk.name, disk_space(disk.free));
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

/// A server hides tables from users without permissions on them.
fn missing(table: &str) -> Diagnostic {
    let what = format!("the table {table} is missing or not visible to this user");
    Diagnostic::problem(what, MIGRATE_OR_GRANT)
}

/// This program is independent of the server's time zone, but times as text are not.
fn zone_finding(zone: &str, tables: &[&str]) -> Option<Diagnostic> {
    if tables.is_empty() || ["", "UTC", "Etc/UTC", "GMT", "Universal"].contains(&zone) {
        return None;
    }
    let what = format!(
        "the server's time zone is {zone}, in which other programs' times are understood (in {})",
        tables.join(", ")
    );
    let advice = "if Bklit's own services write to these tables as well, set the server's \
                  <timezone> to UTC, because they write times as text in UTC";
    Some(Diagnostic::warning(what, advice))
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
        return vec![missing(table.name)];
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
        None if found.engine == DISTRIBUTED => Diagnostic::good(format!("{name} is distributed")),
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
