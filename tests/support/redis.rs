//! Helpers for tests of the Redis adapters.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bklit_adapters::redis::connection::{RedisOptions, RedisServer};
use bklit_adapters::redis::queue::{RedisQueue, RedisQueueOptions};
use bklit_pipeline::queue::{Claim, NewItem};
use bklit_wire::event::{PageView, Payload, QueuedEvent};
use bklit_wire::time::UtcMillis;

/// How long a test waits for an expected result.
pub const SOON: Duration = Duration::from_secs(60);
/// A lease that does not expire during a test.
pub const LEASE: Duration = Duration::from_secs(600);

/// Options with timeouts for tests: long enough for a busy machine, short enough to fail.
pub fn options(url: &str) -> RedisOptions {
    RedisOptions {
        url: url.to_owned(),
        root_certificates: None,
        connect_timeout: Duration::from_secs(4),
        response_timeout: Duration::from_secs(8),
    }
}

/// The adapters' connection to a server that a test has started.
pub fn server_at(server: &super::servers::RedisServer) -> RedisServer {
    RedisServer::new(&options(&server.url())).unwrap()
}

/// The queue with default settings.
pub fn queue_at(server: &super::servers::RedisServer) -> Arc<RedisQueue> {
    Arc::new(RedisQueue::new(server_at(server), &RedisQueueOptions::default()))
}

/// A page view.
pub fn event(id: &str) -> QueuedEvent {
    let url = format!("https://example.com/{id}");
    QueuedEvent {
        id: id.to_owned(),
        payload: Payload::Pageview(Box::new(PageView { url, ..PageView::default() })),
        queued_at: UtcMillis::now(),
        project_id: "p1".to_owned(),
        push_ticket: None,
    }
}

/// A page view whose id the server generated.
pub fn item(id: &str) -> NewItem {
    NewItem { event: event(id).into(), client_id: false }
}

/// The ids of a batch's events.
pub fn ids(claim: &Claim) -> Vec<String> {
    claim.items.iter().map(|item| QueuedEvent::from_json(&item.body).unwrap().id).collect()
}

/// Polls until a condition holds.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {SOON:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
