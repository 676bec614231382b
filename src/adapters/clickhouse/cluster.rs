//! Creates the tables on all servers of a cluster.
//!
//! The statements are those for one server, extended by `ON CLUSTER` and engines that replicate. On
//! a cluster with several shards, the rows are in tables named `…_local`, and the tables with the
//! usual names are `Distributed` ones over them. All rows of a session are on the same shard, so
//! that its states can be compared there.

use ::clickhouse::Row;
use serde::Deserialize;

use super::migrate::{DISTRIBUTED, WINDOW_SETTING};
use super::{ClickHouseStore, sql};
use bklit_pipeline::store::StoreError;
use bklit_pipeline::store::schema::{
    BASELINE_GAP, PAGE_VIEW_EVENT, PAGE_VIEW_EVENT_BASELINE, TRACKED_EVENT, TRACKED_EVENT_BASELINE,
};

/// Where Keeper stores the state of a table. The server replaces the parts in braces.
const KEEPER_PATH: &str = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'";

/// A cluster that the server knows.
#[derive(Debug, Row, Deserialize)]
struct Cluster {
    name: String,
    shards: u64,
}

impl ClickHouseStore {
    /// Like [`ClickHouseStore::migrate`], on all servers of a cluster.
    ///
    /// # Errors
    /// As there; [`StoreError::Refused`] also if the server does not know the cluster.
    pub async fn migrate_cluster(
        &self,
        cluster: &str,
        dry_run: bool,
    ) -> Result<Vec<String>, StoreError> {
        let known = "SELECT cluster AS name, uniqExact(shard_num) AS shards FROM system.clusters \
                     GROUP BY cluster ORDER BY cluster";
        let known: Vec<Cluster> = self.connection.rows(self.connection.on_server(known)).await?;
        let Some(cluster) = known.iter().find(|known| known.name == cluster) else {
            let names: Vec<_> = known.iter().map(|known| known.name.as_str()).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(StoreError::Refused(format!("unknown cluster {cluster} ({names})")));
        };
        let database = sql::name(&self.connection.database);
        let statements = self.plan().await?;
        let statements: Vec<_> =
            statements.iter().flat_map(|one| on_cluster(one, cluster, &database)).collect();
        self.run(&statements, dry_run).await?;
        Ok(statements)
    }
}

/// A statement for one server as statements for all servers of a cluster.
fn on_cluster(statement: &str, cluster: &Cluster, database: &str) -> Vec<String> {
    let on = format!(" ON CLUSTER {}", sql::name(&cluster.name));
    let create = "CREATE TABLE IF NOT EXISTS ";
    let alter = "ALTER TABLE ";
    if let Some((table, rest)) = parts(statement, create, database) {
        let rest = replicated(rest);
        if cluster.shards < 2 {
            return vec![format!("{create}{database}.{table}{on}{rest}")];
        }
        let local = format!("{database}.{}", local_name(table));
        return vec![
            format!("{create}{local}{on}{rest}"),
            format!(
                "{create}{database}.{table}{on} AS {local}\nENGINE = {DISTRIBUTED}({}, {database}, \
                 {}, {})",
                sql::name(&cluster.name),
                local_name(table),
                sharding_key(table)
            ),
        ];
    }
    if let Some((table, rest)) = parts(statement, alter, database) {
        let whole = format!("{alter}{database}.{table}{on}{rest}");
        if cluster.shards < 2 {
            return vec![whole];
        }
        return vec![format!("{alter}{database}.{}{on}{rest}", local_name(table)), whole];
    }
    vec![format!("{statement}{on}")]
}

/// The table of a statement that begins like this, and what follows it.
fn parts<'s>(statement: &'s str, start: &str, database: &str) -> Option<(&'s str, &'s str)> {
    let rest = statement.strip_prefix(start)?.strip_prefix(database)?.strip_prefix('.')?;
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    Some(rest.split_at(end))
}

/// The table with a shard's rows.
fn local_name(table: &str) -> String {
    format!("{table}_local")
}

/// The definition with an engine that replicates, and its setting for insert tokens.
fn replicated(definition: &str) -> String {
    let mut replicated = String::with_capacity(definition.len() + 80);
    for (nth, part) in definition.split("ENGINE = ").enumerate() {
        if nth > 0 {
            let end = part.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(part.len());
            let (engine, rest) = part.split_at(end);
            replicated.push_str("ENGINE = Replicated");
            replicated.push_str(engine);
            replicated.push('(');
            replicated.push_str(KEEPER_PATH);
            replicated.push(')');
            replicated.push_str(rest);
        } else {
            replicated.push_str(part);
        }
    }
    replicated.replace(WINDOW_SETTING, "replicated_deduplication_window")
}

/// Determines which shard stores a row.
fn sharding_key(table: &str) -> &'static str {
    let is = |known: &str| table == known;
    let events = [PAGE_VIEW_EVENT, TRACKED_EVENT, PAGE_VIEW_EVENT_BASELINE, TRACKED_EVENT_BASELINE];
    if events.iter().any(|events| is(events.name)) {
        "cityHash64(project_id, ifNull(session_id, id))"
    } else if is(BASELINE_GAP.name) {
        "cityHash64(since)"
    } else {
        "cityHash64(project_id, session_id)"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(shards: u64) -> Cluster {
        Cluster { name: "main".to_owned(), shards }
    }

    #[test]
    fn one_shard_needs_only_replicated_tables() {
        let create = "CREATE TABLE IF NOT EXISTS a.t (\n    id String\n) ENGINE = MergeTree\n\
                      ORDER BY id\nSETTINGS non_replicated_deduplication_window = 10";
        let expected = "CREATE TABLE IF NOT EXISTS a.t ON CLUSTER main (\n    id String\n) \
                        ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/{table}', \
                        '{replica}')\nORDER BY id\nSETTINGS replicated_deduplication_window = 10";
        assert_eq!(on_cluster(create, &cluster(1), "a"), [expected]);
        let alter = "ALTER TABLE a.t ADD COLUMN x String";
        let expected = "ALTER TABLE a.t ON CLUSTER main ADD COLUMN x String";
        assert_eq!(on_cluster(alter, &cluster(1), "a"), [expected]);
        let database = "CREATE DATABASE IF NOT EXISTS `a-b`";
        let expected = "CREATE DATABASE IF NOT EXISTS `a-b` ON CLUSTER main";
        assert_eq!(on_cluster(database, &cluster(1), "`a-b`"), [expected]);
    }

    #[test]
    fn several_shards_need_a_distributed_table_as_well() {
        let alter = "ALTER TABLE a.t ADD COLUMN x String";
        let expected = [
            "ALTER TABLE a.t_local ON CLUSTER main ADD COLUMN x String",
            "ALTER TABLE a.t ON CLUSTER main ADD COLUMN x String",
        ];
        assert_eq!(on_cluster(alter, &cluster(2), "a"), expected);
        let create = "CREATE TABLE IF NOT EXISTS a.tracked_session (\n    id String\n) \
                      ENGINE = AggregatingMergeTree\nORDER BY id";
        let [local, distributed] = &on_cluster(create, &cluster(2), "a")[..] else { panic!() };
        assert!(local.contains("a.tracked_session_local ON CLUSTER main ("), "{local}");
        assert!(local.contains("ENGINE = ReplicatedAggregatingMergeTree('"), "{local}");
        let expected = "CREATE TABLE IF NOT EXISTS a.tracked_session ON CLUSTER main AS \
                        a.tracked_session_local\nENGINE = Distributed(main, a, \
                        tracked_session_local, cityHash64(project_id, session_id))";
        assert_eq!(distributed, expected);
    }
}
