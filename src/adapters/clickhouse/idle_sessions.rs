//! Ends idle sessions without reading all sessions.
//!
//! Each batch notes when its open sessions were last active, in a table sorted by that moment. A
//! sweep finds there the sessions whose last activity lies between the sweep before and now, and
//! looks up only these. How far the sweeps have come is kept beside the sessions' states, under a key
//! that no session has: a process that starts goes on from there, and so does every other worker.
//!
//! An event may arrive after the time it is from was swept. It is noted as of the point that its
//! process's sweeps have reached, and each window overlaps the one before by [`OVERLAP`], more
//! than the sweeps of two processes are apart; of the overlap only what was noted lately counts.
//! All sessions are read only when nothing is known
//! of earlier sweeps, when these are longer ago than the notes are kept, and once a day, to find
//! what the notes lack: sessions written by an older version or under a wrong clock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::clickhouse::Row;
use serde::Deserialize;
use tokio::time::Instant;

use super::encode::Encoder;
use super::sessions::{self, STATE, State};
use super::{ClickHouseStore, sql};
use bklit_pipeline::store::StoreError;
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

/// The table of when sessions were active, sorted by that.
pub(super) const ACTIVITY: &str = "bklit_session_activity";

/// Days that its rows are kept.
pub(super) const ACTIVITY_DAYS: u32 = 4;

/// The farthest into the past that its rows are relied on, in milliseconds: a day less than they
/// are kept, as the server's clock removes them.
const RELIABLE: i64 = (ACTIVITY_DAYS as i64 - 1) * 24 * 60 * 60 * 1000;

/// By how much a window overlaps the one before, in milliseconds.
const OVERLAP: i64 = 3 * 60 * 1000;

/// How often all sessions are read.
const ALL_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// How soon that is tried again when it failed, as it may on a very large table. Meanwhile sweeps
/// go on from where they are.
const ALL_AGAIN: Duration = Duration::from_secs(60 * 60);

/// Sessions found by one statement.
const FOUND_AT_ONCE: usize = 50_000;

/// The key under which it is kept how far the sweeps have come. No project has an empty id.
const SWEPT: SessionKey = SessionKey { project_id: String::new(), session_id: String::new() };

/// How far the sweeps have come.
pub(super) struct Sweeps {
    /// What was active last before this has been swept, as far as this process knows;
    /// `i64::MIN` when nothing was, `None` before it was read.
    swept: Mutex<Option<i64>>,
    current: tokio::sync::Mutex<Current>,
}

/// The sweep in progress.
struct Current {
    /// What it is about: sessions idle since then.
    since: i64,
    /// Where it looks; `None` for all sessions.
    window: Option<Window>,
    /// Sessions that were found and not ended yet.
    found: VecDeque<SessionKey>,
    /// There may be more to find.
    more: bool,
    /// Some of those that were found last have been ended.
    advances: bool,
    /// When all sessions are due to be read.
    all_due: Instant,
    /// Nothing before the windows is left to be swept.
    is_whole: bool,
}

/// The times of last activity that a sweep looks at, up to what it is about.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Window {
    /// What was noted late may be from here on.
    from: i64,
    /// Before this, only what was noted late has not been swept.
    swept: i64,
}

impl Default for Sweeps {
    fn default() -> Self {
        let current = Current {
            since: i64::MIN,
            window: None,
            found: VecDeque::new(),
            more: false,
            advances: true,
            all_due: Instant::now() + ALL_EVERY,
            is_whole: false,
        };
        Self { swept: Mutex::default(), current: tokio::sync::Mutex::new(current) }
    }
}

impl Sweeps {
    fn swept(&self) -> Option<i64> {
        *self.swept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_swept(&self, to: i64) {
        *self.swept.lock().unwrap_or_else(PoisonError::into_inner) = Some(to);
    }
}

#[derive(Row, Deserialize)]
struct Found {
    project_id: String,
    session_id: String,
}

/// Notes when these sessions were active last, those that have not ended. It must be stored
/// before the sessions' states are: a batch that is repeated writes what its states lack.
pub(super) async fn note(
    store: &ClickHouseStore,
    batch: &str,
    states: &BTreeMap<&SessionKey, &State>,
) -> Result<(), StoreError> {
    let open = states.iter().filter(|(_, state)| !state.session.ended());
    let open: Vec<_> =
        open.filter_map(|(key, state)| Some((key, state.session.last_seen?))).collect();
    if open.is_empty() {
        return Ok(());
    }
    let floor = floor(store).await?;
    let mut encoder = Encoder::default();
    for (key, last_seen) in open {
        encoder.number(last_seen.max(floor));
        encoder.text(&key.project_id);
        encoder.text(&key.session_id);
    }
    let rows = encoder.finish();
    let token = format!("{batch}:{ACTIVITY}:{}", sessions::digest(&rows));
    let into = format!("{ACTIVITY} (seen, project_id, session_id) FORMAT RowBinary");
    store.connection.insert(&into, &token, rows).await
}

/// The earliest moment at which the next sweep of this process will look.
async fn floor(store: &ClickHouseStore) -> Result<i64, StoreError> {
    if let Some(swept) = store.sweeps.swept() {
        return Ok(swept);
    }
    let now = UtcMillis::now().epoch_millis();
    // One in the future was made under a wrong clock.
    let mark = read_mark(store).await?.filter(|mark| *mark <= now).unwrap_or(i64::MIN);
    let mut swept = store.sweeps.swept.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(*swept.get_or_insert(mark))
}

/// Ends sessions in which nothing happened since `since`.
pub(super) async fn end(
    store: &ClickHouseStore,
    since: UtcMillis,
    most: usize,
) -> Result<Vec<SessionKey>, StoreError> {
    let since = since.epoch_millis();
    // Given up half-way, all is as before.
    let mut current = store.sweeps.current.lock().await;
    if current.since != since {
        begin(store, &mut current, since).await?;
    }
    let mut ended = Vec::new();
    while ended.len() < most {
        if current.found.is_empty() {
            if !current.more {
                break;
            }
            if !current.advances {
                // Other workers are at it; the next sweep looks again.
                return Ok(ended);
            }
            current.found = find(store, current.window, since).await?;
            current.more = current.found.len() == FOUND_AT_ONCE;
            current.advances = false;
            continue;
        }
        let some = current.found.len().min(most - ended.len());
        let keys: Vec<_> = current.found.range(..some).collect();
        let newly = sessions::end_if_idle(store, &keys, since).await?;
        current.found.drain(..some);
        current.advances |= !newly.is_empty();
        ended.extend(newly);
    }
    if current.found.is_empty() && !current.more {
        let finished = finish(store, &mut current).await;
        // Without its mark the next sweep only looks at more; what has ended must be reported.
        if ended.is_empty() {
            finished?;
        }
    }
    Ok(ended)
}

/// Begins a sweep.
async fn begin(
    store: &ClickHouseStore,
    current: &mut Current,
    since: i64,
) -> Result<(), StoreError> {
    let mark = read_mark(store).await?;
    let known = window(store.sweeps.swept(), mark, since);
    let (now, mut all_due) = (Instant::now(), current.all_due);
    let window = known.filter(|_| now < all_due);
    if window.is_none() {
        all_due = now + ALL_AGAIN;
    }
    if known.is_none() {
        // Should this one fail, the next one has somewhere to begin.
        store.sweeps.set_swept(since);
    }
    let is_whole = current.is_whole || self::window(None, mark, since).is_some();
    let found = VecDeque::new();
    *current = Current { since, window, found, more: true, advances: true, all_due, is_whole };
    Ok(())
}

/// Notes that a sweep is complete.
async fn finish(store: &ClickHouseStore, current: &mut Current) -> Result<(), StoreError> {
    let since = current.since;
    if current.window.is_none() {
        current.all_due = Instant::now() + ALL_EVERY;
        current.is_whole = true;
    }
    store.sweeps.set_swept(since);
    if !current.is_whole {
        // The next process has to look at all sessions.
        return Ok(());
    }
    let mut encoder = Encoder::default();
    encoder.text(&SWEPT.project_id);
    encoder.text(&SWEPT.session_id);
    encoder.optional_number(Some(since));
    let into = format!("{STATE} (project_id, session_id, last_seen) FORMAT RowBinary");
    store.connection.insert(&into, &format!("swept:{since}"), encoder.finish()).await
}

/// Where a sweep of what is idle since `since` looks, if this process has swept up to `own` and
/// the mark of all is `shared`; `None` when only a look at all sessions will do.
fn window(own: Option<i64>, shared: Option<i64>, since: i64) -> Option<Window> {
    // A mark ahead of us is from a wrong clock or a shorter timeout, and says nothing.
    let usable = |mark: &i64| *mark > i64::MIN && *mark <= since.saturating_add(OVERLAP);
    let (own, shared) = (own.filter(usable), shared.filter(usable));
    let swept = own.max(shared)?;
    let overlap = shared.unwrap_or(swept).saturating_sub(OVERLAP);
    let from = own.unwrap_or(overlap).min(overlap);
    let now = UtcMillis::now().epoch_millis();
    (now.saturating_sub(from) < RELIABLE).then_some(Window { from, swept })
}

/// Sessions that were active last before `since`, within the window, and have not ended.
async fn find(
    store: &ClickHouseStore,
    window: Option<Window>,
    since: i64,
) -> Result<VecDeque<SessionKey>, StoreError> {
    let within = window.map(|Window { from, swept }| {
        // By the server's clock alone, as it notes when a row was added.
        let lately = since.saturating_sub(from) / 1000 + 60;
        format!(
            " WHERE (project_id, session_id) IN (SELECT project_id, session_id FROM {ACTIVITY} \
             WHERE seen >= {from} AND (project_id, session_id) IN (\
             SELECT project_id, session_id FROM {ACTIVITY} WHERE seen >= {from} AND seen < {since} \
             AND (seen >= {swept} OR touched >= now() - INTERVAL {lately} SECOND)) \
             GROUP BY project_id, session_id HAVING max(seen) < {since})"
        )
    });
    let query = format!(
        "SELECT project_id, session_id FROM {STATE}{} GROUP BY project_id, session_id \
         HAVING min(entry) IS NOT NULL AND max(last_seen) < {since} \
         AND (max(end_seen) IS NULL OR max(end_seen) < max(last_seen)) \
         ORDER BY max(last_seen) LIMIT {FOUND_AT_ONCE}",
        within.unwrap_or_default()
    );
    let found: Vec<Found> = store.connection.rows(store.connection.statement(&query)).await?;
    let key = |Found { project_id, session_id }| SessionKey { project_id, session_id };
    Ok(found.into_iter().map(key).collect())
}

/// Up to when some process has swept.
async fn read_mark(store: &ClickHouseStore) -> Result<Option<i64>, StoreError> {
    let SessionKey { project_id, session_id } = &SWEPT;
    let query = format!(
        "SELECT assumeNotNull(last_seen) AS mark FROM {STATE} WHERE project_id = {} AND \
         session_id = {} AND last_seen IS NOT NULL ORDER BY mark DESC LIMIT 1",
        sql::literal(project_id),
        sql::literal(session_id)
    );
    let marks: Vec<i64> = store.connection.rows(store.connection.statement(&query)).await?;
    Ok(marks.into_iter().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_begins_where_the_sweeps_have_come_to() {
        let now = UtcMillis::now().epoch_millis();
        let since = now - 1_800_000;
        let ago = |minutes: i64| Some(since - minutes * 60_000);
        let future = Some(since + 86_400_000);
        let looks = |own, shared| window(own, shared, since).map(|w| (Some(w.from), Some(w.swept)));
        assert_eq!(looks(None, None), None, "nothing is known");
        assert_eq!(looks(Some(i64::MIN), None), None);
        assert_eq!(looks(None, ago(1)), Some((ago(4), ago(1))), "another process has swept");
        assert_eq!(looks(ago(1), None), Some((ago(4), ago(1))));
        assert_eq!(looks(ago(2), ago(1)), Some((ago(4), ago(1))));
        assert_eq!(looks(ago(9), ago(1)), Some((ago(9), ago(1))), "this process is behind");
        assert_eq!(looks(ago(1), ago(9)), Some((ago(12), ago(1))), "the mark is behind");
        assert_eq!(looks(ago(1), future), Some((ago(4), ago(1))), "another's wrong clock");
        assert_eq!(looks(future, ago(1)), Some((ago(4), ago(1))), "its own wrong clock");
        assert_eq!(looks(future, future), None);
        assert_eq!(looks(None, Some(now - RELIABLE)), None, "the notes may be gone");
        assert_eq!(looks(None, Some(i64::MAX)), None);
    }
}
