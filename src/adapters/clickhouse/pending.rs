//! Sessions whose rows in `tracked_session` are yet to be written, in the memory of this process.
//!
//! A crash loses the list, but not which times it covered: each insert of states marks that this
//! process writes, and each write of rows marks up to which time nothing is pending any more (see
//! `recovery`).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

/// The most pending sessions; further batches wait until some have been written.
const MAX_PENDING: usize = 100_000;

/// Events from which a batch shows that there is a backlog.
const BACKLOG: usize = 5_000;

/// With a backlog, rows wait for up to this long: each write reads all versions of its sessions, which
/// takes the server as long as thousands of events, and most of them change again at once.
const BACKLOG_WAIT: Duration = Duration::from_secs(5);

/// With a backlog, rows also wait for at most this many sessions.
const BACKLOG_SESSIONS: usize = MAX_PENDING / 4;

/// The pending sessions of this process.
#[derive(Default)]
pub(super) struct Pending {
    state: Mutex<State>,
    written: Notify,
}

#[derive(Default)]
struct State {
    sessions: foldhash::HashMap<SessionKey, Session>,
    /// When the inserts of states in progress began.
    inserts: Vec<Instant>,
    /// The number of changes. Never reset, or a session that was removed and added again in the
    /// meantime would be taken for the earlier one.
    changes: u64,
    /// Sessions that have ended, to be reported.
    closed: Vec<(SessionKey, UtcMillis)>,
    /// The server's clock in seconds since the epoch, and when it was read.
    clock: Option<(u32, Instant)>,
    /// Inserts that have begun.
    begun: u64,
    /// How many had begun when "nothing is pending" was last marked.
    marked: u64,
    /// Whether a batch since the last question was one of a backlog.
    has_backlog: bool,
    /// Since when rows have been waiting because of a backlog.
    waiting: Option<Instant>,
}

/// A pending session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Session {
    /// The earliest time at which its row may be written, in seconds since the epoch by the
    /// server's clock.
    due: u32,
    /// The latest time since when it has been pending.
    since: Instant,
    /// The number of its last change, so that a change during a write is not lost.
    changes: u64,
    /// The time of its last event, in milliseconds since the epoch: a replica that does not have it
    /// yet is behind.
    pub(super) seen: i64,
}

/// An insert of states; no longer in progress once dropped.
pub(super) struct Insert<'a> {
    pending: &'a Pending,
    began: Instant,
}

impl Pending {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an insert of states, once there is room for its sessions.
    pub(super) async fn begin(&self) -> Insert<'_> {
        loop {
            let mut written = std::pin::pin!(self.written.notified());
            // Registered before checking, so that no write is missed.
            written.as_mut().enable();
            {
                let mut state = self.state();
                if state.sessions.len() < MAX_PENDING {
                    let began = Instant::now();
                    state.inserts.push(began);
                    state.begun += 1;
                    return Insert { pending: self, began };
                }
            }
            written.await;
        }
    }

    /// A batch of this many events was stored.
    pub(super) fn stored(&self, events: usize) {
        if events >= BACKLOG {
            self.state().has_backlog = true;
        }
    }

    /// Whether rows are to wait because more events of their sessions follow. Asked regularly: without
    /// a batch of a backlog in between they no longer wait.
    pub(super) fn waits(&self) -> bool {
        let mut state = self.state();
        let waiting = state.waiting.get_or_insert_with(Instant::now).elapsed();
        let has_backlog = std::mem::take(&mut state.has_backlog);
        let waits =
            has_backlog && waiting < BACKLOG_WAIT && state.sessions.len() < BACKLOG_SESSIONS;
        if !waits {
            state.waiting = None;
        }
        waits
    }

    /// The sessions due by `now`, in seconds since the epoch.
    pub(super) fn due(&self, now: u32) -> Vec<(SessionKey, Session)> {
        let state = self.state();
        let due = state.sessions.iter().filter(|(_, session)| session.due <= now);
        due.map(|(key, session)| (key.clone(), *session)).collect()
    }

    /// Whether any sessions are due by `now`.
    pub(super) fn has_due(&self, now: u32) -> bool {
        self.state().sessions.values().any(|session| session.due <= now)
    }

    /// Ends the write of sessions: those not in `later` are no longer pending, unless they have
    /// changed in the meantime.
    pub(super) fn finish(
        &self,
        written: &[(SessionKey, Session)],
        later: &HashMap<&SessionKey, u32>,
    ) {
        let mut state = self.state();
        for (key, session) in written {
            let Some(found) = state.sessions.get_mut(key) else { continue };
            if found.changes != session.changes {
                continue;
            }
            match later.get(key) {
                Some(due) => found.due = *due,
                None => drop(state.sessions.remove(key)),
            }
        }
        drop(state);
        self.written.notify_waiters();
    }

    /// Adds sessions that are about to be written, so that a write that fails is repeated.
    pub(super) fn hold<'k>(
        &self,
        keys: impl Iterator<Item = &'k SessionKey>,
    ) -> Vec<(SessionKey, Session)> {
        let mut state = self.state();
        state.begun += 1;
        let now = Instant::now();
        keys.map(|key| (key.clone(), state.add(key.clone(), now, i64::MIN))).collect()
    }

    /// Adds sessions that have ended, to be reported.
    pub(super) fn report_closed(&self, sessions: Vec<(SessionKey, UtcMillis)>) {
        let mut state = self.state();
        let room = MAX_PENDING.saturating_sub(state.closed.len());
        state.closed.extend(sessions.into_iter().take(room));
    }

    /// Those that have ended since the last call.
    pub(super) fn take_closed(&self) -> Vec<(SessionKey, UtcMillis)> {
        std::mem::take(&mut self.state().closed)
    }

    /// Records the server's clock, in seconds since the epoch.
    pub(super) fn set_clock(&self, clock: u32) {
        self.state().clock = Some((clock, Instant::now()));
    }

    /// The time by the server's clock, in seconds since the epoch; by this process's own before that
    /// is known.
    pub(super) fn now(&self) -> u32 {
        let known = self.state().clock;
        known.map_or_else(
            || u32::try_from(UtcMillis::now().epoch_seconds()).unwrap_or(u32::MAX),
            |(clock, read)| {
                let since = u32::try_from(read.elapsed().as_secs()).unwrap_or(u32::MAX);
                clock.saturating_add(since)
            },
        )
    }

    /// The age up to which everything older has been written.
    pub(super) fn age(&self) -> Duration {
        let state = self.state();
        let pending = state.sessions.values().map(|session| session.since);
        pending.chain(state.inserts.iter().copied()).min().map_or(Duration::ZERO, |at| at.elapsed())
    }

    /// How many inserts have begun, if nothing is pending and that has not been marked yet.
    pub(super) fn unmarked(&self) -> Option<u64> {
        let state = self.state();
        let is_idle = state.sessions.is_empty() && state.inserts.is_empty();
        (is_idle && state.begun > state.marked).then_some(state.begun)
    }

    /// Records the mark that nothing was pending after so many inserts.
    pub(super) fn mark(&self, begun: u64) {
        self.state().marked = begun;
    }
}

impl State {
    /// Adds a session that is due now.
    fn add(&mut self, key: SessionKey, since: Instant, seen: i64) -> Session {
        self.changes += 1;
        let changes = self.changes;
        let new = Session { due: 0, since, changes, seen };
        let session = self.sessions.entry(key).or_insert(new);
        let (since, seen) = (session.since.min(since), session.seen.max(seen));
        *session = Session { due: 0, since, changes, seen };
        *session
    }
}

impl Insert<'_> {
    /// The states were inserted: their sessions are pending, each with the time of its last event.
    pub(super) fn finish(self, sessions: impl Iterator<Item = (SessionKey, i64)>) {
        let mut state = self.pending.state();
        for (key, seen) in sessions {
            state.add(key, self.began, seen);
        }
    }
}

impl Drop for Insert<'_> {
    fn drop(&mut self) {
        let mut state = self.pending.state();
        if let Some(place) = state.inserts.iter().position(|began| *began == self.began) {
            state.inserts.swap_remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(session: &str) -> SessionKey {
        SessionKey { project_id: "p".to_owned(), session_id: session.to_owned() }
    }

    async fn insert(pending: &Pending, sessions: &[&str]) {
        pending.begin().await.finish(sessions.iter().map(|session| (key(session), 0)));
    }

    #[tokio::test]
    async fn a_change_during_a_write_is_not_lost() {
        let pending = Pending::default();
        insert(&pending, &["a", "b", "c"]).await;
        let written = pending.due(0);
        assert_eq!(written.len(), 3);
        insert(&pending, &["b"]).await;
        pending.finish(&written, &HashMap::from([(&key("c"), 7)]));
        let due = |now| {
            let mut due: Vec<_> =
                pending.due(now).into_iter().map(|(key, _)| key.session_id).collect();
            due.sort();
            due
        };
        assert_eq!((due(6), due(7)), (vec!["b".to_owned()], vec!["b".to_owned(), "c".to_owned()]));
    }

    /// It was written, and changes again before the end of another write that began earlier.
    #[tokio::test]
    async fn a_session_that_is_added_again_is_another_one() {
        let pending = Pending::default();
        insert(&pending, &["a"]).await;
        let [one, other] = [pending.due(0), pending.due(0)];
        pending.finish(&one, &HashMap::new());
        insert(&pending, &["a"]).await;
        pending.finish(&other, &HashMap::new());
        assert_eq!(pending.due(0).len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_list_holds_up_batches() {
        let pending = Pending::default();
        let sessions: Vec<_> = (0..MAX_PENDING).map(|n| (key(&n.to_string()), 0)).collect();
        pending.begin().await.finish(sessions.into_iter());
        let waits = tokio::time::timeout(Duration::from_secs(60), pending.begin());
        assert!(waits.await.is_err());
        let (written, ()) = tokio::join!(pending.begin(), async {
            let due = pending.due(0);
            pending.finish(&due[..1], &HashMap::new());
        });
        assert_eq!(written.began, Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn rows_wait_for_a_backlog_but_not_for_long() {
        let pending = Pending::default();
        let mut waits = Vec::new();
        for batch in [0, BACKLOG - 1, BACKLOG, BACKLOG, 10] {
            pending.stored(batch);
            waits.push(pending.waits());
        }
        assert_eq!(waits, [false, false, true, true, false]);
        let began = Instant::now();
        loop {
            pending.stored(BACKLOG);
            if !pending.waits() {
                break;
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(began.elapsed(), BACKLOG_WAIT);
        let sessions: Vec<_> = (0..BACKLOG_SESSIONS).map(|n| (key(&n.to_string()), 0)).collect();
        pending.begin().await.finish(sessions.into_iter());
        pending.stored(BACKLOG);
        assert!(!pending.waits());
    }

    #[tokio::test(start_paused = true)]
    async fn the_age_is_that_of_the_oldest_insert() {
        let pending = Pending::default();
        let second = Duration::from_secs(1);
        assert!(pending.unmarked().is_none() && pending.age().is_zero());
        let first = pending.begin().await;
        tokio::time::advance(second).await;
        insert(&pending, &["a"]).await;
        assert_eq!(pending.age(), second);
        first.finish([(key("a"), 0)].into_iter());
        tokio::time::advance(second).await;
        assert_eq!(pending.age(), 2 * second);
        // A failed insert is repeated with its batch.
        drop(pending.begin().await);
        pending.finish(&pending.due(0), &HashMap::new());
        assert!(pending.age().is_zero());
        assert_eq!(pending.unmarked(), Some(3));
        insert(&pending, &["b"]).await;
        pending.mark(3);
        pending.finish(&pending.due(0), &HashMap::new());
        assert_eq!(pending.unmarked(), Some(4), "of an insert after the one that was marked");
        pending.mark(4);
        assert_eq!(pending.unmarked(), None);
    }
}
