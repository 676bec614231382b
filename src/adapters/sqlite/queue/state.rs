//! What the writer caches about the queue's file.
//!
//! Commands write the file while a pipeline runs. So each transaction stores the counts in the
//! file, and a transaction that finds that another process has written starts by reading them.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, TransactionBehavior, params};
use rustix::process::{Pid, test_kill_process};

use super::{client_ids, damaged};
use bklit_pipeline::queue::{QueueStats, host_name, owner_name};
use bklit_wire::time::UtcMillis;

/// The tables of the second version. Some programs of the first version also created them, or
/// `batch_note`, which preceded them.
pub(super) const TABLES: &str = "
    DROP TABLE IF EXISTS batch_note;
    CREATE TABLE IF NOT EXISTS batch_claim (
        batch_id TEXT PRIMARY KEY,
        owner TEXT NOT NULL,
        claimed_at INTEGER NOT NULL,
        lease_until INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS queue_count (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        depth INTEGER NOT NULL,
        in_flight INTEGER NOT NULL,
        failed INTEGER NOT NULL
    );
";

/// Changes together with a transaction, and is restored if that fails.
#[derive(Clone)]
pub(super) struct State {
    pub(super) stats: QueueStats,
    /// The counts stored in the file.
    written: Option<QueueStats>,
    /// The highest sequence number that has ever been part of a batch.
    pub(super) claimed_to: i64,
    /// By first sequence number, so the oldest batch comes first.
    pub(super) batches: BTreeMap<i64, Batch>,
    /// Remembered event ids that clients chose.
    pub(super) client_ids: u64,
    /// Changes when another process has written the file.
    data_version: i64,
}

#[derive(Clone)]
pub(super) struct Batch {
    pub(super) id: String,
    pub(super) last_seq: i64,
    pub(super) epoch: u64,
    pub(super) items: u64,
    pub(super) owner: Option<String>,
    pub(super) claimed_at: Option<UtcMillis>,
    /// In milliseconds since the epoch.
    pub(super) lease_until: i64,
    /// How long the lease was when it was last extended; `None` if another process did that.
    pub(super) lease: Option<Duration>,
}

impl State {
    /// Reads the state from a file that has just been opened. Releases the claims of this process's
    /// name (an earlier process may have had the same id) and of processes that have ended.
    pub(super) fn open(connection: &mut Connection) -> rusqlite::Result<Self> {
        let sql = "UPDATE batch_claim SET lease_until = 0 WHERE owner = ? AND lease_until > 0";
        connection.execute(sql, [owner_name()])?;
        let snapshot = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        damaged::dissolve_batches(&snapshot)?;
        let (batches, claimed_to) = batches(&snapshot)?;
        // Counted instead of read from `queue_count`: an older program may have changed the file
        // without updating it.
        let stats = count(&snapshot, &batches, claimed_to)?;
        let client_ids = client_ids::count(&snapshot)?;
        let data_version = data_version(&snapshot)?;
        snapshot.commit()?;
        Ok(Self { stats, written: None, claimed_to, batches, client_ids, data_version })
    }

    /// Reads what other processes have changed. Call it in a write transaction.
    pub(super) fn refresh(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let data_version = data_version(connection)?;
        if data_version == self.data_version {
            return Ok(());
        }
        (self.batches, self.claimed_to) = batches(connection)?;
        let sql = "SELECT depth, in_flight, failed FROM queue_count";
        let mut statement = connection.prepare_cached(sql)?;
        let stats = statement.query_row((), |row| {
            let (depth, in_flight, failed) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(QueueStats { depth, in_flight, failed, spooled: 0 })
        });
        self.written = stats.ok();
        self.stats = match self.written {
            Some(stats) => stats,
            None => count(connection, &self.batches, self.claimed_to)?,
        };
        self.data_version = data_version;
        Ok(())
    }

    /// Stores the counts in the file, for other processes.
    pub(super) fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if self.written == Some(self.stats) {
            return Ok(());
        }
        let QueueStats { depth, in_flight, failed, .. } = self.stats;
        let sql = "INSERT OR REPLACE INTO queue_count VALUES (1, ?, ?, ?)";
        connection.prepare_cached(sql)?.execute(params![depth, in_flight, failed])?;
        self.written = Some(self.stats);
        Ok(())
    }
}

fn count(
    connection: &Connection,
    batches: &BTreeMap<i64, Batch>,
    claimed_to: i64,
) -> rusqlite::Result<QueueStats> {
    let count = |sql: &str, bound: i64| connection.query_row(sql, [bound], |row| row.get(0));
    Ok(QueueStats {
        depth: count("SELECT count(*) FROM queue_item WHERE seq > ?", claimed_to)?,
        in_flight: batches.values().map(|batch| batch.items).sum(),
        failed: count("SELECT count(*) FROM failed_item WHERE id > ?", 0)?,
        spooled: 0,
    })
}

fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "data_version", |row| row.get(0))
}

/// Reads the batches and the highest sequence number that is part of one.
fn batches(connection: &Connection) -> rusqlite::Result<(BTreeMap<i64, Batch>, i64)> {
    let sql = "SELECT first_seq, id, last_seq, epoch, owner, claimed_at,
                      coalesce(lease_until, 0),
                      (SELECT count(*) FROM queue_item WHERE seq BETWEEN first_seq AND last_seq)
               FROM batch LEFT JOIN batch_claim ON batch_id = id";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map((), |row| {
        let owner = match row.get_ref(4)? {
            ValueRef::Null => None,
            owner => Some(damaged::lossy_text(owner)),
        };
        let gone = owner.as_deref().is_some_and(has_ended);
        let batch = Batch {
            id: row.get(1)?,
            last_seq: row.get(2)?,
            epoch: row.get(3)?,
            claimed_at: row.get_ref(5)?.as_i64().ok().map(UtcMillis::from_epoch_millis),
            lease_until: if gone { 0 } else { row.get_ref(6)?.as_i64().unwrap_or(0) },
            items: row.get(7)?,
            lease: None,
            owner,
        };
        Ok((row.get(0)?, batch))
    })?;
    let batches = rows.collect::<rusqlite::Result<BTreeMap<i64, Batch>>>()?;
    let claimed_to = batches.values().map(|batch| batch.last_seq).max().unwrap_or(0);
    Ok((batches, claimed_to))
}

/// Whether `owner` is a process of this machine that has ended. For other processes the lease
/// decides.
fn has_ended(owner: &str) -> bool {
    let Some((host, pid)) = owner.rsplit_once(':') else { return false };
    let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) else { return false };
    host == host_name() && test_kill_process(pid) == Err(rustix::io::Errno::SRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_has_ended_is_recognised() {
        assert!(!has_ended(&owner_name()));
        assert!(!has_ended("elsewhere:1") && !has_ended("nonsense") && !has_ended(""));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let name = format!("{}:{}", host_name(), child.id());
        child.wait().unwrap();
        assert!(has_ended(&name));
    }
}
