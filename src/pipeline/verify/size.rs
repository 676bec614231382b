//! Estimates the memory of an event, which is cheaper than serialising it.

use bklit_wire::event::{PageView, Payload, QueuedEvent};

/// The approximate size of an event in memory, in bytes.
pub(super) fn bytes(event: &QueuedEvent) -> usize {
    let payload = match &event.payload {
        Payload::Pageview(view) => {
            let texts = view.texts().map(|(_, text)| text.len()).sum::<usize>();
            size_of::<PageView>() + view.url.len() + texts
        }
        Payload::Event(custom) => {
            let metadata = custom.metadata.as_ref().map_or(0, |json| json.as_str().len());
            custom.tracking_id.len() + custom.event_type.len() + metadata
        }
        Payload::SessionEnd(end) => end.reason.as_ref().map_or(0, String::len),
    };
    size_of::<QueuedEvent>() + event.id.len() + event.project_id.len() + payload
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(kind: &str, payload: &str) -> usize {
        let json = format!(
            r#"{{"id":"e","type":"{kind}","payload":{payload},"queuedAt":0,"projectId":"p"}}"#
        );
        bytes(&QueuedEvent::from_json(&json).unwrap())
    }

    #[test]
    fn every_string_and_value_counts() {
        let view = |url: usize, title: usize| {
            let (url, title) = ("u".repeat(url), "t".repeat(title));
            size("pageview", &format!(r#"{{"url":"{url}","title":"{title}"}}"#))
        };
        assert_eq!(view(1_000, 50) - view(10, 0), 1_040);
        let custom = |metadata: &str| {
            size("event", &format!(r#"{{"trackingId":"t","eventType":"c","metadata":{metadata}}}"#))
        };
        assert_eq!(custom(r#"{"ab":[1,{"c":"def"}]}"#) - custom("{}"), 20);
        let end = |reason: &str| {
            size("session_end", &format!(r#"{{"sessionId":"s","reason":"{reason}"}}"#))
        };
        assert_eq!(end("closed") - end(""), 6);
    }
}
