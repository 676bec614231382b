//! The queue's tables and the operations on them.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use super::client_ids::{self, Known};
use super::state::{self, Batch, State};
use super::writer::NewRow;
use super::{View, damaged};
use crate::sqlite::file::Schema;
use crate::sqlite::{file, locks};
use bklit_pipeline::queue::{
    Bounds, Claim, ClaimId, ClaimedItem, MAX_BATCH_BYTES, Pushed, QueueError, Rejected, owner_name,
};
use bklit_wire::time::UtcMillis;

/// The second migration adds the claims and counts that other processes read, the third the ids
/// that clients chose, by hash.
const SCHEMA: Schema = Schema {
    migrations: &[
        |connection| connection.execute_batch(TABLES),
        |connection| connection.execute_batch(state::TABLES),
        |connection| connection.execute_batch(client_ids::TABLES),
    ],
    complete: None,
};

/// `AUTOINCREMENT`: sequence numbers are never reused, so a batch's range cannot contain other
/// items later.
const TABLES: &str = "
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

/// Maximum lease: ten years.
const LONGEST_LEASE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Bytes that a probe writes: the default maximum size of an event.
const PROBE_BYTES: u32 = 64 * 1024;

pub(super) struct Tables {
    pub(super) connection: Connection,
    pub(super) bounds: Bounds,
    pub(super) state: State,
    owner: String,
    pub(super) forgotten_at: Instant,
}

pub(super) type CommandResult<T> = rusqlite::Result<Result<T, QueueError>>;

impl Tables {
    pub(super) fn open(path: &Path, bounds: Bounds) -> Result<Self, file::Error> {
        let mut connection = file::open(path, &SCHEMA)?;
        let state = State::open(&mut connection)?;
        let (owner, forgotten_at) = (owner_name(), Instant::now());
        Ok(Self { connection, bounds, state, owner, forgotten_at })
    }

    /// Simulates a full disk.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, pages: u32) {
        self.connection.pragma_update(None, "max_page_count", pages).unwrap();
    }

    pub(super) fn state(&self) -> State {
        self.state.clone()
    }

    pub(super) fn view(&self, failure: Option<String>) -> View {
        let next_lease_end = self.state.batches.values().map(|batch| batch.lease_until).min();
        let next_lease_end = next_lease_end.map(|end| {
            let left = u64::try_from(end - now_millis()).unwrap_or(0);
            Instant::now() + Duration::from_millis(left)
        });
        View { stats: self.state.stats, bounds: self.bounds, failure, next_lease_end }
    }

    /// Why the file could not be changed.
    pub(super) fn reason(&self, error: &rusqlite::Error) -> String {
        locks::reason(error, Path::new(self.connection.path().unwrap_or_default()))
    }

    pub(super) fn begin(&mut self) -> rusqlite::Result<()> {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute(())?;
        self.state.refresh(&self.connection)
    }

    pub(super) fn commit(&mut self) -> rusqlite::Result<()> {
        self.forget_client_ids()?;
        self.state.write(&self.connection)?;
        self.connection.prepare_cached("COMMIT")?.execute(())?;
        Ok(())
    }

    /// Rolls back a failed transaction and restores the state before it.
    pub(super) fn roll_back(&mut self, before: State) {
        if !self.connection.is_autocommit() {
            // After some errors SQLite has already rolled back; then this does nothing.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        self.state = before;
    }

    pub(super) fn push_many(
        &mut self,
        items: &[NewRow],
    ) -> CommandResult<Vec<Result<Pushed, QueueError>>> {
        items.iter().map(|item| self.push(item)).collect::<rusqlite::Result<_>>().map(Ok)
    }

    pub(super) fn push(&mut self, item: &NewRow) -> CommandResult<Pushed> {
        let NewRow { body, chosen } = item;
        if let Some(chosen) = chosen {
            // First, because a retry of an accepted event succeeds even if the queue is full.
            match self.known(chosen)? {
                Known::No => {}
                Known::Same => return Ok(Ok(Pushed::Duplicate)),
                Known::Different => return Ok(Err(QueueError::IdTaken)),
            }
        }
        if let Err(full) = self.bounds.check(self.state.stats) {
            return Ok(Err(full));
        }
        if let Some(chosen) = chosen {
            self.remember(chosen.id)?;
        }
        self.append(body)?;
        Ok(Ok(Pushed::Queued))
    }

    /// Writes as much as a large event would and deletes it in the same transaction.
    pub(super) fn probe(&mut self) -> CommandResult<()> {
        let insert = "INSERT INTO batch_claim (batch_id, owner, claimed_at, lease_until)
                      VALUES ('probe', zeroblob(?), 0, 0)";
        self.connection.prepare_cached(insert)?.execute([PROBE_BYTES])?;
        let delete = "DELETE FROM batch_claim WHERE batch_id = 'probe'";
        self.connection.prepare_cached(delete)?.execute(())?;
        Ok(Ok(()))
    }

    pub(super) fn claim(&mut self, most: usize, lease: Duration) -> CommandResult<Option<Claim>> {
        let now = now_millis();
        // A lease longer than requested is from before the clock was set back.
        for batch in self.state.batches.values_mut() {
            let longest = lease_end(now, batch.lease.unwrap_or(lease));
            batch.lease_until = batch.lease_until.min(longest);
        }
        let abandoned = |(_, batch): &(&i64, &Batch)| batch.lease_until <= now;
        while let Some((&first_seq, _)) = self.state.batches.iter().find(abandoned) {
            let claim = self.reclaim(first_seq, lease)?;
            if claim.is_some() {
                return Ok(Ok(claim));
            }
        }
        let limit = i64::try_from(most).unwrap_or(i64::MAX);
        let bounds = [self.state.claimed_to, limit];
        let items = loop {
            let condition = "seq > ? ORDER BY seq LIMIT ?";
            let (items, set_aside) = self.items(condition, bounds, MAX_BATCH_BYTES)?;
            self.state.stats.depth -= set_aside;
            if !items.is_empty() || set_aside == 0 {
                break items;
            }
        };
        let (Some(first), Some(last)) = (items.first(), items.last()) else { return Ok(Ok(None)) };
        let batch = Batch {
            // Globally unique: the store treats a batch with a known id as a repeat.
            id: uuid::Uuid::now_v7().simple().to_string(),
            last_seq: last.seq,
            epoch: 1,
            items: items.len() as u64,
            owner: Some(self.owner.clone()),
            claimed_at: Some(UtcMillis::from_epoch_millis(now)),
            lease_until: lease_end(now, lease),
            lease: Some(lease),
        };
        let sql = "INSERT INTO batch (id, first_seq, last_seq, epoch) VALUES (?, ?, ?, ?)";
        let row = params![batch.id, first.seq, batch.last_seq, batch.epoch];
        self.connection.prepare_cached(sql)?.execute(row)?;
        self.store_claim(&batch)?;
        let id = ClaimId { batch: batch.id.clone(), epoch: batch.epoch };
        self.state.claimed_to = batch.last_seq;
        self.state.stats.depth -= batch.items;
        self.state.stats.in_flight += batch.items;
        self.state.batches.insert(first.seq, batch);
        Ok(Ok(Some(Claim { id, items })))
    }

    /// Claims an existing batch again. If none of its items can be read, removes it and returns
    /// `None`.
    fn reclaim(&mut self, first_seq: i64, lease: Duration) -> rusqlite::Result<Option<Claim>> {
        let Some(batch) = self.state.batches.get(&first_seq) else { return Ok(None) };
        // The same items as before, regardless of their size.
        let bounds = [first_seq, batch.last_seq];
        let (items, set_aside) =
            self.items("seq BETWEEN ? AND ? ORDER BY seq", bounds, usize::MAX)?;
        self.state.stats.in_flight -= set_aside;
        if items.is_empty() {
            self.remove_batch(first_seq)?;
            return Ok(None);
        }
        let Some(batch) = self.state.batches.get_mut(&first_seq) else { return Ok(None) };
        let now = now_millis();
        batch.items = items.len() as u64;
        batch.epoch += 1;
        batch.owner = Some(self.owner.clone());
        batch.claimed_at = Some(UtcMillis::from_epoch_millis(now));
        (batch.lease_until, batch.lease) = (lease_end(now, lease), Some(lease));
        let batch = batch.clone();
        let id = ClaimId { batch: batch.id.clone(), epoch: batch.epoch };
        let sql = "UPDATE batch SET epoch = ? WHERE id = ?";
        self.connection.prepare_cached(sql)?.execute(params![id.epoch, id.batch])?;
        self.store_claim(&batch)?;
        Ok(Some(Claim { id, items }))
    }

    /// Stores the claim for other processes.
    fn store_claim(&self, batch: &Batch) -> rusqlite::Result<()> {
        let sql = "INSERT OR REPLACE INTO batch_claim (batch_id, owner, claimed_at, lease_until)
                   VALUES (?, ?, ?, ?)";
        let claimed_at = batch.claimed_at.map_or(0, UtcMillis::epoch_millis);
        let row = params![batch.id, self.owner, claimed_at, batch.lease_until];
        self.connection.prepare_cached(sql)?.execute(row)?;
        Ok(())
    }

    pub(super) fn renew(&mut self, claim: &ClaimId, lease: Duration) -> CommandResult<()> {
        let first_seq = match self.held(claim) {
            Ok(first_seq) => first_seq,
            Err(stale) => return Ok(Err(stale)),
        };
        let lease_until = lease_end(now_millis(), lease);
        let sql = "UPDATE batch_claim SET lease_until = ? WHERE batch_id = ?";
        self.connection.prepare_cached(sql)?.execute(params![lease_until, claim.batch])?;
        if let Some(batch) = self.state.batches.get_mut(&first_seq) {
            (batch.lease_until, batch.lease) = (lease_until, Some(lease));
        }
        Ok(Ok(()))
    }

    pub(super) fn acknowledge(
        &mut self,
        claim: &ClaimId,
        rejected: &[Rejected],
    ) -> CommandResult<()> {
        let first_seq = match self.held(claim) {
            Ok(first_seq) => first_seq,
            Err(stale) => return Ok(Err(stale)),
        };
        let Some(batch) = self.remove_batch(first_seq)? else { return Ok(Ok(())) };
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
        self.state.stats.in_flight -= removed as u64;
        self.state.stats.failed += failed as u64;
        Ok(Ok(()))
    }

    /// Removes a batch without its items.
    fn remove_batch(&mut self, first_seq: i64) -> rusqlite::Result<Option<Batch>> {
        let batch = self.state.batches.remove(&first_seq);
        for sql in ["DELETE FROM batch WHERE id = ?", "DELETE FROM batch_claim WHERE batch_id = ?"]
        {
            let id = batch.as_ref().map(|batch| &batch.id);
            self.connection.prepare_cached(sql)?.execute([id])?;
        }
        Ok(batch)
    }

    pub(super) fn append(&mut self, body: &str) -> rusqlite::Result<()> {
        let sql = "INSERT INTO queue_item (body) VALUES (?)";
        self.connection.prepare_cached(sql)?.execute([body])?;
        self.state.stats.depth += 1;
        Ok(())
    }

    /// Reads items up to `most_bytes` of bodies, but at least one. Also returns how many unreadable
    /// items were moved to the failed events.
    fn items(
        &mut self,
        condition: &str,
        bounds: [i64; 2],
        most_bytes: usize,
    ) -> rusqlite::Result<(Vec<ClaimedItem>, u64)> {
        let sql = format!("SELECT seq, body FROM queue_item WHERE {condition}");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(bounds)?;
        let (mut items, mut unreadable, mut bytes) = (Vec::new(), Vec::new(), 0);
        while bytes < most_bytes
            && let Some(row) = rows.next()?
        {
            match damaged::body(row)? {
                Ok(body) => {
                    bytes += body.len();
                    items.push(ClaimedItem { seq: row.get(0)?, body, invalid_utf8: None });
                }
                Err(item) => unreadable.push(item),
            }
        }
        drop(rows);
        drop(statement);
        self.set_aside(&unreadable)?;
        Ok((items, unreadable.len() as u64))
    }

    /// The first sequence number of the batch, if the claim still holds it.
    fn held(&self, claim: &ClaimId) -> Result<i64, QueueError> {
        let batch = self.state.batches.iter().find(|(_, batch)| batch.id == claim.batch);
        match batch {
            Some((&first_seq, batch)) if batch.epoch == claim.epoch => Ok(first_seq),
            _ => Err(QueueError::Stale(claim.clone())),
        }
    }
}

/// Milliseconds since the epoch. Not a monotonic clock, because leases are stored in the file.
pub(super) fn now_millis() -> i64 {
    UtcMillis::now().epoch_millis()
}

fn lease_end(now: i64, lease: Duration) -> i64 {
    now.saturating_add(i64::try_from(lease.min(LONGEST_LEASE).as_millis()).unwrap_or(0))
}
