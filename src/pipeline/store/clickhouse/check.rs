//! What about the server endangers the promise that nothing is lost and nothing stored twice.

use ::clickhouse::Row;
use serde::Deserialize;

use super::ClickHouseStore;
use super::migrate::{DEDUPLICATION_WINDOW, ServerTable, window};
use super::sessions::STATE;
use super::shape::{self, ServerColumn};
use crate::pipeline::store::StoreError;
use crate::pipeline::store::schema::{TABLES, Table};
use crate::pipeline::time::UtcMillis;

/// The oldest server whose deduplication is known to work as described.
const OLDEST: (u32, u32) = (23, 3);

/// How far the clocks may be apart.
const SKEW_MILLIS: i64 = 2_000;

const MIGRATE: &str = "run `bklit-tui migrate`";

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Good,
    /// Works, and should be looked at.
    Warning,
    /// Events cannot be stored, or the promise does not hold.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was found.
    pub what: String,
    /// What to do about it; empty when there is nothing to do.
    pub advice: String,
}

#[derive(Row, Deserialize)]
struct Server {
    version: String,
    now: i64,
}

impl Finding {
    fn good(what: String) -> Self {
        Self { severity: Severity::Good, what, advice: String::new() }
    }

    fn warning(what: String, advice: &str) -> Self {
        Self { severity: Severity::Warning, what, advice: advice.to_owned() }
    }

    fn problem(what: String, advice: &str) -> Self {
        Self { severity: Severity::Problem, what, advice: advice.to_owned() }
    }
}

impl ClickHouseStore {
    /// Looks at version, clock and tables.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the server does not answer.
    pub async fn check(&self) -> Result<Vec<Finding>, StoreError> {
        let query = "SELECT version() AS version, toUnixTimestamp64Milli(now64(3)) AS now";
        let before = UtcMillis::now().epoch_millis();
        let server: Vec<Server> = self.connection.rows(self.connection.on_server(query)).await?;
        let after = UtcMillis::now().epoch_millis();
        let mut findings = Vec::new();
        for Server { version, now } in server {
            findings.push(version_finding(&version));
            findings.push(clock_finding(now, before, after));
        }
        let tables = self.server_tables().await?;
        for table in TABLES {
            let found = tables.iter().find(|found| found.name == table.name);
            let columns = shape::server_columns(&self.connection, table.name).await?;
            findings.extend(table_findings(table, found, &columns));
        }
        findings.push(match tables.iter().find(|found| found.name == STATE) {
            None => Finding::problem(format!("the table {STATE} is missing"), MIGRATE),
            Some(found) => window_finding(found),
        });
        Ok(findings)
    }
}

fn version_finding(version: &str) -> Finding {
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().ok());
    let number = numbers.next().flatten().zip(numbers.next().flatten());
    if number.is_some_and(|number| number < OLDEST) {
        let advice = format!("upgrade to {}.{} or later", OLDEST.0, OLDEST.1);
        return Finding::warning(format!("ClickHouse {version} is old"), &advice);
    }
    Finding::good(format!("ClickHouse {version}"))
}

fn clock_finding(now: i64, before: i64, after: i64) -> Finding {
    let skew = if now < before { now - before } else { (now - after).max(0) };
    if skew.abs() > SKEW_MILLIS {
        let direction = if skew > 0 { "ahead of" } else { "behind" };
        return Finding::warning(
            format!("its clock is {:.1} s {direction} ours", skew.abs() as f64 / 1000.0),
            "run NTP on both machines",
        );
    }
    Finding::good("its clock agrees with ours".to_owned())
}

fn table_findings(
    table: &Table,
    found: Option<&ServerTable>,
    columns: &[ServerColumn],
) -> Vec<Finding> {
    let Some(found) = found else {
        return vec![Finding::problem(format!("the table {} is missing", table.name), MIGRATE)];
    };
    let mut findings = Vec::new();
    for column in table.columns {
        match columns.iter().find(|known| known.name == column.name) {
            None => {
                let what = format!("{} has no column {}", table.name, column.name);
                findings.push(Finding::problem(what, MIGRATE));
            }
            Some(known) if shape::fits(column.kind, &known.r#type).is_none() => {
                let what = format!("{}.{} has the type {}", table.name, column.name, known.r#type);
                let advice = format!("it must be a {}", shape::type_name(column.kind));
                findings.push(Finding::problem(what, &advice));
            }
            Some(_) => {}
        }
    }
    findings.push(window_finding(found));
    findings
}

fn window_finding(found: &ServerTable) -> Finding {
    let name = &found.name;
    match window(found) {
        None => Finding::good(format!("{name} is replicated")),
        Some(0) => {
            let what =
                format!("{name} remembers no insert tokens, so a repeat may be stored twice");
            Finding::problem(what, MIGRATE)
        }
        Some(window) if window < DEDUPLICATION_WINDOW => {
            Finding::warning(format!("{name} remembers only {window} insert tokens"), MIGRATE)
        }
        Some(window) => Finding::good(format!("{name} remembers {window} insert tokens")),
    }
}
