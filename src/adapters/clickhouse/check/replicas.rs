//! Replicas that are read-only or behind.

use ::clickhouse::Row;
use serde::Deserialize;

use super::known;
use crate::clickhouse::{ClickHouseStore, sql};
use bklit_pipeline::store::StoreError;
use bklit_wire::diagnostic::Diagnostic;

/// How far a replica may be behind, in seconds.
const MAX_DELAY: u64 = 60;

#[derive(Row, Deserialize)]
struct Replica {
    table: String,
    is_readonly: u8,
    delay: u64,
    total: u32,
    active: u32,
}

/// Checks the replicated tables of the database.
pub(super) async fn examine(store: &ClickHouseStore) -> Result<Vec<Diagnostic>, StoreError> {
    let connection = &store.connection;
    let query = format!(
        "SELECT table, is_readonly, absolute_delay AS delay, total_replicas AS total, \
         active_replicas AS active FROM system.replicas WHERE database = {} ORDER BY table",
        sql::literal(&connection.database)
    );
    let replicas = connection.rows::<Replica>(connection.on_server(&query)).await;
    Ok(known(replicas)?.unwrap_or_default().iter().flat_map(findings).collect())
}

fn findings(replica: &Replica) -> Vec<Diagnostic> {
    let Replica { table, delay, total, active, .. } = replica;
    let mut findings = Vec::new();
    if replica.is_readonly != 0 {
        findings.push(Diagnostic::problem(
            format!("this replica of {table} is read-only: it is not connected to Keeper"),
            "check Keeper; events wait in the queue",
        ));
    }
    if *delay > MAX_DELAY {
        findings.push(Diagnostic::warning(
            format!("this replica of {table} is {delay} s behind"),
            "check its disk, network and system.replication_queue; until it has caught up, events \
             that are delivered to another worker may not be recognised as stored",
        ));
    }
    if active < total {
        findings.push(Diagnostic::warning(
            format!("{active} of {total} replicas of {table} are active"),
            "start the others, or remove them with `SYSTEM DROP REPLICA`",
        ));
    }
    findings
}
