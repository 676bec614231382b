//! The event ids that clients chose, to recognise their retries.

use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, params};

use super::tables::{Tables, now_millis};
use bklit_pipeline::queue::{CLIENT_ID_MEMORY, ClientId};

/// The table of the third version. Earlier programs use `client_event_id`, and may be running while
/// this one opens the file, so that table stays.
pub(super) const TABLES: &str = "
    CREATE TABLE client_id (
        key BLOB PRIMARY KEY,
        content BLOB NOT NULL,
        seen_at INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX client_id_by_age ON client_id (seen_at);
";

/// How often expired ids are removed, and how many at once.
const FORGET_EVERY: Duration = Duration::from_secs(60);
const FORGET_AT_ONCE: u64 = 10_000;

/// An id that a client chose.
pub(super) struct Chosen {
    pub(super) id: ClientId,
    /// As in the table of earlier versions.
    pub(super) project: String,
    pub(super) event: String,
}

/// What is known about an id.
#[derive(PartialEq, Eq)]
pub(super) enum Known {
    /// It is new, or forgotten.
    No,
    /// The event was accepted before.
    Same,
    /// A different event has it.
    Different,
}

/// Counts the remembered ids.
pub(super) fn count(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row("SELECT count(*) FROM client_id", (), |row| row.get(0))
}

impl Tables {
    pub(super) fn known(&self, chosen: &Chosen) -> rusqlite::Result<Known> {
        let since = oldest_remembered();
        let sql = "SELECT content FROM client_id WHERE key = ? AND seen_at > ?";
        let key = params![chosen.id.key, since];
        let content: Option<Vec<u8>> =
            self.connection.prepare_cached(sql)?.query_row(key, |row| row.get(0)).optional()?;
        match content {
            Some(content) if content == chosen.id.content => return Ok(Known::Same),
            Some(_) => return Ok(Known::Different),
            None => {}
        }
        let sql =
            "SELECT 1 FROM client_event_id WHERE project_id = ? AND event_id = ? AND seen_at > ?";
        let key = params![chosen.project, chosen.event, since];
        let is_known = self.connection.prepare_cached(sql)?.exists(key)?;
        Ok(if is_known { Known::Same } else { Known::No })
    }

    /// Remembers an id; if there are too many, forgets the oldest.
    pub(super) fn remember(&mut self, id: ClientId) -> rusqlite::Result<()> {
        let sql = "DELETE FROM client_id WHERE key = ?";
        let expired = self.connection.prepare_cached(sql)?.execute([id.key])? as u64;
        let sql = "INSERT INTO client_id (key, content, seen_at) VALUES (?, ?, ?)";
        let row = params![id.key, id.content, now_millis()];
        self.connection.prepare_cached(sql)?.execute(row)?;
        self.state.client_ids = (self.state.client_ids + 1).saturating_sub(expired);
        if self.state.client_ids > self.bounds.client_ids {
            // More than one, so that this is rare.
            let most = (self.bounds.client_ids / 100).clamp(1, FORGET_AT_ONCE);
            self.forget_before(i64::MAX, most)?;
        }
        Ok(())
    }

    /// Removes expired ids from time to time.
    pub(super) fn forget_client_ids(&mut self) -> rusqlite::Result<()> {
        if self.forgotten_at.elapsed() < FORGET_EVERY {
            return Ok(());
        }
        let since = oldest_remembered();
        let forgotten = self.forget_before(since, FORGET_AT_ONCE)?;
        let sql = "DELETE FROM client_event_id WHERE (project_id, event_id) IN
                   (SELECT project_id, event_id FROM client_event_id
                    WHERE seen_at <= ? ORDER BY seen_at LIMIT ?)";
        let older = self.connection.prepare_cached(sql)?.execute(params![since, FORGET_AT_ONCE])?;
        if forgotten.max(older as u64) < FORGET_AT_ONCE {
            self.forgotten_at = Instant::now();
        }
        Ok(())
    }

    /// Removes up to `most` ids from before `since`, the oldest first; returns how many.
    fn forget_before(&mut self, since: i64, most: u64) -> rusqlite::Result<u64> {
        let sql = "DELETE FROM client_id WHERE key IN
                   (SELECT key FROM client_id WHERE seen_at <= ? ORDER BY seen_at LIMIT ?)";
        let forgotten = self.connection.prepare_cached(sql)?.execute(params![since, most])? as u64;
        self.state.client_ids = self.state.client_ids.saturating_sub(forgotten);
        Ok(forgotten)
    }
}

fn oldest_remembered() -> i64 {
    now_millis() - i64::try_from(CLIENT_ID_MEMORY.as_millis()).unwrap_or(i64::MAX)
}
