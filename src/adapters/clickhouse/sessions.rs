//! Session states and their versions in `tracked_session`.
//!
//! The state of a session is a set of minima and maxima (see `store::session`), so neither repeated
//! events nor their order matter. Batches add what they know of their sessions as rows of a
//! separate table, which the server aggregates: nothing is read, no worker overwrites what another
//! one wrote, and a repeated batch adds nothing. They are inserted for several batches at once (see
//! `gathered`).
//!
//! The versions in `tracked_session` are derived from the states, once a second, or every few
//! seconds while there is a backlog, for the sessions that have changed (see `pending`, and
//! `recovery` for what a crash leaves). The state is written first, with the `updated_at` of the
//! version that follows; so every later version in the table is from another program, and what that
//! one added is merged into the state. A version is written if it differs from the latest one,
//! whichever program wrote that: so after a crash in between, or when two processes write at the
//! same time, the right version is written in the end. After writing, both tables are read again
//! until nothing is left to write.
//!
//! `updated_at` has whole seconds and is never ahead of the server's clock, or it would hide what
//! other programs write later. So a session has at most one version per second.

use std::collections::{BTreeSet, HashMap};

use foldhash::{HashSet, HashSetExt as _};

use super::foreign_starts;
use super::pending;
use super::session_plan::{Next, Plan};
use super::session_state::{self, State, StateRows};
use super::session_versions::{self, Found, Started, Versions};
use super::{ClickHouseStore, idle_sessions, recovery, session_writes};
use bklit_pipeline::store::schema::TRACKED_SESSION;
use bklit_pipeline::store::session::{Session, contributions};
use bklit_pipeline::store::{Batch, StoreError, WrittenSessions};
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

/// Sessions read by one statement.
pub(super) const AT_ONCE: usize = 10_000;

/// A version that is due within this many seconds counts as due in a moment.
const SOON: u32 = 1;

/// Attempts to write a version while other workers change the same session.
const ROUNDS: usize = 8;

/// How long before its first event a session may have been started by another program, in seconds.
/// Limits how many versions are searched.
pub(super) const LOOKBACK: i64 = 24 * 60 * 60;

/// What is to be done with sessions.
#[derive(Clone, Copy, Default)]
pub(super) struct Change {
    /// The minimum `updated_at` of their next version.
    pub(super) at: u32,
    /// They are ended if they had no event since, in milliseconds since the epoch.
    pub(super) idle_since: Option<i64>,
}

/// What became of sessions.
#[derive(Default)]
pub(super) struct Changed {
    /// Those that this has ended.
    ended: Vec<SessionKey>,
    /// Those that have ended, now or before, and when.
    closed: Vec<(SessionKey, UtcMillis)>,
    /// Those whose next version is due later, in seconds since the epoch.
    later: HashMap<SessionKey, u32>,
}

/// A session as it is stored.
#[derive(Default)]
pub(super) struct Stored {
    pub(super) state: State,
    pub(super) versions: Versions,
}

/// Sessions as they are stored, and the server's clock in seconds since the epoch.
struct Loaded<'k> {
    clock: u32,
    sessions: Vec<(&'k SessionKey, Stored)>,
}

impl<'k> Loaded<'k> {
    /// The sessions that have not ended, with their last activity.
    fn active(&self) -> Vec<(&'k SessionKey, i64)> {
        let open = self.sessions.iter().filter(|(_, one)| !one.state.session.ended());
        open.filter_map(|(key, one)| Some((*key, one.state.session.last_seen?))).collect()
    }
}

/// Gathers what a batch says about its sessions.
pub(super) fn gather(store: &ClickHouseStore, batch: &Batch) {
    store.pending.stored(batch.events.len());
    store.gathered.add(&contributions(batch.events.iter()));
}

/// Adds what was gathered to the states of the sessions.
pub(super) async fn record(store: &ClickHouseStore) -> Result<(), StoreError> {
    let gathered = store.gathered.take().await;
    if gathered.sessions().is_empty() {
        return Ok(());
    }
    let mut states = StateRows::default();
    for (key, known) in gathered.sessions() {
        states.add(key, known, 0);
    }
    store.writer.mark_states(&mut states);
    let insert = store.pending.begin().await;
    session_writes::insert(store, &session_state::insert_into(), states.finish())
        .await
        .map_err(not_the_events_fault)?;
    store.writer.begun();
    let latest = |known: Session| known.latest().unwrap_or(i64::MIN);
    insert.finish(gathered.done().into_iter().map(|(key, known)| (key, latest(known))));
    Ok(())
}

/// Writes the versions that are due, unless a backlog is about to change them again; returns what is
/// to be reported.
pub(super) async fn write(store: &ClickHouseStore) -> Result<WrittenSessions, StoreError> {
    if !store.pending.waits() {
        write_due(store).await?;
    }
    Ok(WrittenSessions {
        closed: store.pending.take_closed(),
        more: store.pending.has_due(store.pending.now() + SOON),
        notes: store.notes.take(),
    })
}

/// Writes the versions that are due.
pub(super) async fn write_due(store: &ClickHouseStore) -> Result<(), StoreError> {
    for due in store.pending.due(store.pending.now()).chunks(AT_ONCE) {
        settle(store, due, Change::default()).await?;
    }
    recovery::mark_idle(store).await
}

/// Writes the versions of sessions that may lack one.
pub(super) async fn complete(
    store: &ClickHouseStore,
    keys: &[SessionKey],
) -> Result<(), StoreError> {
    let held = store.pending.hold(keys.iter());
    settle(store, &held, Change::default()).await.map(|_| ())
}

/// Ends those of the sessions that had no activity since `since`.
pub(super) async fn end_if_idle(
    store: &ClickHouseStore,
    keys: &[&SessionKey],
    since: i64,
) -> Result<Vec<SessionKey>, StoreError> {
    let change = Change { at: seconds(UtcMillis::now()), idle_since: Some(since) };
    let held = store.pending.hold(keys.iter().copied());
    settle(store, &held, change).await
}

/// Applies a change to pending sessions, and writes the versions that they lack. Those that are
/// written are no longer pending. Returns those that this has ended.
async fn settle(
    store: &ClickHouseStore,
    pending: &[(SessionKey, pending::Session)],
    change: Change,
) -> Result<Vec<SessionKey>, StoreError> {
    let Changed { ended, closed, later } = review(store, pending, change).await?;
    store.pending.finish(pending, &later.iter().map(|(key, due)| (key, *due)).collect());
    store.pending.report_closed(closed);
    Ok(ended)
}

/// The keys of the first page views of sessions; see `Store::first_views`.
pub(super) async fn first_views(
    store: &ClickHouseStore,
    keys: &[SessionKey],
) -> Result<HashMap<SessionKey, String>, StoreError> {
    record(store).await?;
    let loaded = load(store, &keys.iter().collect::<Vec<_>>(), BTreeSet::new()).await?;
    let first = |(key, stored): (&SessionKey, Stored)| {
        let Stored { state: State { session, version }, versions } = stored;
        // Even if it is the same page view: another program has already announced it.
        let theirs = versions.first_view_since(version);
        let entry = theirs.or_else(|| session.entry.map(|entry| entry.key))?;
        Some((key.clone(), entry))
    };
    Ok(loaded.sessions.into_iter().filter_map(first).collect())
}

async fn review(
    store: &ClickHouseStore,
    pending: &[(SessionKey, pending::Session)],
    change: Change,
) -> Result<Changed, StoreError> {
    let _held = store.key_locks.hold(pending.iter().map(|(key, _)| key)).await;
    let keys: Vec<_> = pending.iter().map(|(key, _)| key).collect();
    let mut loaded = load(store, &keys, BTreeSet::new()).await?;
    let mut changed = Changed::default();
    // A replica that is behind knows less than what this process has stored.
    let mut pending = pending.iter();
    loaded.sessions.retain(|(key, stored)| {
        let known = stored.state.session.latest().unwrap_or(i64::MIN);
        let is_behind = pending.next().is_some_and(|(_, session)| session.seen > known);
        if is_behind {
            changed.later.insert((*key).clone(), loaded.clock.saturating_add(SOON));
        }
        !is_behind
    });
    if change.idle_since.is_none() {
        idle_sessions::record_activity(store, &loaded.active()).await?;
    }
    apply(store, change, loaded, changed).await
}

/// Reads the sessions, with the versions that started at the same time as their states, or at one of
/// `starts`.
async fn load<'k>(
    store: &ClickHouseStore,
    keys: &[&'k SessionKey],
    mut starts: BTreeSet<i64>,
) -> Result<Loaded<'k>, StoreError> {
    // Shows how the tables have to be read: replicated ones, for example.
    store.schemas.of(&store.connection, &TRACKED_SESSION).await?;
    let mut states = session_state::read(store, keys).await?;
    // The earliest time at which another program may have started a session that this one has no
    // version of.
    let mut earliest: Option<i64> = None;
    let mut unknown = Vec::new();
    for &key in keys {
        let Some(state) = states.get(key) else { continue };
        let active = i64::from(state.active_at());
        starts.insert(state.session.started_at().map_or(active, |start| start.epoch_seconds()));
        if state.version == 0 {
            unknown.push(key);
            let start = state.earliest_start();
            earliest = Some(earliest.unwrap_or(start).min(start));
        }
    }
    let since = earliest.map(|start| start.saturating_sub(LOOKBACK));
    let theirs = foreign_starts::since(store, since).await?;
    store.pending.set_clock(theirs.clock);
    let mut found = versions(store, keys, &states, &Started::At(starts)).await?;
    if let Some(since) = since.filter(|_| theirs.exist) {
        found.add(session_versions::read(store, &unknown, &Started::Since(since)).await?);
    }
    // The last version of this program is missing, or from before an earlier page view arrived.
    let is_hidden = |key: &SessionKey| {
        let known = states.get(key).map_or(0, |state| state.version);
        known > found.get(key).map_or(0, |latest| latest.updated)
    };
    let hidden: Vec<_> = keys.iter().copied().filter(|key| is_hidden(key)).collect();
    let since = hidden.iter().filter_map(|key| states.get(*key).map(State::earliest_start)).min();
    if let Some(since) = since {
        found.add(session_versions::read(store, &hidden, &Started::Since(since)).await?);
    }
    // A version later than its state is from another program only if the state is read after it.
    let later = |&&key: &&&'k SessionKey| {
        let known = states.get(key).map_or(0, |state| state.version);
        found.get(key).is_some_and(|latest| latest.updated > known)
    };
    let doubtful: Vec<_> = keys.iter().filter(later).copied().collect();
    if !doubtful.is_empty() {
        states.extend(session_state::read(store, &doubtful).await?);
    }
    let stored = |&key: &&'k SessionKey| {
        let state = states.remove(key).unwrap_or_default();
        (key, Stored { state, versions: found.remove(key) })
    };
    Ok(Loaded { clock: theirs.clock, sessions: keys.iter().map(stored).collect() })
}

/// The versions of sessions, without those that add nothing to what is known of the session.
async fn versions(
    store: &ClickHouseStore,
    keys: &[&SessionKey],
    states: &foldhash::HashMap<SessionKey, State>,
    started: &Started,
) -> Result<Found, StoreError> {
    let mut found = session_versions::read_some(store, keys, started).await?;
    let lacks_some = |key: &&&SessionKey| {
        let state = states.get(**key);
        state.is_some_and(|state| found.lacks_some(key, &state.session, state.version))
    };
    let incomplete: Vec<_> = keys.iter().filter(lacks_some).copied().collect();
    if !incomplete.is_empty() {
        found.add(session_versions::read(store, &incomplete, started).await?);
    }
    Ok(found)
}

async fn apply(
    store: &ClickHouseStore,
    change: Change,
    mut loaded: Loaded<'_>,
    mut changed: Changed,
) -> Result<Changed, StoreError> {
    let mut written = HashSet::new();
    for round in 0..ROUNDS {
        let mut planned = Vec::new();
        for (key, stored) in loaded.sessions {
            let noted = (round == 0).then_some(&mut changed);
            let plan = Plan::new(key, stored, change, loaded.clock, written.contains(key), noted);
            match plan.next {
                Next::None => drop(changed.later.remove(key)),
                Next::Later(due) => drop(changed.later.insert(key.clone(), due)),
                Next::Now(_) => {}
            }
            if plan.is_new || matches!(plan.next, Next::Now(_)) {
                planned.push(plan);
            }
        }
        if planned.is_empty() {
            return Ok(changed);
        }
        session_writes::write(store, round, loaded.clock, &planned)
            .await
            .map_err(not_the_events_fault)?;
        let now = planned.iter().filter(|plan| matches!(plan.next, Next::Now(_)));
        written.extend(now.map(|plan| plan.key));
        let keys: Vec<_> = planned.iter().map(|plan| plan.key).collect();
        let starts = planned.iter().flat_map(Plan::starts).collect();
        loaded = load(store, &keys, starts).await?;
    }
    Err(StoreError::Unavailable("sessions kept being changed by other processes".to_owned()))
}

/// Session rows are generated here, so an error in them is never the events' fault.
fn not_the_events_fault(error: StoreError) -> StoreError {
    match error {
        StoreError::Refused(reason) => StoreError::Unavailable(format!("sessions: {reason}")),
        unavailable => unavailable,
    }
}

pub(super) fn seconds(moment: UtcMillis) -> u32 {
    u32::try_from(moment.epoch_seconds()).unwrap_or(u32::MAX)
}

impl Changed {
    pub(super) fn note(&mut self, key: &SessionKey, before: &Session, after: &Session) {
        if after.ended() && !before.ended() {
            self.ended.push(key.clone());
        }
        if let Some(end) = after.closed() {
            self.closed.push((key.clone(), UtcMillis::from_epoch_millis(end)));
        }
    }
}
