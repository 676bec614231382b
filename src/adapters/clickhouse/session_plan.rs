//! What is to be written of a session, decided from what is stored.

use super::session_state::State;
use super::session_versions::{Version, Versions};
use super::sessions::{Change, Changed, Stored};
use bklit_pipeline::store::session::Session;
use bklit_wire::session::SessionKey;

/// How far ahead of the server's clock the latest version must be, in seconds, for the next one to
/// be ahead of it too, instead of waiting.
const FAR_AHEAD: u32 = 60;

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
    /// `written` is whether a version has just been written; `noted` is where to note what changes.
    pub(super) fn new(
        key: &'k SessionKey,
        stored: Stored,
        change: Change,
        clock: u32,
        written: bool,
        noted: Option<&mut Changed>,
    ) -> Self {
        let at = change.at.max(stored.state.active_at());
        let Stored { state: State { session: mut base, version: own }, versions } = stored;
        let mut session = base.clone();
        let (mut known, mut is_new) = (Session::default(), false);
        if let Some(facts) = versions.facts(&session, own) {
            base.merge(facts.clone());
            is_new = base != session;
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
            changed.note(key, &base, &session);
        }
        let accepted = (written && !is_new).then_some(own);
        let at = at.min(clock);
        let next = match next(&session, key, own, &versions, accepted) {
            // One that is far ahead already hides what other programs write.
            Some(earliest) if earliest > clock && earliest - clock < FAR_AHEAD => {
                Next::Later(earliest)
            }
            Some(earliest) => Next::Now(earliest.max(at)),
            None => Next::None,
        };
        Self { key, known, is_new, session, latest: versions.latest().cloned(), next }
    }

    /// When the session started, according to its state and its latest version, in seconds since
    /// the epoch: enough to check what was written.
    pub(super) fn starts(&self) -> impl Iterator<Item = i64> {
        let latest = self.latest.as_ref().map(|latest| i64::from(latest.started));
        let state = self.session.started_at().map(|started| started.epoch_seconds());
        latest.into_iter().chain(state)
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
    // Also later than a version that was about to be written and is missing: it may still arrive, and
    // from a process that knew less.
    Some(own.max(last).saturating_add(1))
}
