//! Which sessions have open sockets. A session ends when its last one has been closed for a
//! while: a visitor who goes to the site's next page opens another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use bklit_wire::session::SessionKey;

/// Sessions with an open socket, as many as there are connections at most, and those that wait
/// for their next one, which whoever waits bounds.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<SessionKey, Presence>>);

#[derive(Default)]
struct Presence {
    sockets: usize,
    /// Cancelled when another socket comes; only while there is none.
    absent: Option<CancellationToken>,
}

impl Sessions {
    /// Counts a socket of a session, until the member leaves or is dropped.
    pub fn join(self: &Arc<Self>, key: SessionKey) -> Member {
        // A panic elsewhere leaves counts that are still right.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = known.entry(key.clone()).or_default();
        session.sockets += 1;
        if let Some(absent) = session.absent.take() {
            absent.cancel();
        }
        Member { sessions: Arc::clone(self), key: Some(key) }
    }

    /// One socket less; what was the last one's leaves a token, or nothing.
    fn leave(&self, key: &SessionKey, waits: bool) -> Option<CancellationToken> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = known.get_mut(key)?;
        session.sockets = session.sockets.saturating_sub(1);
        if session.sockets > 0 {
            return None;
        }
        if !waits {
            known.remove(key);
            return None;
        }
        let absent = CancellationToken::new();
        session.absent = Some(absent.clone());
        Some(absent)
    }

    /// Whether nobody has come back; forgets the session then.
    fn gone(&self, key: &SessionKey, absent: &CancellationToken) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if absent.is_cancelled() {
            return false;
        }
        absent.cancel();
        known.remove(key).is_some()
    }
}

/// A socket among those of its session.
pub struct Member {
    sessions: Arc<Sessions>,
    /// Until it has left.
    key: Option<SessionKey>,
}

impl Member {
    /// Leaves; the session's absence if this was its last socket.
    pub fn leave(mut self) -> Option<Absence> {
        let key = self.key.take()?;
        let token = self.sessions.leave(&key, true)?;
        Some(Absence { sessions: Arc::clone(&self.sessions), key, token })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            self.sessions.leave(key, false);
        }
    }
}

/// A session without a socket, for now.
pub struct Absence {
    sessions: Arc<Sessions>,
    key: SessionKey,
    token: CancellationToken,
}

impl Absence {
    /// Until another socket of the session comes.
    pub async fn over(&self) {
        self.token.cancelled().await;
    }

    /// Whether it is over for good: nobody has come back, and whoever does begins anew.
    pub fn ended(self) -> bool {
        self.sessions.gone(&self.key, &self.token)
    }
}

impl Drop for Absence {
    fn drop(&mut self) {
        self.sessions.gone(&self.key, &self.token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_with_its_last_socket_unless_it_comes_back() {
        let sessions = Arc::new(Sessions::default());
        let key = SessionKey { project_id: "p".into(), session_id: "s".into() };
        let members: Vec<_> = (0..3).map(|_| sessions.join(key.clone())).collect();
        let mut members = members.into_iter();
        assert!(members.next().unwrap().leave().is_none());
        drop(members.next());
        let absence = members.next().unwrap().leave().unwrap();
        let back = sessions.join(key.clone());
        assert!(!absence.ended(), "it has come back");
        let absence = back.leave().unwrap();
        assert!(absence.ended());
        assert!(sessions.0.lock().unwrap().is_empty());
        // Nobody waits for these.
        drop(sessions.join(key.clone()));
        drop(sessions.join(key).leave());
        assert!(sessions.0.lock().unwrap().is_empty());
    }
}
