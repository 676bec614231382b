//! Sessions whose latest version is yet to be written, because the previous one is of the same
//! second.
//!
//! They are kept in memory and written a second later. A table lists them as well, so that after a
//! crash the next sweep of any process completes them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use ::clickhouse::Row;
use serde::Deserialize;

use super::encode::Encoder;
use super::sessions::{self, AT_ONCE};
use super::{ClickHouseStore, session_writes};
use bklit_pipeline::store::StoreError;
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

/// Sessions by the time from which their version may be written.
pub(super) const POSTPONED: &str = "bklit_session_postponed";

/// Days that rows of [`POSTPONED`] are kept, and how far back a new process searches.
pub(super) const POSTPONED_DAYS: u32 = 2;

/// Sessions kept in memory; further ones are found in the table.
const KEPT: usize = 100_000;

/// Seconds within which a version is due in a moment.
const SOON: u32 = 1;

/// How long after its time a version counts as forgotten by the process that postponed it, in
/// seconds.
const FORGOTTEN: u32 = 60;

/// Sessions found in the table by one sweep; the next one continues.
const FOUND_AT_ONCE: usize = 20_000;

/// The postponed versions of this process.
#[derive(Default)]
pub(super) struct Postponed {
    due: Mutex<BTreeMap<SessionKey, u32>>,
    /// Versions due before this time have been looked for in the table.
    searched: Mutex<Option<u32>>,
}

impl Postponed {
    fn due(&self) -> std::sync::MutexGuard<'_, BTreeMap<SessionKey, u32>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the version is recorded.
    pub(super) fn has(&self, key: &SessionKey, at: u32) -> bool {
        self.due().get(key).is_some_and(|due| *due >= at)
    }

    pub(super) fn remove(&self, key: &SessionKey) {
        self.due().remove(key);
    }

    fn add(&self, key: &SessionKey, at: u32) {
        let mut due = self.due();
        if due.len() < KEPT || due.contains_key(key) {
            due.insert(key.clone(), at);
        }
    }
}

/// Records versions that are due later.
pub(super) async fn record(
    store: &ClickHouseStore,
    writer: &str,
    later: &[(&SessionKey, u32)],
) -> Result<(), StoreError> {
    let mut encoder = Encoder::default();
    let new = later.iter().filter(|(key, at)| !store.postponed.has(key, *at));
    for (key, at) in new {
        encoder.seconds(*at);
        encoder.text(&key.project_id);
        encoder.text(&key.session_id);
    }
    let into = format!("{POSTPONED} (due, project_id, session_id) FORMAT RowBinary");
    session_writes::insert(store, &into, &format!("{writer}:{POSTPONED}"), encoder.finish())
        .await?;
    later.iter().for_each(|(key, at)| store.postponed.add(key, *at));
    Ok(())
}

/// Writes the versions that are due by now. Returns whether others are due in a moment.
pub(super) async fn write(store: &ClickHouseStore) -> Result<bool, StoreError> {
    let by = |time: u32| -> Vec<_> {
        let due = store.postponed.due();
        due.iter().filter(|(_, at)| **at <= time).map(|(key, _)| key.clone()).collect()
    };
    for keys in by(sessions::seconds(UtcMillis::now())).chunks(AT_ONCE) {
        sessions::complete(store, keys.to_vec()).await?;
    }
    Ok(!by(sessions::seconds(UtcMillis::now()) + SOON).is_empty())
}

#[derive(Row, Deserialize)]
struct Found {
    project_id: String,
    session_id: String,
    last: u32,
}

/// Finds versions that a process postponed and did not write.
pub(super) async fn recover(store: &ClickHouseStore) -> Result<(), StoreError> {
    let searched = || store.postponed.searched.lock().unwrap_or_else(PoisonError::into_inner);
    let until = sessions::seconds(UtcMillis::now()).saturating_sub(FORGOTTEN);
    let since = searched().unwrap_or(until.saturating_sub(POSTPONED_DAYS * 24 * 60 * 60));
    let query = format!(
        "SELECT project_id, session_id, toUInt32(max(due)) AS last FROM {POSTPONED} \
         WHERE due >= {since} AND due < {until} GROUP BY project_id, session_id \
         ORDER BY last LIMIT {FOUND_AT_ONCE}"
    );
    let found: Vec<Found> = store.connection.rows(store.connection.statement(&query)).await?;
    let is_full = found.len() == FOUND_AT_ONCE;
    let next = found.last().filter(|_| is_full).map_or(until, |found| found.last);
    for Found { project_id, session_id, last } in found {
        store.postponed.add(&SessionKey { project_id, session_id }, last);
    }
    *searched() = Some(next);
    Ok(())
}
