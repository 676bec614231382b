//! What stored batches say about their sessions, until it is inserted for all of them at once.
//!
//! Each insert is a part, which costs the server more than the rows in it. The batches are not
//! acknowledged before, so after a crash they are delivered again, and say the same.

use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::HashMap;

use bklit_pipeline::store::session::{Contribution, Session};
use bklit_wire::session::SessionKey;

type Sessions = HashMap<SessionKey, Session>;

/// Sessions whose states are yet to be inserted.
#[derive(Default)]
pub(super) struct Gathered {
    sessions: Mutex<Sessions>,
    /// Held during an insert: whoever waits for it finds its sessions stored, or waiting again.
    inserting: tokio::sync::Mutex<()>,
}

/// Sessions that are being inserted. They wait again if this is dropped, unless it is done.
pub(super) struct Taken<'g> {
    gathered: &'g Gathered,
    sessions: Sessions,
    _inserting: tokio::sync::MutexGuard<'g, ()>,
}

impl Gathered {
    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what a batch says.
    pub(super) fn add(&self, contributions: &HashMap<(&str, &str), Contribution<'_>>) {
        let mut sessions = self.sessions();
        for ((project_id, session_id), known) in contributions {
            let key = SessionKey {
                project_id: (*project_id).to_owned(),
                session_id: (*session_id).to_owned(),
            };
            sessions.entry(key).or_default().merge_events(known);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.sessions().len()
    }

    /// Takes all sessions, once those taken before are inserted.
    pub(super) async fn take(&self) -> Taken<'_> {
        let inserting = self.inserting.lock().await;
        let sessions = std::mem::take(&mut *self.sessions());
        Taken { gathered: self, sessions, _inserting: inserting }
    }
}

impl Taken<'_> {
    pub(super) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// They are inserted; returns them.
    pub(super) fn done(mut self) -> Sessions {
        std::mem::take(&mut self.sessions)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut sessions = self.gathered.sessions();
        for (key, session) in self.sessions.drain() {
            sessions.entry(key).or_default().merge(session);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use bklit_pipeline::store::session::contributions;
    use bklit_wire::event::QueuedEvent;

    fn view(session: &str, second: u32) -> QueuedEvent {
        let json = format!(
            r#"{{"id":"{second}","type":"pageview","payload":{{"url":"/{second}","sessionId":"{session}"}},"queuedAt":"2026-01-01T00:00:{second:02}Z","projectId":"p"}}"#
        );
        QueuedEvent::from_json(&json).unwrap()
    }

    #[tokio::test]
    async fn sessions_that_were_not_inserted_wait_again_with_what_was_added() {
        let gathered = Gathered::default();
        let events = [view("a", 2), view("b", 3), view("a", 1), view("a", 4)];
        gathered.add(&contributions(&events[..2]));
        let taken = gathered.take().await;
        assert_eq!((taken.sessions().len(), gathered.len()), (2, 0));
        gathered.add(&contributions(&events[2..]));
        drop(taken);
        let sessions = gathered.take().await.done();
        let mut all: HashMap<_, Session> = HashMap::default();
        events.iter().for_each(|event| {
            all.entry(SessionKey::of(event).unwrap()).or_default().add(event);
        });
        assert_eq!(sessions, all);
        assert_eq!(gathered.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_waits_for_those_taken_before() {
        let gathered = Gathered::default();
        gathered.add(&contributions(&[view("a", 1)]));
        let taken = gathered.take().await;
        let mut next = std::pin::pin!(gathered.take());
        assert!(tokio::time::timeout(Duration::from_secs(60), next.as_mut()).await.is_err());
        drop(taken);
        assert_eq!(next.await.sessions().len(), 1);
    }
}
