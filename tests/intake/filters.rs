//! Events that are not visits, and data that visitors do not want to be kept.

use std::time::Duration;

use bklit_pipeline::intake::filters::Action;
use bklit_pipeline::intake::{Globs, visitor::Networks};
use bklit_tui::config::Settings;
use bklit_wire::debug_bus::DebugMessage;
use bklit_wire::event::{PageView, Payload};
use serde_json::{Value, json};

use super::{lines, metric, received};
use crate::http::client::DEADLINE;
use crate::http::server::Server as Http;
use crate::websocket::server::{Server, Socket};

const SOCKET: &str = "/?projectId=p&sessionId=s";
const FIREFOX: (&str, &str) =
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0");
const GOOGLEBOT: (&str, &str) = ("user-agent", "Googlebot/2.1");
const HEADLESS: (&str, &str) =
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/120.0.0.0 Safari/537.36");

async fn start(change: impl FnOnce(&mut Settings)) -> Server {
    start_with_grace(Duration::from_secs(300), change).await
}

/// A server on which sessions end this long after their sockets were closed.
async fn start_with_grace(grace: Duration, change: impl FnOnce(&mut Settings)) -> Server {
    let http = Http::with_settings("127.0.0.1:0", change).await;
    Server::over(http, |settings| settings.session_grace = grace).await
}

fn globs(patterns: &[&str]) -> Globs {
    Globs::parse(patterns.iter().map(|&pattern| pattern.to_owned()).collect()).unwrap()
}

fn page(url: &str) -> Value {
    json!({ "url": url, "projectId": "p" })
}

/// Sends a page view with these headers over both servers and in a batch. Each answers as to any
/// other event. Returns what was queued.
async fn sent(server: &Server, headers: &[(&str, &str)], view: &Value) -> Vec<PageView> {
    let before = server.queued().len();
    let answer = server.post_with("/track", headers, view.to_string()).await;
    assert_eq!((answer.status, answer.json()["message"].as_str()), (200, Some("Event queued")));
    assert!(answer.json()["eventId"].as_str().unwrap().starts_with("evt_"), "{answer:?}");

    let batch = json!([{ "type": "pageview", "data": view }]).to_string();
    let json = ("Content-Type", "application/json");
    let answer = server.post_with("/batch", &[&[json], headers].concat(), batch).await;
    assert_eq!(answer.status, 200, "{answer:?}");

    let mut socket = Socket::open(server.address, SOCKET, headers).await;
    socket.greeted().await;
    socket.say(json!({ "type": "pageview", "data": view, "apiKey": server.ingest })).await;
    let answer = socket.hear().await;
    assert_eq!(answer["type"], "ack", "{answer}");
    let events = server.queued().split_off(before);
    let views = events.into_iter().map(|item| match &item.event.payload {
        Payload::Pageview(view) => (**view).clone(),
        other => panic!("{other:?}"),
    });
    views.collect()
}

fn filtered(server: &Server, rule: &str, action: &str) -> u64 {
    metric(server, &format!("bklit_filtered_total{{rule=\"{rule}\",action=\"{action}\"}}"))
}

#[tokio::test]
async fn bots_are_dropped_and_counted_by_rule() {
    let server = start(|_| {}).await;
    let view = page("https://a.example/");
    for (agent, rule) in [(GOOGLEBOT, "search-engine"), (HEADLESS, "browser-automation")] {
        assert_eq!(sent(&server, &[agent], &view).await, []);
        assert_eq!(filtered(&server, rule, "drop"), 3);
        // The visitor's user agent, in the event, counts, not that of a server that sends it.
        let mut of_visitor = view.clone();
        of_visitor["userAgent"] = FIREFOX.1.into();
        assert_eq!(sent(&server, &[agent], &of_visitor).await.len(), 3);
        of_visitor["userAgent"] = agent.1.into();
        assert_eq!(sent(&server, &[FIREFOX], &of_visitor).await, []);
    }
    assert_eq!(sent(&server, &[FIREFOX], &view).await.len(), 3);
    let gauges = server.log.publish_gauges();
    assert_eq!((gauges.filtered, gauges.accepted, gauges.refused), (12, 9, 0));
    server.stop().await;
}

#[tokio::test]
async fn other_events_of_a_bot_are_dropped_as_well() {
    let server = start_with_grace(Duration::ZERO, |_| {}).await;
    let custom = json!({ "projectId": "p", "trackingId": "t", "eventType": "e" }).to_string();
    let end = json!({ "projectId": "p", "sessionId": "s" }).to_string();
    for (path, body) in [("/track-event", custom), ("/session-end", end)] {
        let answer = server.post_with(path, &[GOOGLEBOT], body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    // The end of a session that follows when its socket is closed.
    let mut stream = lines(&server);
    let mut socket = Socket::open(server.address, SOCKET, &[GOOGLEBOT]).await;
    socket.greeted().await;
    socket.say(json!({ "type": "auth", "apiKey": server.ingest })).await;
    socket.hear().await;
    socket.leave().await;
    let line = loop {
        let next = tokio::time::timeout(DEADLINE, stream.next()).await.unwrap().unwrap();
        if let DebugMessage::Log(line) = next
            && line.message == "Event dropped by a filter"
        {
            break line;
        }
    };
    assert_eq!(
        (&line.data["filter"], &line.data["reason"]),
        (&json!("search-engine"), &json!("disconnect"))
    );
    assert_eq!(filtered(&server, "search-engine", "drop"), 3);
    assert_eq!(server.queued().len(), 0);
    server.stop().await;
}

#[tokio::test]
async fn a_prefetched_page_is_not_a_visit_yet() {
    let server = start(|_| {}).await;
    let view = page("https://a.example/");
    for header in [
        ("sec-purpose", "prefetch"),
        ("sec-purpose", "prefetch;prerender"),
        ("purpose", "prefetch"),
        ("x-moz", "prefetch"),
    ] {
        // A socket outlives the prerendering.
        assert_eq!(sent(&server, &[FIREFOX, header], &view).await.len(), 1, "{header:?}");
    }
    assert_eq!(filtered(&server, "prefetch", "drop"), 8);
    server.stop().await;
}

#[tokio::test]
async fn programs_count_unless_they_are_excluded() {
    let view = page("https://a.example/");
    let curl = [("user-agent", "curl/8.5.0")];
    let server = start(|_| {}).await;
    assert_eq!(sent(&server, &curl, &view).await.len(), 3);
    assert_eq!(sent(&server, &[], &view).await.len(), 3);
    assert_eq!(filtered(&server, "http-library", "keep"), 3);
    assert_eq!(filtered(&server, "no-user-agent", "keep"), 3);
    server.stop().await;
    let server = start(|settings| settings.filters.programs = Action::Drop).await;
    assert_eq!(sent(&server, &curl, &view).await, []);
    assert_eq!(sent(&server, &[], &view).await, []);
    assert_eq!(sent(&server, &[FIREFOX], &view).await.len(), 3);
    server.stop().await;
}

#[tokio::test]
async fn a_marked_event_is_queued_and_its_line_names_the_rule() {
    let server = start(|settings| settings.filters.bots = Action::Mark).await;
    let mut stream = lines(&server);
    assert_eq!(sent(&server, &[GOOGLEBOT], &page("https://a.example/")).await.len(), 3);
    for _ in 0..3 {
        assert_eq!(received(&mut stream).await.data["filter"], "search-engine");
    }
    assert_eq!(filtered(&server, "search-engine", "mark"), 3);
    assert_eq!(server.log.publish_gauges().filtered, 0);
    server.stop().await;
}

#[tokio::test]
async fn visits_are_excluded_by_network_host_path_and_referrer() {
    let server = start(|settings| {
        settings.filters.hosts = globs(&["*.staging.example", "localhost"]);
        settings.filters.paths = globs(&["/admin/**", "/preview/*"]);
        settings.filters.referrers = vec!["spam.example".to_owned()];
    })
    .await;
    let mut spam = page("https://a.example/");
    spam["referrer"] = "https://www.spam.example/x".into();
    for (view, rule) in [
        (page("https://x.staging.example/"), "host"),
        (page("http://localhost:3000/"), "host"),
        (page("https://a.example/admin/users/7"), "path"),
        (page("https://a.example/preview/7?x"), "path"),
        (spam, "referrer"),
    ] {
        let before = filtered(&server, rule, "drop");
        assert_eq!(sent(&server, &[FIREFOX], &view).await, [], "{view}");
        assert_eq!(filtered(&server, rule, "drop"), before + 3, "{view}");
    }
    for url in ["https://staging.example/", "https://a.example/preview/7/8"] {
        assert_eq!(sent(&server, &[FIREFOX], &page(url)).await.len(), 3, "{url}");
    }
    // Custom events are excluded by the page that they come from.
    let custom = json!({ "projectId": "p", "trackingId": "t", "eventType": "e" });
    let from = ("Referer", "https://x.staging.example/");
    let before = server.queued().len();
    server.post_with("/track-event", &[FIREFOX, from], custom.to_string()).await;
    assert_eq!((filtered(&server, "host", "drop"), server.queued().len()), (7, before));
    server.stop().await;

    let office = |settings: &mut Settings| {
        settings.filters.networks = Networks::parse(["127.0.0.0/8"]).unwrap();
    };
    let server = start(office).await;
    assert_eq!(sent(&server, &[FIREFOX], &page("https://a.example/")).await, []);
    assert_eq!(filtered(&server, "network", "drop"), 3);
    server.stop().await;
}

#[tokio::test]
async fn privacy_signals_are_honoured_if_configured() {
    let view = page("https://a.example/");
    let (dnt, gpc) = (("dnt", "1"), ("sec-gpc", "1"));
    let server = start(|_| {}).await;
    assert_eq!(sent(&server, &[FIREFOX, dnt, gpc], &view).await.len(), 3);
    server.stop().await;
    let server = start(|settings| {
        settings.privacy.do_not_track = true;
        settings.privacy.global_privacy_control = true;
    })
    .await;
    for (header, rule) in [(dnt, "do-not-track"), (gpc, "global-privacy-control")] {
        assert_eq!(sent(&server, &[FIREFOX, header], &view).await, []);
        assert_eq!(filtered(&server, rule, "drop"), 3);
        assert_eq!(sent(&server, &[FIREFOX, (header.0, "0")], &view).await.len(), 3);
    }
    server.stop().await;
}

#[tokio::test]
async fn parameters_are_removed_from_all_addresses() {
    let server = start(|settings| {
        settings.privacy.strip_query = globs(&["email", "*token", "utm_term"]);
    })
    .await;
    let view = json!({
        "projectId": "p",
        "url": "https://a.example/?email=me&utm_term=x&utm_source=mail#access_token=1",
        "referrer": "https://b.example/?a=1&Token=2",
        "canonicalUrl": "/x?email=me",
        "landingPage": "https://a.example/?e%6Dail=me",
        "referrerPath": "/?token=2",
    });
    let views = sent(&server, &[FIREFOX], &view).await;
    assert_eq!(views.len(), 3);
    for view in views {
        assert_eq!(view.url, "https://a.example/?utm_source=mail");
        assert_eq!(view.referrer.as_deref(), Some("https://b.example/?a=1"));
        assert_eq!(view.canonical_url.as_deref(), Some("/x"));
        assert_eq!(view.landing_page.as_deref(), Some("https://a.example/"));
        assert_eq!(view.referrer_path.as_deref(), Some("/"));
        assert_eq!((view.utm_source.as_deref(), view.utm_term), (Some("mail"), None));
    }
    let changed = r#"bklit_values_changed_total{field="url",change="parameters"}"#;
    assert_eq!(metric(&server, changed), 3);
    server.stop().await;
}

#[tokio::test]
async fn the_type_of_the_referrer_is_filled_in() {
    let server = start(|_| {}).await;
    let mut view = page("https://a.example/");
    for (referrer, expected) in [
        ("", "direct"),
        ("https://www.google.com/", "organic"),
        ("https://t.co/x", "social"),
        ("https://www.a.example/y", "internal"),
        ("https://b.example/", "referral"),
    ] {
        view["referrer"] = referrer.into();
        for view in sent(&server, &[FIREFOX], &view).await {
            assert_eq!(view.referrer_type.as_deref(), Some(expected), "{referrer}");
        }
    }
    view["referrerType"] = "own".into();
    for view in sent(&server, &[FIREFOX], &view).await {
        assert_eq!(view.referrer_type.as_deref(), Some("own"));
    }
    server.stop().await;
}
