//! Ends idle sessions without reading all sessions.
//!
//! Every writer of session rows records their last activity in a table sorted by that time. A sweep
//! finds there the sessions whose last activity lies between the previous sweep and now, and reads
//! only their states. The progress of the sweeps is stored with the session states, under a key
//! that no session has, so every worker continues from there, also after a restart.
//!
//! An event may arrive after the sweep has passed its time. Its activity is then recorded at the
//! time that this process's sweeps have reached, or, if this process has not swept for a while because
//! it was idle, those of the others. Each window overlaps the previous one by
//! [`OVERLAP`], which is longer than the sweeps of two processes are apart; in the overlap only
//! recently recorded activity counts. A sweep reads all sessions only if the progress is unknown,
//! if it is older than the recorded activity, and once a day. The daily scan finds sessions without
//! recorded activity: those written by an older version or with a wrong clock.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::clickhouse::Row;
use serde::Deserialize;
use tokio::time::Instant;

use super::encode::Encoder;
use super::session_state::STATE;
use super::{ClickHouseStore, recovery, session_writes, sessions, sql};
use bklit_pipeline::store::StoreError;
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

/// Last activity of sessions, sorted by time.
pub(super) const ACTIVITY: &str = "bklit_session_activity";

/// Days that rows of [`ACTIVITY`] are kept.
pub(super) const ACTIVITY_DAYS: u32 = 4;

/// The maximum age of usable activity rows, in milliseconds. One day less than they are kept,
/// because the server's clock decides when they are removed.
const RELIABLE: i64 = (ACTIVITY_DAYS as i64 - 1) * 24 * 60 * 60 * 1000;

/// Overlap of a window with the previous one, in milliseconds.
const OVERLAP: i64 = 3 * 60 * 1000;

/// How long the known progress of the sweeps of all processes is used: no longer than [`OVERLAP`].
const KNOWN_FOR: Duration = Duration::from_millis(OVERLAP as u64);

/// Interval between scans of all sessions.
const ALL_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Interval before a failed scan of all sessions is retried; it may fail on a very large table.
/// Normal sweeps continue in between.
const ALL_AGAIN: Duration = Duration::from_secs(60 * 60);

/// Maximum sessions found by one statement.
const FOUND_AT_ONCE: usize = 50_000;

/// The key of the row that stores the sweeps' progress. No project has an empty id.
const SWEPT: SessionKey = SessionKey { project_id: String::new(), session_id: String::new() };

/// Progress of the sweeps in this process.
pub(super) struct Sweeps {
    /// Sessions last active before this time have been swept, to this process's knowledge.
    /// `i64::MIN` if none have; `None` until it was read.
    swept: Mutex<Option<i64>>,
    /// How far the sweeps of all processes had come, and when that was read.
    shared: Mutex<Option<(i64, Instant)>>,
    current: tokio::sync::Mutex<Current>,
}

/// The sweep in progress.
struct Current {
    /// Sessions idle since this time are ended.
    since: i64,
    /// The times to search; `None` for all sessions.
    window: Option<Window>,
    /// Sessions that were found and not yet ended.
    found: VecDeque<SessionKey>,
    /// Whether another statement may find more sessions.
    more: bool,
    /// Whether some of the sessions found last have been ended.
    advances: bool,
    /// When the next scan of all sessions is due.
    all_due: Instant,
    /// Whether everything before the windows has been swept.
    is_whole: bool,
}

/// The times of last activity that a sweep searches.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Window {
    /// Start of the overlap: activity recorded late may be from here on.
    from: i64,
    /// Before this, only activity recorded late has not been swept.
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
        let (swept, shared) = (Mutex::default(), Mutex::default());
        Self { swept, shared, current: tokio::sync::Mutex::new(current) }
    }
}

impl Sweeps {
    fn swept(&self) -> Option<i64> {
        *self.swept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_swept(&self, to: i64) {
        *self.swept.lock().unwrap_or_else(PoisonError::into_inner) = Some(to);
        self.set_shared(to);
    }

    fn shared(&self) -> Option<i64> {
        let shared = *self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.filter(|(_, read)| read.elapsed() < KNOWN_FOR).map(|(at, _)| at)
    }

    fn set_shared(&self, to: i64) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        *shared = Some((to, Instant::now()));
    }
}

#[derive(Row, Deserialize)]
struct Found {
    project_id: String,
    session_id: String,
}

/// Records the last activity of sessions that may be open. Must be stored before the sessions' rows
/// are written, because it is not repeated afterwards.
pub(super) async fn record_activity(
    store: &ClickHouseStore,
    last_seen: &[(&SessionKey, i64)],
) -> Result<(), StoreError> {
    if last_seen.is_empty() {
        return Ok(());
    }
    let floor = floor(store).await?;
    let mut encoder = Encoder::default();
    for (key, seen) in last_seen {
        encoder.number((*seen).max(floor));
        encoder.text(&key.project_id);
        encoder.text(&key.session_id);
    }
    let into = format!("{ACTIVITY} (seen, project_id, session_id) FORMAT RowBinary");
    session_writes::insert(store, &into, encoder.finish()).await
}

/// The earliest time that the next sweep of any process will search.
async fn floor(store: &ClickHouseStore) -> Result<i64, StoreError> {
    if let Some(shared) = store.sweeps.shared() {
        return Ok(shared);
    }
    let now = UtcMillis::now().epoch_millis();
    // A mark in the future was written with a wrong clock.
    let mark = read_mark(store).await?.filter(|mark| *mark <= now).unwrap_or(i64::MIN);
    let mut swept = store.sweeps.swept.lock().unwrap_or_else(PoisonError::into_inner);
    let floor = mark.max(*swept.get_or_insert(mark));
    store.sweeps.set_shared(floor);
    Ok(floor)
}

/// Ends up to `most` sessions without activity since `since`.
pub(super) async fn end(
    store: &ClickHouseStore,
    since: UtcMillis,
    most: usize,
) -> Result<Vec<SessionKey>, StoreError> {
    let since = since.epoch_millis();
    // If this is cancelled, the state of the sweep is unchanged.
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
                // Other workers are ending these sessions; the next sweep checks again.
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
        // Without the mark the next sweep only searches more; ended sessions must be reported.
        if ended.is_empty() {
            finished?;
        }
    }
    Ok(ended)
}

/// Whether activity at that time or later is recorded.
pub(super) async fn has_any_since(
    store: &ClickHouseStore,
    since: UtcMillis,
) -> Result<bool, StoreError> {
    let since = since.epoch_millis();
    let query = format!("SELECT toUInt8(1) FROM {ACTIVITY} WHERE seen >= {since} LIMIT 1");
    let found: Vec<u8> = store.connection.rows(store.connection.statement(&query)).await?;
    Ok(!found.is_empty())
}

/// Starts a sweep.
async fn begin(
    store: &ClickHouseStore,
    current: &mut Current,
    since: i64,
) -> Result<(), StoreError> {
    sessions::write_due(store).await?;
    recovery::recover(store).await;
    let mark = read_mark(store).await?;
    let known = window(store.sweeps.swept(), mark, since);
    let (now, mut all_due) = (Instant::now(), current.all_due);
    let window = known.filter(|_| now < all_due);
    if window.is_none() {
        all_due = now + ALL_AGAIN;
    }
    if known.is_none() {
        // If this sweep fails, the next one continues from here.
        store.sweeps.set_swept(since);
    }
    let is_whole = current.is_whole || self::window(None, mark, since).is_some();
    let found = VecDeque::new();
    *current = Current { since, window, found, more: true, advances: true, all_due, is_whole };
    Ok(())
}

/// Records that a sweep is complete.
async fn finish(store: &ClickHouseStore, current: &mut Current) -> Result<(), StoreError> {
    let since = current.since;
    if current.window.is_none() {
        current.all_due = Instant::now() + ALL_EVERY;
        current.is_whole = true;
    }
    store.sweeps.set_swept(since);
    if !current.is_whole {
        // The next process has to scan all sessions.
        return Ok(());
    }
    let mut encoder = Encoder::default();
    encoder.text(&SWEPT.project_id);
    encoder.text(&SWEPT.session_id);
    encoder.optional_number(Some(since));
    let into = format!("{STATE} (project_id, session_id, last_seen) FORMAT RowBinary");
    session_writes::insert(store, &into, encoder.finish()).await
}

/// The window of a sweep for sessions idle since `since`, if this process has swept up to `own` and
/// the stored mark is `shared`; `None` if all sessions must be read.
fn window(own: Option<i64>, shared: Option<i64>, since: i64) -> Option<Window> {
    // A mark in the future is from a wrong clock or a shorter timeout, and is useless.
    let usable = |mark: &i64| *mark > i64::MIN && *mark <= since.saturating_add(OVERLAP);
    let (own, shared) = (own.filter(usable), shared.filter(usable));
    let swept = own.max(shared)?;
    let overlap = shared.unwrap_or(swept).saturating_sub(OVERLAP);
    let from = own.unwrap_or(overlap).min(overlap);
    let now = UtcMillis::now().epoch_millis();
    (now.saturating_sub(from) < RELIABLE).then_some(Window { from, swept })
}

/// Finds sessions in the window that were last active before `since` and have not ended.
async fn find(
    store: &ClickHouseStore,
    window: Option<Window>,
    since: i64,
) -> Result<VecDeque<SessionKey>, StoreError> {
    let within = window.map(|Window { from, swept }| {
        // Compared with the server's clock only, which sets `touched`.
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

/// The latest mark stored by any process.
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
    fn a_window_starts_where_the_previous_sweep_ended() {
        let now = UtcMillis::now().epoch_millis();
        let since = now - 1_800_000;
        let ago = |minutes: i64| Some(since - minutes * 60_000);
        let future = Some(since + 86_400_000);
        let window_of =
            |own, shared| window(own, shared, since).map(|w| (Some(w.from), Some(w.swept)));
        assert_eq!(window_of(None, None), None, "nothing is known");
        assert_eq!(window_of(Some(i64::MIN), None), None);
        assert_eq!(window_of(None, ago(1)), Some((ago(4), ago(1))), "another process has swept");
        assert_eq!(window_of(ago(1), None), Some((ago(4), ago(1))));
        assert_eq!(window_of(ago(2), ago(1)), Some((ago(4), ago(1))));
        assert_eq!(window_of(ago(9), ago(1)), Some((ago(9), ago(1))), "this process is behind");
        assert_eq!(window_of(ago(1), ago(9)), Some((ago(12), ago(1))), "the mark is behind");
        assert_eq!(window_of(ago(1), future), Some((ago(4), ago(1))), "another's wrong clock");
        assert_eq!(window_of(future, ago(1)), Some((ago(4), ago(1))), "its own wrong clock");
        assert_eq!(window_of(future, future), None);
        assert_eq!(
            window_of(None, Some(now - RELIABLE)),
            None,
            "the activity rows may have expired"
        );
        assert_eq!(window_of(None, Some(i64::MAX)), None);
    }
}
