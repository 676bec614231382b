//! Session states and their versions in `tracked_session`.
//!
//! The state of a session is a set of minima and maxima (see `store::session`), so neither repeated
//! events nor their order matter. Each batch adds what it knows of its sessions as rows of a
//! separate table, which the server aggregates: no worker overwrites what another one wrote, and a
//! repeated batch adds nothing.
//!
//! The versions in `tracked_session` are derived from it. The state is written first, with the
//! `updated_at` of the version that follows; so every later version in the table is from another
//! program, and what that one added is merged into the state. A version is written if it shows
//! something else than the latest one, whoever wrote that: so a crash in between, or two workers
//! that write at the same time, end with the right version. After writing, both tables are read
//! again until nothing is left to write.
//!
//! `updated_at` has whole seconds and is never ahead of the server's clock, or it would hide what
//! other programs write later. So a session has at most one version per second: another one is
//! postponed (see `postponed`).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::session_state::{self, State};
use super::session_versions::{self, Started, Version, Versions};
use super::{ClickHouseStore, idle_sessions, session_writes};
use bklit_pipeline::store::session::Session;
use bklit_pipeline::store::{Batch, StoreError};
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

/// Sessions read by one statement.
pub(super) const AT_ONCE: usize = 10_000;

/// Attempts to write a version while other workers change the same session.
const ROUNDS: usize = 8;

/// How long before its first event in a batch a session may have been started by another program,
/// in seconds. Limits how many versions are searched.
const LOOKBACK: i64 = 24 * 60 * 60;

/// What is added to a session.
#[derive(Default)]
pub(super) struct Change {
    known: Session,
    /// The minimum `updated_at` of a version that includes it.
    at: u32,
    /// The session is ended if it had no event since, in milliseconds since the epoch.
    idle_since: Option<i64>,
}

/// What was changed, and which of the sessions have ended when.
#[derive(Default)]
pub(super) struct Changed {
    pub(super) begun: HashSet<SessionKey>,
    pub(super) ended: HashSet<SessionKey>,
    pub(super) closed: HashMap<SessionKey, UtcMillis>,
}

type Changes = BTreeMap<SessionKey, Change>;

/// A session as it is stored.
#[derive(Default)]
struct Stored {
    state: State,
    versions: Versions,
}

/// Sessions as they are stored, and the server's clock in seconds since the epoch.
struct Loaded<'k> {
    clock: u32,
    sessions: BTreeMap<&'k SessionKey, Stored>,
}

/// Updates the sessions of a batch.
pub(super) async fn follow(store: &ClickHouseStore, batch: &Batch) -> Result<Changed, StoreError> {
    let mut changes: HashMap<(&str, &str), Change> = HashMap::new();
    let mut earliest = i64::MAX;
    for event in batch.events.iter() {
        let Some(session_id) = event.payload.session_id() else { continue };
        let change = changes.entry((&event.project_id, session_id)).or_default();
        change.known.add(event);
        // Not the current time: a repeated batch must produce the same version.
        change.at = change.at.max(seconds(event.queued_at));
        // An old timestamp must not make every batch search all versions.
        let queued = event.queued_at.epoch_seconds();
        earliest = earliest.min(event.timestamp().epoch_seconds().max(queued - LOOKBACK));
    }
    if changes.is_empty() {
        return Ok(Changed::default());
    }
    let key = |(project_id, session_id): (&str, &str)| SessionKey {
        project_id: project_id.to_owned(),
        session_id: session_id.to_owned(),
    };
    let changes: Changes =
        changes.into_iter().map(|(session, change)| (key(session), change)).collect();
    let _held = store.key_locks.hold(changes.keys()).await;
    let keys: Vec<_> = changes.keys().collect();
    let since = earliest.saturating_sub(LOOKBACK);
    let activity = idle_sessions::record_activity(store, &batch.id, last_seen(&changes));
    let activity = async { activity.await.map_err(not_the_events_fault) };
    let (loaded, ()) = tokio::try_join!(load(store, &keys, Started::Since(since)), activity)?;
    apply(store, &batch.id, &changes, loaded).await
}

/// The sessions that a batch leaves open, with their last activity.
fn last_seen(changes: &Changes) -> impl Iterator<Item = (&SessionKey, i64)> {
    let open = changes.iter().filter(|(_, change)| change.known.closed().is_none());
    open.filter_map(|(key, change)| Some((key, change.known.last_seen?)))
}

/// Ends those of the sessions that had no activity since `since`.
pub(super) async fn end_if_idle(
    store: &ClickHouseStore,
    keys: &[&SessionKey],
    since: i64,
) -> Result<Vec<SessionKey>, StoreError> {
    let at = seconds(UtcMillis::now());
    let change = || Change { at, idle_since: Some(since), ..Change::default() };
    let changes = keys.iter().map(|&key| (key.clone(), change())).collect();
    let changed = review(store, "idle", changes).await?;
    Ok(changed.ended.into_iter().collect())
}

/// Writes the versions of sessions that lack one.
pub(super) async fn complete(
    store: &ClickHouseStore,
    keys: Vec<SessionKey>,
) -> Result<(), StoreError> {
    let changes = keys.into_iter().map(|key| (key, Change::default())).collect();
    review(store, "postponed", changes).await.map(|_| ())
}

/// Applies changes that are not from events.
async fn review(
    store: &ClickHouseStore,
    writer: &str,
    changes: Changes,
) -> Result<Changed, StoreError> {
    let _held = store.key_locks.hold(changes.keys()).await;
    let keys: Vec<_> = changes.keys().collect();
    let since = UtcMillis::now().epoch_seconds() - LOOKBACK;
    let loaded = load(store, &keys, Started::Since(since)).await?;
    apply(store, writer, &changes, loaded).await
}

/// Reads the sessions. Versions are read before states: then the state of every version of this
/// program is known.
async fn load<'k>(
    store: &ClickHouseStore,
    keys: &[&'k SessionKey],
    started: Started,
) -> Result<Loaded<'k>, StoreError> {
    let mut found = session_versions::read(store, keys, &started).await?;
    let mut states = session_state::read(store, keys).await?;
    if let Started::Since(since) = started {
        let start = |key: &SessionKey| Some(states.get(key)?.session.started_at()?.epoch_seconds());
        let older = |&key: &&'k SessionKey| Some((key, start(key).filter(|start| *start < since)?));
        let (older, starts): (Vec<_>, BTreeSet<_>) = keys.iter().filter_map(older).unzip();
        if !older.is_empty() {
            found.add(session_versions::read(store, &older, &Started::At(starts)).await?);
            states.extend(session_state::read(store, &older).await?);
        }
    }
    let stored = |&key: &&'k SessionKey| {
        let state = states.remove(key).unwrap_or_default();
        let versions = found.versions.remove(key).unwrap_or_default();
        (key, Stored { state, versions })
    };
    Ok(Loaded { clock: found.clock, sessions: keys.iter().map(stored).collect() })
}

async fn apply(
    store: &ClickHouseStore,
    writer: &str,
    changes: &Changes,
    mut loaded: Loaded<'_>,
) -> Result<Changed, StoreError> {
    let mut changed = Changed::default();
    let mut written = BTreeSet::new();
    for round in 0..ROUNDS {
        let first = round == 0;
        let mut planned = Vec::new();
        for (key, stored) in loaded.sessions {
            let Some(change) = changes.get(key) else { continue };
            let noted = first.then_some(&mut changed);
            let written = written.contains(key);
            let plan = Plan::new(key, stored, change, loaded.clock, written, noted);
            if !plan.is_done(store) {
                planned.push(plan);
            }
        }
        if planned.is_empty() {
            return Ok(changed);
        }
        let writer = if first { writer.to_owned() } else { format!("{writer}:again{round}") };
        session_writes::write(store, &writer, &planned).await.map_err(not_the_events_fault)?;
        let now = planned.iter().filter(|plan| matches!(plan.next, Next::Now(_)));
        written.extend(now.map(|plan| plan.key));
        let keys: Vec<_> = planned.iter().map(|plan| plan.key).collect();
        let starts = planned.iter().flat_map(Plan::starts).collect();
        loaded = load(store, &keys, Started::At(starts)).await?;
    }
    Err(StoreError::Unavailable(format!(
        "sessions of batch {writer} kept being changed by other workers"
    )))
}

/// Whether and when a session gets another version.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Next {
    /// The latest one shows the session.
    None,
    /// One with this `updated_at`.
    Now(u32),
    /// One with this `updated_at`, once the server's clock has reached it.
    Later(u32),
}

/// What is to be written of a session.
pub(super) struct Plan<'k> {
    pub(super) key: &'k SessionKey,
    /// What the stored state may lack.
    pub(super) known: Session,
    /// Whether it lacks any of it.
    pub(super) is_new: bool,
    /// The session with it.
    pub(super) session: Session,
    /// The latest version, from which is kept what only other programs know.
    pub(super) latest: Option<Version>,
    /// The version that is to follow.
    pub(super) next: Next,
}

impl<'k> Plan<'k> {
    /// `written` is whether a version has just been written; `noted` is where the change is noted.
    fn new(
        key: &'k SessionKey,
        stored: Stored,
        change: &Change,
        clock: u32,
        written: bool,
        noted: Option<&mut Changed>,
    ) -> Self {
        let Stored { state: State { session: mut base, version: own }, versions } = stored;
        let mut session = base.clone();
        session.merge(change.known.clone());
        let (mut known, mut is_new) = (change.known.clone(), false);
        if let Some(facts) = versions.facts(&session, own) {
            let before = base.clone();
            base.merge(facts.clone());
            is_new = base != before;
            session.merge(facts.clone());
            known.merge(facts);
        }
        if change.idle_since.is_some_and(|since| base.idle(since)) {
            session.end_as_of_last_event();
            let Session { end_at, end_seen, .. } = session;
            known.merge(Session { end_at, end_seen, ..Session::default() });
        }
        is_new |= session != base;
        if let Some(changed) = noted {
            changed.note(key, &base, &session, versions.is_empty());
        }
        let accepted = (written && !is_new).then_some(own);
        let at = change.at.min(clock);
        let next = match next(&session, key, own, &versions, accepted, is_new) {
            Some(earliest) if earliest.max(at) > clock => Next::Later(earliest.max(at)),
            Some(earliest) => Next::Now(earliest.max(at)),
            None => Next::None,
        };
        Self { key, known, is_new, session, latest: versions.latest().cloned(), next }
    }

    /// When the session started, according to its state and its latest version, in seconds since
    /// the epoch: enough to check what was written.
    fn starts(&self) -> impl Iterator<Item = i64> {
        let latest = self.latest.as_ref().map(|latest| i64::from(latest.started));
        let state = self.session.started_at().map(|started| started.epoch_seconds());
        latest.into_iter().chain(state)
    }

    /// Whether nothing has to be written.
    fn is_done(&self, store: &ClickHouseStore) -> bool {
        match self.next {
            Next::None => store.postponed.remove(self.key),
            Next::Now(_) => return false,
            Next::Later(due) if !store.postponed.has(self.key, due) => return false,
            Next::Later(_) => {}
        }
        !self.is_new
    }
}

/// The earliest `updated_at` of the version that the session needs; `None` if the latest one shows
/// it. The version `accepted` need not: the server may have stored something else than was sent.
fn next(
    session: &Session,
    key: &SessionKey,
    own: u32,
    versions: &Versions,
    accepted: Option<u32>,
    is_new: bool,
) -> Option<u32> {
    if !session.begun() {
        return None;
    }
    let mut last = 0;
    if let Some(latest) = versions.latest() {
        last = latest.updated;
        let mut shown = session.shown(key);
        latest.keep_in(&mut shown);
        if (accepted == Some(last) || latest.shows(&shown)) && versions.agree() {
            return None;
        }
    }
    // A version that was about to be written and is missing is written as the same row, which the
    // server recognises if it arrives after all.
    let own = if own > last && !is_new { own } else { own.saturating_add(1) };
    Some(own.max(last.saturating_add(1)))
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
    fn note(&mut self, key: &SessionKey, before: &Session, after: &Session, is_unknown: bool) {
        if after.ended() && !before.ended() {
            self.ended.insert(key.clone());
        }
        if after.begun() && !before.begun() && is_unknown {
            self.begun.insert(key.clone());
        }
        if let Some(end) = after.closed() {
            self.closed.insert(key.clone(), UtcMillis::from_epoch_millis(end));
        }
    }
}
