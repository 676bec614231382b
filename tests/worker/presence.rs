//! What the worker records about active sessions, and what it reports when that fails.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bklit_pipeline::presence::Presence;
use bklit_pipeline::worker::WorkerContext;
use bklit_wire::event::{Payload, QueuedEvent, SessionEnd};
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

use super::Bench;
use crate::support::events::view;

/// Fails to record active sessions, and never responds to a sweep.
#[derive(Default)]
struct Broken {
    ended: Mutex<Vec<String>>,
}

#[async_trait]
impl Presence for Broken {
    async fn active(&self, _: &[(SessionKey, UtcMillis)], _: Duration) -> Result<(), String> {
        Err("WRONGTYPE".to_owned())
    }

    async fn ended(&self, sessions: &[(SessionKey, UtcMillis)], _: Duration) -> Result<(), String> {
        let ids = sessions.iter().map(|(key, _)| key.session_id.clone());
        self.ended.lock().unwrap().extend(ids);
        Err("another error".to_owned())
    }

    async fn remove_idle(&self, _: Duration) -> Result<(), String> {
        std::future::pending().await
    }

    async fn count(&self, _: &str) -> Result<u64, String> {
        unreachable!("the worker does not count")
    }

    async fn projects(&self, _: usize) -> Result<Vec<String>, String> {
        unreachable!("the worker does not count")
    }
}

fn end(id: &str, session: &str) -> QueuedEvent {
    let mut event = view("p", id, session, 1, "/");
    let session_id = session.to_owned();
    let reason = None;
    event.payload =
        Payload::SessionEnd(SessionEnd { session_id, timestamp: None, reason, unverified: false });
    event
}

#[tokio::test(start_paused = true)]
async fn ends_are_recorded_although_active_sessions_cannot_be() {
    let (mut bench, context) = Bench::new();
    let presence = Arc::new(Broken::default());
    let events =
        [view("p", "1", "stays", 0, "/"), view("p", "2", "goes", 0, "/"), end("3", "goes")];
    bench.queue.push_all(&events);
    bench.start(WorkerContext { presence: Some(presence.clone()), ..context });
    let line = bench.line("Active sessions not recorded").await;
    assert_eq!((&line.data["reason"], &line.data["sessions"]), (&"WRONGTYPE".into(), &2.into()));
    assert_eq!(*presence.ended.lock().unwrap(), ["goes"]);
    let line = bench.line("Idle sessions not removed from the active ones").await;
    assert_eq!(line.data["reason"], "no response within 30s");
    bench.stop().await;
}
