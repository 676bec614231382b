//! Ends sessions whose last socket was closed, unless they open another within a grace period.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Request;
use hyper::header::{HeaderName, HeaderValue, ORIGIN, REFERER, USER_AGENT};
use hyper::http::request::Parts;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Guest;
use super::sessions::Disconnected;
use crate::auth::Secret;
use crate::intake::{Envelope, Rejection};
use bklit_wire::event::{EventKind, Payload, SessionEnd};
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

/// The most sessions in their grace period at once. Others end without one.
const MOST: usize = 10_000;

/// The sessions in their grace period.
pub struct DisconnectGrace {
    grace: Duration,
    room: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl DisconnectGrace {
    /// Gives sessions the time `grace` to reconnect.
    pub fn new(grace: Duration) -> Self {
        Self { grace, room: Arc::new(Semaphore::new(MOST)), tasks: TaskTracker::new() }
    }

    /// Ends the session of a disconnected browser, unless it reconnects in time or the server stops.
    pub fn begin(&self, session: Disconnected, left: Left) {
        let permit = Arc::clone(&self.room).try_acquire_owned().ok();
        let grace = if permit.is_some() { self.grace } else { Duration::ZERO };
        self.tasks.spawn(async move {
            let _permit = permit;
            let shutdown = left.guest.shutdown.clone();
            if has_expired(grace, &session, &shutdown).await
                && let Some(last_heard) = session.expire()
            {
                left.end_session(last_heard).await;
            }
        });
    }

    /// Waits until ends in progress are queued. Sessions still in their grace period do not end.
    pub async fn finish(&self, longest: Duration) {
        self.tasks.close();
        if tokio::time::timeout(longest, self.tasks.wait()).await.is_err() {
            tracing::warn!(open = self.tasks.len(), "aborting unfinished session ends");
        }
    }
}

/// Whether the grace period passes before a reconnect and before a shutdown.
async fn has_expired(
    grace: Duration,
    session: &Disconnected,
    shutdown: &CancellationToken,
) -> bool {
    tokio::select! {
        biased;
        // A server that stops does not end sessions: the browser reconnects to another process.
        () = shutdown.cancelled() => false,
        () = session.reconnected() => false,
        () = tokio::time::sleep(grace) => true,
    }
}

/// A copy of the parts of the request that are needed after the socket is closed, without the buffer
/// that the request was read into.
pub fn brief(head: &Parts) -> Parts {
    let (mut brief, ()) = Request::new(()).into_parts();
    let privacy = ["dnt", "sec-gpc"].map(HeaderName::from_static);
    for name in [ORIGIN, REFERER, USER_AGENT].into_iter().chain(privacy) {
        let value = head.headers.get(&name).map(|value| HeaderValue::from_bytes(value.as_bytes()));
        if let Some(Ok(value)) = value {
            brief.headers.insert(name, value);
        }
    }
    brief
}

/// What is needed to end the session of a disconnected browser.
pub struct Left {
    pub guest: Guest,
    pub session: SessionKey,
    /// Its last valid API key.
    pub secret: Secret,
}

impl Left {
    /// Ends it at the last sign of life: a connection may be noticed to be dead much later.
    async fn end_session(self, last_heard: UtcMillis) {
        let SessionKey { project_id, session_id } = self.session;
        let event = Payload::SessionEnd(SessionEnd {
            session_id: session_id.clone(),
            timestamp: Some(last_heard),
            reason: Some("disconnect".to_owned()),
            unverified: false,
        });
        let project = project_id.clone();
        let envelope = Envelope {
            project_id: Some(project_id),
            event_id: None,
            sent_at: None,
            unreadable_time: None,
            left_out: Vec::new(),
            event,
        };
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
            // The worker's sweep will end it after the session timeout.
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
