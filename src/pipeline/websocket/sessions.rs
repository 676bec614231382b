//! Tracks which sessions have open sockets. A session ends only some time after its last socket was
//! closed, because a visitor who opens the next page of the site opens another one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

/// Sessions with an open socket, bounded by the number of connections, and sessions in their grace
/// period, bounded by `DisconnectGrace`.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<SessionKey, Presence>>);

#[derive(Default)]
struct Presence {
    sockets: usize,
    /// When something was last received on one of the sockets that have left.
    last_heard: Option<UtcMillis>,
    /// Set while there is no socket; cancelled when one is opened.
    reconnected: Option<CancellationToken>,
}

impl Sessions {
    /// Counts a socket of a session until the member leaves or is dropped.
    pub fn join(self: &Arc<Self>, key: SessionKey) -> Member {
        // The counts stay correct after a panic elsewhere.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = known.entry(key.clone()).or_default();
        session.sockets += 1;
        if let Some(reconnected) = session.reconnected.take() {
            reconnected.cancel();
        }
        Member { sessions: Arc::clone(self), key: Some(key) }
    }

    /// Removes a socket. If it was the last one, and it is known when it was `heard` last, returns a
    /// token that is cancelled on a reconnect.
    fn leave(&self, key: &SessionKey, heard: Option<UtcMillis>) -> Option<CancellationToken> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = known.get_mut(key)?;
        session.sockets = session.sockets.saturating_sub(1);
        session.last_heard = session.last_heard.max(heard);
        if session.sockets > 0 {
            return None;
        }
        if heard.is_none() {
            known.remove(key);
            return None;
        }
        let reconnected = CancellationToken::new();
        session.reconnected = Some(reconnected.clone());
        Some(reconnected)
    }

    /// Removes the session unless it has reconnected; returns when it was last heard.
    fn remove(&self, key: &SessionKey, reconnected: &CancellationToken) -> Option<UtcMillis> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if reconnected.is_cancelled() {
            return None;
        }
        reconnected.cancel();
        known.remove(key)?.last_heard
    }
}

/// One socket of a session.
pub struct Member {
    sessions: Arc<Sessions>,
    /// `None` once it has left.
    key: Option<SessionKey>,
}

impl Member {
    /// Leaves the session with a socket on which something was `heard` last at that time; returns the
    /// session if this was its last socket.
    pub fn leave(mut self, heard: UtcMillis) -> Option<Disconnected> {
        let key = self.key.take()?;
        let token = self.sessions.leave(&key, Some(heard))?;
        Some(Disconnected { sessions: Arc::clone(&self.sessions), key, token })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            self.sessions.leave(key, None);
        }
    }
}

/// A session without a socket that may reconnect.
pub struct Disconnected {
    sessions: Arc<Sessions>,
    key: SessionKey,
    token: CancellationToken,
}

impl Disconnected {
    /// Waits until the session has another socket.
    pub async fn reconnected(&self) {
        self.token.cancelled().await;
    }

    /// Removes the session unless it has reconnected; returns when something was last received on any
    /// of its sockets. A later socket starts a new one.
    pub fn expire(self) -> Option<UtcMillis> {
        self.sessions.remove(&self.key, &self.token)
    }
}

impl Drop for Disconnected {
    fn drop(&mut self) {
        self.sessions.remove(&self.key, &self.token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_with_its_last_socket_unless_it_reconnects() {
        let sessions = Arc::new(Sessions::default());
        let key = SessionKey { project_id: "p".into(), session_id: "s".into() };
        let members: Vec<_> = (0..3).map(|_| sessions.join(key.clone())).collect();
        let mut members = members.into_iter();
        let at = UtcMillis::from_epoch_millis;
        assert!(members.next().unwrap().leave(at(7)).is_none());
        drop(members.next());
        let disconnected = members.next().unwrap().leave(at(5)).unwrap();
        let back = sessions.join(key.clone());
        assert_eq!(disconnected.expire(), None, "it has reconnected");
        let disconnected = back.leave(at(6)).unwrap();
        assert_eq!(disconnected.expire(), Some(at(7)), "the last sign of life on any socket");
        assert!(sessions.0.lock().unwrap().is_empty());
        // Dropped without a grace period.
        drop(sessions.join(key.clone()));
        drop(sessions.join(key).leave(at(8)));
        assert!(sessions.0.lock().unwrap().is_empty());
    }
}
