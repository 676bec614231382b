//! Reads batches, waiting and failed events for display, deletes events, and retries failed ones.

use std::collections::HashMap;

use rusqlite::{OptionalExtension as _, ToSql};

use super::damaged;
use super::edits::CheckedEdit;
use super::tables::{CommandResult, Tables, now_millis};
use bklit_pipeline::queue::{FailedItem, MAX_BATCH_BYTES, Order, Page, WaitingItem};
use bklit_wire::queue::{BatchInFlight, MAX_PAGE};
use bklit_wire::time::UtcMillis;

impl Tables {
    pub(super) fn batches(&self, most: usize) -> CommandResult<Vec<BatchInFlight>> {
        let now = now_millis();
        let mut batches: Vec<_> = self.state.batches.values().collect();
        batches.sort_by_key(|batch| batch.lease_until);
        let shown = batches.into_iter().take(most).map(|batch| BatchInFlight {
            id: batch.id.clone(),
            owner: batch.owner.clone(),
            epoch: batch.epoch,
            items: batch.items,
            // The epoch rises by one with each claim.
            attempts: batch.epoch,
            claimed_at: batch.claimed_at,
            lease_until: UtcMillis::from_epoch_millis(batch.lease_until),
            lease_left_ms: batch.lease_until - now,
        });
        Ok(Ok(shown.collect()))
    }

    pub(super) fn batch_items(
        &self,
        batch: &str,
        most: usize,
    ) -> CommandResult<Option<Vec<String>>> {
        let found = self.state.batches.iter().find(|(_, known)| known.id == batch);
        let Some((first_seq, batch)) = found else { return Ok(Ok(None)) };
        let sql = "SELECT body FROM queue_item WHERE seq BETWEEN ? AND ? ORDER BY seq";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([*first_seq, batch.last_seq])?;
        let (mut bodies, mut bytes) = (Vec::new(), 0);
        while bodies.len() < most
            && bytes < MAX_BATCH_BYTES
            && let Some(row) = rows.next()?
        {
            let body = damaged::lossy_text(row.get_ref(0)?);
            bytes += body.len();
            bodies.push(body);
        }
        Ok(Ok(Some(bodies)))
    }

    pub(super) fn waiting(
        &self,
        order: Order,
        after: Option<i64>,
        most: usize,
    ) -> CommandResult<Page<WaitingItem>> {
        let claimed_to = self.state.claimed_to;
        let item = |row: &rusqlite::Row<'_>| {
            let body = damaged::lossy_text(row.get_ref(1)?);
            Ok(WaitingItem { id: row.get::<_, i64>(0)?.to_string(), body })
        };
        let (sql, bounds) = match order {
            Order::OldestFirst => (
                "SELECT seq, body FROM queue_item WHERE seq > ? ORDER BY seq",
                vec![after.unwrap_or(0).max(claimed_to)],
            ),
            Order::NewestFirst => (
                "SELECT seq, body FROM queue_item WHERE seq < ? AND seq > ? ORDER BY seq DESC",
                vec![after.unwrap_or(i64::MAX), claimed_to],
            ),
        };
        self.page(sql, &bounds, most, item, |item| (&item.id, item.body.len())).map(Ok)
    }

    pub(super) fn failed(
        &self,
        after: Option<i64>,
        most: usize,
    ) -> CommandResult<Page<FailedItem>> {
        let sql = "SELECT id, body, reason, failed_at FROM failed_item WHERE id < ?
                   ORDER BY id DESC";
        let item = |row: &rusqlite::Row<'_>| {
            Ok(FailedItem {
                id: row.get::<_, i64>(0)?.to_string(),
                body: damaged::lossy_text(row.get_ref(1)?),
                reason: damaged::lossy_text(row.get_ref(2)?),
                failed_at: row.get_ref(3)?.as_i64().ok().map(UtcMillis::from_epoch_millis),
            })
        };
        let bounds = [after.unwrap_or(i64::MAX)];
        let page = self.page(sql, &bounds, most, item, |item| (&item.id, item.body.len()))?;
        Ok(Ok(page))
    }

    /// A page of up to `most` rows, or fewer if their bodies are large. `name` returns a row's id
    /// and size.
    fn page<T>(
        &self,
        sql: &str,
        bounds: &[i64],
        most: usize,
        read: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
        name: impl Fn(&T) -> (&str, usize),
    ) -> rusqlite::Result<Page<T>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let bounds: Vec<&dyn ToSql> = bounds.iter().map(|bound| bound as &dyn ToSql).collect();
        let mut rows = statement.query(&*bounds)?;
        let (mut items, mut bytes) = (Vec::new(), 0);
        let most = most.clamp(1, MAX_PAGE);
        let mut next = None;
        while let Some(row) = rows.next()? {
            if items.len() == most || bytes >= MAX_BATCH_BYTES {
                next = items.last().map(|item| name(item).0.to_owned());
                break;
            }
            let item = read(row)?;
            bytes += name(&item).1;
            items.push(item);
        }
        Ok(Page { items, next })
    }

    pub(super) fn delete_waiting(&mut self, ids: &[i64]) -> CommandResult<u64> {
        let mut deleted = 0;
        for id in ids {
            let sql = "DELETE FROM queue_item WHERE seq = ? AND seq > ?";
            let bounds = [*id, self.state.claimed_to];
            deleted += self.connection.prepare_cached(sql)?.execute(bounds)? as u64;
        }
        self.state.stats.depth -= deleted;
        Ok(Ok(deleted))
    }

    pub(super) fn retry_failed(&mut self, ids: &[i64]) -> CommandResult<u64> {
        let mut found = 0;
        for id in ids {
            // Unchanged, even if it is not text.
            let sql = "INSERT INTO queue_item (body)
                       SELECT coalesce(body, '') FROM failed_item WHERE id = ?";
            found += self.connection.prepare_cached(sql)?.execute([id])? as u64;
            let sql = "DELETE FROM failed_item WHERE id = ?";
            self.connection.prepare_cached(sql)?.execute([id])?;
        }
        self.state.stats.depth += found;
        self.state.stats.failed -= found;
        Ok(Ok(found))
    }

    /// The bodies of failed items, of those that exist.
    pub(super) fn failed_bodies(&self, ids: &[i64]) -> CommandResult<HashMap<i64, String>> {
        let mut bodies = HashMap::with_capacity(ids.len());
        let sql = "SELECT body FROM failed_item WHERE id = ?";
        let mut statement = self.connection.prepare_cached(sql)?;
        for id in ids {
            let body = statement.query_row([id], |row| Ok(damaged::lossy_text(row.get_ref(0)?)));
            bodies.extend(body.optional()?.map(|body| (*id, body)));
        }
        Ok(Ok(bodies))
    }

    /// Replaces failed items; returns how many existed.
    pub(super) fn retry_edited(&mut self, edits: &[CheckedEdit]) -> CommandResult<u64> {
        let mut changed = 0;
        for CheckedEdit { id, body } in edits {
            let sql = "DELETE FROM failed_item WHERE id = ?";
            if self.connection.prepare_cached(sql)?.execute([id])? == 0 {
                continue;
            }
            let sql = "INSERT INTO queue_item (body) VALUES (?)";
            self.connection.prepare_cached(sql)?.execute([body])?;
            changed += 1;
        }
        self.state.stats.depth += changed;
        self.state.stats.failed -= changed;
        Ok(Ok(changed))
    }

    pub(super) fn delete_failed(&mut self, ids: &[i64]) -> CommandResult<u64> {
        let mut deleted = 0;
        for id in ids {
            let sql = "DELETE FROM failed_item WHERE id = ?";
            deleted += self.connection.prepare_cached(sql)?.execute([id])? as u64;
        }
        self.state.stats.failed -= deleted;
        Ok(Ok(deleted))
    }
}
