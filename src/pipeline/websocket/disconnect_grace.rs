//! The end of sessions whose last socket was closed and that open no other in time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Guest;
use super::sessions::Absence;
use crate::auth::Secret;
use crate::intake::{Envelope, Rejection};
use bklit_wire::event::{EventKind, Payload, SessionEnd};
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

/// Sessions that wait at once. What is beyond ends without waiting.
const MOST: usize = 10_000;

/// Those that wait.
pub struct DisconnectGrace {
    grace: Duration,
    room: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl DisconnectGrace {
    /// They may wait so long.
    pub fn new(grace: Duration) -> Self {
        Self { grace, room: Arc::new(Semaphore::new(MOST)), tasks: TaskTracker::new() }
    }

    /// Ends the session of a browser that has left, unless it comes back in time or the server
    /// stops.
    pub fn begin(&self, absence: Absence, left: Left) {
        let permit = Arc::clone(&self.room).try_acquire_owned().ok();
        let grace = if permit.is_some() { self.grace } else { Duration::ZERO };
        self.tasks.spawn(async move {
            let _permit = permit;
            let shutdown = left.guest.shutdown.clone();
            if waited(grace, &absence, &shutdown).await && absence.ended() {
                left.end_session().await;
            }
        });
    }

    /// Waits until what has to be told is told; what still waits ends no session.
    pub async fn finish(&self, longest: Duration) {
        self.tasks.close();
        if tokio::time::timeout(longest, self.tasks.wait()).await.is_err() {
            tracing::warn!(open = self.tasks.len(), "ends of sessions are cut off");
        }
    }
}

/// Whether the time is over, and nothing else came first.
async fn waited(grace: Duration, absence: &Absence, shutdown: &CancellationToken) -> bool {
    tokio::select! {
        biased;
        // A visitor is not gone because the server is: the browser comes back to the next one.
        () = shutdown.cancelled() => false,
        () = absence.over() => false,
        () = tokio::time::sleep(grace) => true,
    }
}

/// A browser that has left.
pub struct Left {
    pub guest: Guest,
    pub session: SessionKey,
    /// Its last good API key.
    pub secret: Secret,
    pub at: UtcMillis,
}

impl Left {
    async fn end_session(self) {
        let SessionKey { project_id, session_id } = self.session;
        let event = Payload::SessionEnd(SessionEnd {
            session_id: session_id.clone(),
            timestamp: Some(self.at),
            reason: Some("disconnect".to_owned()),
        });
        let project = project_id.clone();
        let envelope = Envelope { project_id: Some(project_id), event_id: None, event };
        let began = Instant::now();
        let guest = self.guest;
        let intake = &guest.context.intake;
        let ended = match intake.authenticator().identify(self.secret.expose()).await {
            Ok(token) => intake
                .accept(guest.sender(Some(&token), began), envelope)
                .await
                .map_err(|rejected| rejected.why),
            Err(denied) => Err(Rejection::from(denied)),
        };
        if let Err(why) = ended {
            // Then it ends by itself, when nothing more comes.
            guest.step(Some(&project)).warn("Message refused", || {
                let kind = EventKind::SessionEnd.as_str();
                let mut data =
                    guest.details([("type", kind.into()), ("error", why.to_string().into())]);
                data.insert("sessionId".to_owned(), session_id.into());
                data
            });
        }
    }
}
