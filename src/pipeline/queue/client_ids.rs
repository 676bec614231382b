//! How a queue recognises a client's retry: by the id that the client chose for its event.
//!
//! Only hashes are remembered, so an id takes little room however long it is.

use std::time::Duration;

use sha2::{Digest, Sha256};

use bklit_wire::event::{PageView, Payload, QueuedEvent};

/// How long an id is remembered, unless there are too many.
pub const CLIENT_ID_MEMORY: Duration = Duration::from_secs(24 * 60 * 60);

/// The default for the most ids remembered. In Redis each takes fewer than 60 bytes.
pub const DEFAULT_MAX_CLIENT_IDS: u64 = 1_000_000;

/// An id that a client chose, and the content it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientId {
    /// Identifies the id within its project and kind of event: page views and custom events are
    /// stored in different tables, so they may have the same id.
    pub key: [u8; 16],
    /// Identifies the content, to distinguish a retry from another event.
    pub content: [u8; 8],
}

impl ClientId {
    /// The id of an event.
    pub fn of(event: &QueuedEvent) -> Self {
        let mut hash = Sha256::new();
        hash.update((event.project_id.len() as u64).to_le_bytes());
        hash.update(&event.project_id);
        hash.update(event.payload.kind().as_str());
        hash.update([0]);
        hash.update(&event.id);
        Self { key: start(&hash.finalize()), content: start(&content(&event.payload)) }
    }
}

/// The first bytes of a hash.
fn start<const N: usize>(hash: &[u8]) -> [u8; N] {
    std::array::from_fn(|n| hash[n])
}

/// The hash of what stays the same when a client sends the event again: neither its time, which may
/// be that of each attempt, nor what the server derives from the request.
fn content(payload: &Payload) -> impl AsRef<[u8]> + std::ops::Deref<Target = [u8]> {
    let mut payload = payload.clone();
    match &mut payload {
        Payload::Pageview(view) => {
            let sent = std::mem::take(&mut **view);
            **view = PageView {
                timestamp: None,
                user_agent: None,
                referrer_hostname: None,
                referrer_path: None,
                referrer_type: None,
                ip: None,
                country: None,
                country_code: None,
                region: None,
                region_name: None,
                city: None,
                zip: None,
                timezone: None,
                isp: None,
                lat: None,
                lon: None,
                mobile: None,
                ..sent
            };
        }
        Payload::Event(event) => event.timestamp = None,
        Payload::SessionEnd(end) => end.timestamp = None,
    }
    // Text keys only: always serialises.
    Sha256::digest(serde_json::to_vec(&payload).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, id: &str, payload: &str) -> QueuedEvent {
        let json = format!(
            r#"{{"id":"{id}","type":"{kind}","payload":{payload},"queuedAt":0,"projectId":"p"}}"#
        );
        QueuedEvent::from_json(&json).unwrap()
    }

    #[test]
    fn a_retry_from_another_address_at_another_time_has_the_same_content() {
        let first = event("pageview", "k", r#"{"url":"/a","title":"t","ip":"192.0.2.0"}"#);
        let retry = r#"{"url":"/a","title":"t","ip":"198.51.100.0","timestamp":5,"city":"Oslo",
                        "userAgent":"x","mobile":true,"lat":1.5}"#;
        assert_eq!(ClientId::of(&first), ClientId::of(&event("pageview", "k", retry)));
        for other in [r#"{"url":"/b","title":"t"}"#, r#"{"url":"/a","title":"u"}"#] {
            let other = ClientId::of(&event("pageview", "k", other));
            assert_eq!(other.key, ClientId::of(&first).key);
            assert_ne!(other.content, ClientId::of(&first).content);
        }
    }

    #[test]
    fn projects_kinds_and_ids_are_separate() {
        let end = |project: &str, id: &str| {
            let mut event = event("session_end", id, r#"{"sessionId":"s"}"#);
            event.project_id = project.to_owned();
            ClientId::of(&event).key
        };
        assert_eq!(end("a", "bc"), end("a", "bc"));
        assert_ne!(end("a", "bc"), end("ab", "c"));
        let view = ClientId::of(&event("pageview", "k", r#"{"url":"/"}"#));
        let custom = event("event", "k", r#"{"trackingId":"t","eventType":"e"}"#);
        assert_ne!(view.key, ClientId::of(&custom).key);
    }
}
