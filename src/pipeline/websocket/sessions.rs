//! Which sessions have open sockets: a session ends with its last one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::pipeline::store::SessionKey;

/// Open sockets by session; as many as there are connections at most.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<SessionKey, usize>>);

impl Sessions {
    /// Counts a socket of a session, until the member leaves or is dropped.
    pub fn join(self: &Arc<Self>, key: SessionKey) -> Member {
        // A panic elsewhere leaves counts that are still right.
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *open.entry(key.clone()).or_default() += 1;
        Member { sessions: Arc::clone(self), key: Some(key) }
    }

    fn leave(&self, key: &SessionKey) -> bool {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(key) {
            Some(count) if *count > 1 => {
                *count -= 1;
                false
            }
            _ => open.remove(key).is_some(),
        }
    }
}

/// A socket among those of its session.
pub struct Member {
    sessions: Arc<Sessions>,
    /// Until it has left.
    key: Option<SessionKey>,
}

impl Member {
    /// Leaves; the session's key if this was its last socket.
    pub fn leave(mut self) -> Option<SessionKey> {
        self.key.take().filter(|key| self.sessions.leave(key))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            self.sessions.leave(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_with_its_last_socket() {
        let sessions = Arc::new(Sessions::default());
        let key = SessionKey { project_id: "p".into(), session_id: "s".into() };
        let members: Vec<_> = (0..3).map(|_| sessions.join(key.clone())).collect();
        let mut members = members.into_iter();
        assert_eq!(members.next().unwrap().leave(), None);
        drop(members.next());
        assert_eq!(members.next().unwrap().leave(), Some(key.clone()));
        assert_eq!(sessions.join(key.clone()).leave(), Some(key));
        assert!(sessions.0.lock().unwrap().is_empty());
    }
}
