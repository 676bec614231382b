//! The queue's tables and what is known of them in memory.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, params};

use super::View;
use crate::pipeline::queue::{
    Claim, ClaimId, ClaimedItem, FailedItem, MAX_BATCH_BYTES, Pushed, QueueError, QueueStats,
    Rejected,
};
use crate::pipeline::time::UtcMillis;

/// Raised with every change of the tables below.
const SCHEMA_VERSION: i64 = 1;

/// `AUTOINCREMENT`: a sequence number that was given is never given again, so a batch's range
/// cannot come to hold other items.
const SCHEMA: &str = "
    CREATE TABLE queue_item (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        body TEXT NOT NULL
    );
    CREATE TABLE batch (
        id TEXT PRIMARY KEY,
        first_seq INTEGER NOT NULL,
        last_seq INTEGER NOT NULL,
        epoch INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE client_event_id (
        project_id TEXT NOT NULL,
        event_id TEXT NOT NULL,
        seen_at INTEGER NOT NULL,
        PRIMARY KEY (project_id, event_id)
    ) WITHOUT ROWID;
    CREATE INDEX client_event_id_by_age ON client_event_id (seen_at);
    CREATE TABLE failed_item (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        body TEXT NOT NULL,
        reason TEXT NOT NULL,
        failed_at INTEGER NOT NULL
    );
";

/// Beside the version: a file made before there were notes gets the table, and a program that
/// knows of none does without.
const NOTES: &str = "
    CREATE TABLE IF NOT EXISTS batch_note (
        batch_id TEXT PRIMARY KEY,
        note TEXT NOT NULL
    ) WITHOUT ROWID;
";

/// What a probe writes: as much as the largest event does by default.
const PROBE_BYTES: u32 = 64 * 1024;

/// How long a client's retry with the same event id is recognised.
const CLIENT_ID_MEMORY: Duration = Duration::from_secs(24 * 60 * 60);
/// How often ids past that are removed, and how many at once.
const FORGET_EVERY: Duration = Duration::from_secs(60);
const FORGET_AT_ONCE: i64 = 10_000;

/// What is known without asking the file. Changes with a transaction, and is put back with it.
#[derive(Clone)]
pub(super) struct State {
    stats: QueueStats,
    /// The last sequence number that belongs to a batch, or did.
    claimed_to: i64,
    /// By their first sequence number, so the oldest comes first.
    batches: BTreeMap<i64, Batch>,
}

#[derive(Clone)]
struct Batch {
    id: String,
    last_seq: i64,
    epoch: u64,
    lease_end: Instant,
}

pub(super) struct Tables {
    connection: Connection,
    max_depth: u64,
    state: State,
    forgotten_at: Instant,
}

type Answer<T> = rusqlite::Result<Result<T, QueueError>>;

impl Tables {
    pub(super) fn open(
        path: &Path,
        max_depth: u64,
    ) -> Result<Self, crate::pipeline::sqlite::Error> {
        let connection = crate::pipeline::sqlite::open(path, SCHEMA_VERSION, SCHEMA)?;
        connection.execute_batch(NOTES)?;
        let state = State::read(&connection)?;
        Ok(Self { connection, max_depth, state, forgotten_at: Instant::now() })
    }

    /// Stands for a disk with no more room.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, pages: u32) {
        self.connection.pragma_update(None, "max_page_count", pages).unwrap();
    }

    pub(super) fn state(&self) -> State {
        self.state.clone()
    }

    pub(super) fn view(&self, failure: Option<String>) -> View {
        let next_lease_end = self.state.batches.values().map(|batch| batch.lease_end).min();
        View { stats: self.state.stats, bound: self.max_depth, failure, next_lease_end }
    }

    pub(super) fn begin(&mut self) -> rusqlite::Result<()> {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute(())?;
        Ok(())
    }

    pub(super) fn commit(&mut self) -> rusqlite::Result<()> {
        self.forget_client_ids()?;
        self.connection.prepare_cached("COMMIT")?.execute(())?;
        Ok(())
    }

    /// Ends a transaction that failed and goes back to what was known before it.
    pub(super) fn roll_back(&mut self, before: State) {
        if !self.connection.is_autocommit() {
            // SQLite has rolled back by itself after some errors; then this has nothing to do.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        self.state = before;
    }

    pub(super) fn push(&mut self, body: &str, dedup: Option<&(String, String)>) -> Answer<Pushed> {
        let (depth, bound) = (self.state.stats.depth, self.max_depth);
        if let Some((project, event)) = dedup {
            // Asked first: a retry of what was accepted is a success also when the queue is full.
            if self.is_known(project, event)? {
                return Ok(Ok(Pushed::Duplicate));
            }
        }
        if depth >= bound {
            return Ok(Err(QueueError::Full { depth, bound }));
        }
        if let Some((project, event)) = dedup {
            let sql = "INSERT OR REPLACE INTO client_event_id VALUES (?, ?, ?)";
            let now = UtcMillis::now().epoch_millis();
            self.connection.prepare_cached(sql)?.execute(params![project, event, now])?;
        }
        self.append(body)?;
        Ok(Ok(Pushed::Queued))
    }

    /// Writes as much as a large event would, and takes it out again within the transaction.
    pub(super) fn probe(&mut self) -> Answer<()> {
        let insert = "INSERT INTO batch_note (batch_id, note) VALUES ('probe', zeroblob(?))";
        self.connection.prepare_cached(insert)?.execute([PROBE_BYTES])?;
        let delete = "DELETE FROM batch_note WHERE batch_id = 'probe'";
        self.connection.prepare_cached(delete)?.execute(())?;
        Ok(Ok(()))
    }

    pub(super) fn claim(
        &mut self,
        most: usize,
        now: Instant,
        lease: Duration,
    ) -> Answer<Option<Claim>> {
        let abandoned = self.state.batches.iter().find(|(_, batch)| batch.lease_end <= now);
        if let Some((&first_seq, _)) = abandoned {
            return self.reclaim(first_seq, now + lease).map(Ok);
        }
        let limit = i64::try_from(most).unwrap_or(i64::MAX);
        let bounds = [self.state.claimed_to, limit];
        let items = self.items("seq > ? ORDER BY seq LIMIT ?", bounds, MAX_BATCH_BYTES)?;
        let (Some(first), Some(last)) = (items.first(), items.last()) else { return Ok(Ok(None)) };
        let batch = Batch {
            // Unique for ever: the store takes a batch with an id that it knows for a repeat.
            id: uuid::Uuid::now_v7().simple().to_string(),
            last_seq: last.seq,
            epoch: 1,
            lease_end: now + lease,
        };
        let sql = "INSERT INTO batch (id, first_seq, last_seq, epoch) VALUES (?, ?, ?, ?)";
        let row = params![batch.id, first.seq, batch.last_seq, batch.epoch];
        self.connection.prepare_cached(sql)?.execute(row)?;
        let id = ClaimId { batch: batch.id.clone(), epoch: batch.epoch };
        self.state.claimed_to = batch.last_seq;
        self.state.stats.depth -= items.len() as u64;
        self.state.stats.in_flight += items.len() as u64;
        self.state.batches.insert(first.seq, batch);
        Ok(Ok(Some(Claim { id, items, maybe_stored: false, note: None })))
    }

    fn reclaim(&mut self, first_seq: i64, lease_end: Instant) -> rusqlite::Result<Option<Claim>> {
        let Some(batch) = self.state.batches.get_mut(&first_seq) else { return Ok(None) };
        batch.epoch += 1;
        batch.lease_end = lease_end;
        let (id, last_seq) =
            (ClaimId { batch: batch.id.clone(), epoch: batch.epoch }, batch.last_seq);
        let sql = "UPDATE batch SET epoch = ? WHERE id = ?";
        self.connection.prepare_cached(sql)?.execute(params![id.epoch, id.batch])?;
        let sql = "SELECT note FROM batch_note WHERE batch_id = ?";
        let mut statement = self.connection.prepare_cached(sql)?;
        let note = statement.query_row([&id.batch], |row| row.get(0)).optional()?;
        drop(statement);
        // The same items as before, however large.
        let bounds = [first_seq, last_seq];
        let items = self.items("seq BETWEEN ? AND ? ORDER BY seq", bounds, usize::MAX)?;
        Ok(Some(Claim { id, items, maybe_stored: false, note }))
    }

    pub(super) fn renew(&mut self, claim: &ClaimId, lease_end: Instant) -> Result<(), QueueError> {
        let first_seq = self.held(claim)?;
        if let Some(batch) = self.state.batches.get_mut(&first_seq) {
            batch.lease_end = lease_end;
        }
        Ok(())
    }

    pub(super) fn annotate(&mut self, claim: &ClaimId, note: &str) -> Answer<()> {
        if let Err(stale) = self.held(claim) {
            return Ok(Err(stale));
        }
        let sql = "INSERT OR REPLACE INTO batch_note (batch_id, note) VALUES (?, ?)";
        self.connection.prepare_cached(sql)?.execute([claim.batch.as_str(), note])?;
        Ok(Ok(()))
    }

    pub(super) fn acknowledge(&mut self, claim: &ClaimId, rejected: &[Rejected]) -> Answer<()> {
        let first_seq = match self.held(claim) {
            Ok(first_seq) => first_seq,
            Err(stale) => return Ok(Err(stale)),
        };
        let Some(batch) = self.state.batches.remove(&first_seq) else { return Ok(Ok(())) };
        let now = UtcMillis::now().epoch_millis();
        let mut failed = 0;
        for item in rejected {
            let sql = "INSERT INTO failed_item (body, reason, failed_at)
                       SELECT body, ?, ? FROM queue_item WHERE seq = ? AND seq BETWEEN ? AND ?";
            failed += self.connection.prepare_cached(sql)?.execute(params![
                item.reason,
                now,
                item.seq,
                first_seq,
                batch.last_seq
            ])?;
        }
        let sql = "DELETE FROM queue_item WHERE seq BETWEEN ? AND ?";
        let removed = self.connection.prepare_cached(sql)?.execute([first_seq, batch.last_seq])?;
        for sql in ["DELETE FROM batch WHERE id = ?", "DELETE FROM batch_note WHERE batch_id = ?"] {
            self.connection.prepare_cached(sql)?.execute([&batch.id])?;
        }
        self.state.stats.in_flight -= removed as u64;
        self.state.stats.failed += failed as u64;
        Ok(Ok(()))
    }

    pub(super) fn failed(&mut self, most: usize) -> Answer<Vec<FailedItem>> {
        let sql = "SELECT id, body, reason, failed_at FROM failed_item ORDER BY id DESC LIMIT ?";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([i64::try_from(most).unwrap_or(i64::MAX)], |row| {
            Ok(FailedItem {
                id: row.get::<_, i64>(0)?.to_string(),
                body: row.get(1)?,
                reason: row.get(2)?,
                failed_at: UtcMillis::from_epoch_millis(row.get(3)?),
            })
        })?;
        rows.collect::<rusqlite::Result<_>>().map(Ok)
    }

    pub(super) fn retry_failed(&mut self, ids: &[i64]) -> Answer<u64> {
        let mut found = 0;
        for id in ids {
            let sql = "DELETE FROM failed_item WHERE id = ? RETURNING body";
            let mut statement = self.connection.prepare_cached(sql)?;
            let body: Option<String> = statement.query_row([id], |row| row.get(0)).optional()?;
            drop(statement);
            if let Some(body) = body {
                self.append(&body)?;
                self.state.stats.failed -= 1;
                found += 1;
            }
        }
        Ok(Ok(found))
    }

    fn append(&mut self, body: &str) -> rusqlite::Result<()> {
        let sql = "INSERT INTO queue_item (body) VALUES (?)";
        self.connection.prepare_cached(sql)?.execute([body])?;
        self.state.stats.depth += 1;
        Ok(())
    }

    /// Items until their bodies have `most_bytes`; at least one, if there is one.
    fn items(
        &self,
        condition: &str,
        bounds: [i64; 2],
        most_bytes: usize,
    ) -> rusqlite::Result<Vec<ClaimedItem>> {
        let sql = format!("SELECT seq, body FROM queue_item WHERE {condition}");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(bounds)?;
        let (mut items, mut bytes) = (Vec::new(), 0);
        while bytes < most_bytes
            && let Some(row) = rows.next()?
        {
            let item = ClaimedItem { seq: row.get(0)?, body: row.get(1)? };
            bytes += item.body.len();
            items.push(item);
        }
        Ok(items)
    }

    /// The first sequence number of the batch, if the claim still holds it.
    fn held(&self, claim: &ClaimId) -> Result<i64, QueueError> {
        let batch = self.state.batches.iter().find(|(_, batch)| batch.id == claim.batch);
        match batch {
            Some((&first_seq, batch)) if batch.epoch == claim.epoch => Ok(first_seq),
            _ => Err(QueueError::Stale(claim.clone())),
        }
    }

    fn is_known(&self, project: &str, event: &str) -> rusqlite::Result<bool> {
        let sql =
            "SELECT 1 FROM client_event_id WHERE project_id = ? AND event_id = ? AND seen_at > ?";
        self.connection.prepare_cached(sql)?.exists(params![project, event, oldest_remembered()])
    }

    fn forget_client_ids(&mut self) -> rusqlite::Result<()> {
        if self.forgotten_at.elapsed() < FORGET_EVERY {
            return Ok(());
        }
        let sql = "DELETE FROM client_event_id WHERE (project_id, event_id) IN
                   (SELECT project_id, event_id FROM client_event_id
                    WHERE seen_at <= ? ORDER BY seen_at LIMIT ?)";
        let bounds = [oldest_remembered(), FORGET_AT_ONCE];
        let forgotten = self.connection.prepare_cached(sql)?.execute(bounds)?;
        if i64::try_from(forgotten) != Ok(FORGET_AT_ONCE) {
            self.forgotten_at = Instant::now();
        }
        Ok(())
    }
}

fn oldest_remembered() -> i64 {
    let memory = i64::try_from(CLIENT_ID_MEMORY.as_millis()).unwrap_or(i64::MAX);
    UtcMillis::now().epoch_millis() - memory
}

impl State {
    fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let count = |sql: &str, bound: i64| connection.query_row(sql, [bound], |row| row.get(0));
        let mut statement =
            connection.prepare("SELECT first_seq, id, last_seq, epoch FROM batch")?;
        let now = Instant::now();
        let batches: BTreeMap<i64, Batch> = statement
            .query_map((), |row| {
                let (id, last_seq, epoch) = (row.get(1)?, row.get(2)?, row.get(3)?);
                // Whoever held it ended with the process that wrote the file before.
                Ok((row.get(0)?, Batch { id, last_seq, epoch, lease_end: now }))
            })?
            .collect::<rusqlite::Result<_>>()?;
        let claimed_to = batches.values().map(|batch| batch.last_seq).max().unwrap_or(0);
        let stats = QueueStats {
            depth: count("SELECT count(*) FROM queue_item WHERE seq > ?", claimed_to)?,
            in_flight: count("SELECT count(*) FROM queue_item WHERE seq <= ?", claimed_to)?,
            failed: count("SELECT count(*) FROM failed_item WHERE id > ?", 0)?,
            spooled: 0,
        };
        Ok(Self { stats, claimed_to, batches })
    }
}
