//! Sessions, their ends, and events that arrive twice.

use bklit_wire::time::UtcMillis;
use serde_json::{Value, json};

use super::{case, joined, post_as, stored};
use crate::support::{DEADLINE, Daemon, eventually};

fn view(session: &str) -> Value {
    json!({ "url": "https://shop.example/", "projectId": "default", "sessionId": session })
}

fn end(session: &str) -> Value {
    json!({ "projectId": "default", "sessionId": session })
}

#[test]
fn ends_before_their_page_views() {
    let input = "a /session-end that arrives before an earlier page view of its session";
    case("out-of-order delivery", input, "200, 200; 1 session, 1 page view", || {
        let daemon = Daemon::start();
        let now = UtcMillis::now();
        let earlier = UtcMillis::from_epoch_millis(now.epoch_millis() - 10_000);
        let at = |mut event: Value, time: UtcMillis| {
            event["timestamp"] = time.to_string().into();
            event
        };
        let statuses = [
            daemon.post("/session-end", &at(end("s"), now)).status,
            daemon.post("/track", &at(view("s"), earlier)).status,
        ];
        stored(&daemon, "page_view_event", 1);
        stored(&daemon, "tracked_session WHERE ended_at IS NOT NULL", 1);
        let sessions = daemon.scalar("SELECT count() FROM tracked_session");
        format!("{}; {sessions} session, 1 page view", joined(statuses))
    });
}

#[test]
fn ends_without_tokens() {
    let input =
        "1,000 /session-end without a token, of unknown sessions; then a page view and its end";
    let expected = "200 or 429, some 429; 1 session; the page view 200";
    case("hostile trial", input, expected, || {
        let daemon = Daemon::start();
        let mut limited = 0;
        for n in 0..1_000 {
            let body = end(&format!("unknown-{n}")).to_string();
            match post_as(&daemon, "", "/session-end", &[], body.as_bytes()).status {
                200 => {}
                429 => limited += 1,
                other => return format!("{other} for an end"),
            }
        }
        let some = if limited > 0 { "some 429" } else { "no 429" };
        let status = daemon.post("/track", &view("s")).status;
        post_as(&daemon, "", "/session-end", &[], end("s").to_string().as_bytes());
        stored(&daemon, "page_view_event", 1);
        eventually(DEADLINE, "the queue is empty", || daemon.queue()["waiting"] == 0);
        let sessions = daemon.scalar("SELECT count() FROM tracked_session");
        format!("200 or 429, {some}; {sessions} session; the page view {status}")
    });
}

#[test]
fn event_ids_of_clients() {
    let input =
        r#"eventId "k": a page view, a custom event, the page view again, another page view"#;
    let expected = "200, 200, 200, 409; 1 page view, 1 custom event";
    case("hostile trial", input, expected, || {
        let daemon = Daemon::start();
        let first = json!({ "eventId": "k", "url": "https://shop.example/", "projectId": "default",
            "timestamp": UtcMillis::now().to_string() });
        let mut other = first.clone();
        other["url"] = "https://shop.example/other".into();
        let event = json!({ "eventId": "k", "trackingId": "t", "eventType": "e",
            "projectId": "default" });
        let statuses =
            [("/track", &first), ("/track-event", &event), ("/track", &first), ("/track", &other)]
                .map(|(path, body)| daemon.post(path, body).status);
        eventually(DEADLINE, "the queue is empty", || {
            let queue = daemon.queue();
            queue["waiting"] == 0 && queue["inFlight"] == 0
        });
        let [views, events] = ["page_view_event", "tracked_event"]
            .map(|table| daemon.scalar(&format!("SELECT count() FROM {table}")));
        format!("{}; {views} page view, {events} custom event", joined(statuses))
    });
}
