//! Materialized views that stop inserts, fail, or count repeated rows twice.

use ::clickhouse::Row;
use serde::Deserialize;

use super::known;
use crate::clickhouse::migrate::{DEDUPLICATION_WINDOW, ServerTable, WINDOW_SETTING, window};
use crate::clickhouse::{ClickHouseStore, sql};
use bklit_pipeline::store::StoreError;
use bklit_pipeline::store::schema::TABLES;
use bklit_wire::diagnostic::Diagnostic;

/// A regular expression, as a literal: the target of a materialized view, with its database.
const TARGET: &str = r"'\\sTO\\s((?:`[^`]+`|\\w+)\\.(?:`[^`]+`|\\w+))'";

/// A view, and its target if that has a name.
#[derive(Row, Deserialize)]
struct View {
    view: String,
    target: String,
    /// The target's engine; empty if it does not exist.
    engine: String,
    engine_full: String,
    /// Whether it is on one of our tables.
    is_ours: bool,
}

/// Failures of a view, which the server logs.
#[derive(Row, Deserialize)]
struct Failures {
    view: String,
    failures: u64,
    reason: String,
}

/// Checks the materialized views on the tables.
pub(super) async fn examine(store: &ClickHouseStore) -> Result<Vec<Diagnostic>, StoreError> {
    let connection = &store.connection;
    let database = sql::literal(&connection.database);
    let tables = sql::list(TABLES.iter().map(|table| table.name));
    let query = format!(
        "SELECT v.view AS view, v.target AS target, t.engine AS engine, \
         t.engine_full AS engine_full, (v.database, v.name) IN (\
         SELECT arrayJoin(arrayZip(dependencies_database, dependencies_table)) \
         FROM system.tables WHERE database = {database} AND name IN ({tables})) AS is_ours \
         FROM (SELECT database, name, concat(database, '.', name) AS view, \
         replaceAll(extract(create_table_query, {TARGET}), '`', '') AS target \
         FROM system.tables WHERE engine = 'MaterializedView') AS v \
         LEFT JOIN (SELECT concat(database, '.', name) AS full_name, engine, engine_full \
         FROM system.tables) AS t ON v.target = t.full_name \
         WHERE v.target != '' AND (v.database = {database} OR is_ours)"
    );
    let views = connection.rows::<View>(connection.on_server(&query)).await;
    let views = known(views)?.unwrap_or_default();
    let mut findings: Vec<_> = views.iter().filter_map(finding).collect();
    findings.extend(failures(store, &views).await?);
    Ok(findings)
}

fn finding(found: &View) -> Option<Diagnostic> {
    let View { view, target, .. } = found;
    if found.engine.is_empty() {
        let what = format!(
            "the materialized view {view} writes to {target}, which does not exist: inserts into \
             the table that it reads fail"
        );
        let advice = format!("create {target} again, or drop the view: `DROP VIEW {view}`");
        return Some(Diagnostic::problem(what, advice));
    }
    let table = ServerTable {
        name: target.clone(),
        engine: found.engine.clone(),
        engine_full: found.engine_full.clone(),
    };
    let forgets = found.engine.ends_with("MergeTree") && window(&table) == Some(0);
    (found.is_ours && forgets).then(|| {
        let what = format!(
            "{target}, which the materialized view {view} writes to, remembers no insert tokens: \
             rows that are inserted again after a view has failed may count twice in it"
        );
        let advice = format!(
            "`ALTER TABLE {target} MODIFY SETTING {WINDOW_SETTING} = {DEDUPLICATION_WINDOW}`"
        );
        Diagnostic::warning(what, advice)
    })
}

/// What the server's log of views, if it has one, says about the last day.
async fn failures(store: &ClickHouseStore, views: &[View]) -> Result<Vec<Diagnostic>, StoreError> {
    let ours = views.iter().filter(|view| view.is_ours).map(|view| view.view.as_str());
    let ours: Vec<_> = ours.collect();
    if ours.is_empty() {
        return Ok(Vec::new());
    }
    let query = format!(
        "SELECT view_name AS view, count() AS failures, substring(any(exception), 1, 300) AS reason \
         FROM system.query_views_log WHERE event_date >= today() - 1 \
         AND event_time >= now() - INTERVAL 1 DAY AND exception_code != 0 \
         AND view_name IN ({}) GROUP BY view_name ORDER BY view_name",
        sql::list(ours)
    );
    let connection = &store.connection;
    let failed = connection.rows::<Failures>(connection.on_server(&query)).await;
    let failed = match failed {
        // Not every server has this log.
        Err(error) if error.to_string().contains("query_views_log") => return Ok(Vec::new()),
        failed => known(failed)?.unwrap_or_default(),
    };
    let failed = failed.into_iter().map(|Failures { view, failures, reason }| {
        let what = format!(
            "the materialized view {view} failed {failures} times within a day, and may lack rows: \
             {reason}"
        );
        let advice = format!(
            "correct the view, and add what it lacks with `INSERT INTO … SELECT`, or drop it: \
             `DROP VIEW {view}`"
        );
        Diagnostic::warning(what, advice)
    });
    Ok(failed.collect())
}
