//! Values that are out of bounds.

use std::time::Instant;

use serde_json::{Value, json};

use super::{case, debug_log, joined, list, metric, post, post_as, stored};
use crate::support::servers::ClickHouse;
use crate::support::{DEADLINE, Daemon, eventually};

#[test]
fn timestamps_in_seconds() {
    let input = r#""timestamp":1767225600"#;
    case("umami /api/send, snowplow 450", input, "200, 2026-01-01 00:00:00", || {
        // Keeps this moment plausible for years.
        let daemon = Daemon::with_settings("[intake]\nmax_age = '3650d'");
        let body = json!({ "url": "https://shop.example/", "projectId": "default", "timestamp": 1767225600 });
        let status = daemon.post("/track", &body).status;
        stored(&daemon, "page_view_event", 1);
        let time = daemon.scalar("SELECT timestamp FROM page_view_event");
        format!("{status}, {}", time.as_str().unwrap())
    });
}

#[test]
fn timestamps_in_the_future() {
    let input = r#""timestamp":"2099-01-01T00:00:00Z" twice in a session, and in a /session-end without a token"#;
    let expected =
        "200, 200, 200; 0 page views ahead of the clock; duration below 60 s; 2 warnings or more";
    case("PostHog 13589, seq-tickets 1570", input, expected, || {
        let daemon = Daemon::start();
        let view = json!({ "url": "https://shop.example/", "projectId": "default",
            "sessionId": "s", "timestamp": "2099-01-01T00:00:00Z" });
        let mut statuses = vec![daemon.post("/track", &view).status];
        statuses.push(daemon.post("/track", &view).status);
        stored(&daemon, "page_view_event", 2);
        let end = json!({ "projectId": "default", "sessionId": "s", "timestamp": "2099-01-01T00:00:00Z" });
        statuses.push(post_as(&daemon, "", "/session-end", &[], end.to_string().as_bytes()).status);
        stored(&daemon, "tracked_session WHERE ended_at IS NOT NULL", 1);
        let ahead =
            "SELECT count() FROM page_view_event WHERE unixepoch(timestamp) > unixepoch() + 60";
        let duration = daemon.scalar("SELECT duration FROM tracked_session");
        let duration = match duration.as_i64() {
            Some(0..60) => "below 60 s".to_owned(),
            other => format!("{other:?}"),
        };
        let lines = debug_log(&daemon);
        let is_warning = |line: &&Value| {
            line["level"] == "warn" && line["message"].as_str().unwrap().contains("timestamp")
        };
        let warnings = lines.iter().filter(is_warning).count();
        let warnings =
            if warnings >= 2 { "2 warnings or more".into() } else { warnings.to_string() };
        let ahead = daemon.scalar(ahead);
        let statuses = joined(statuses);
        format!(
            "{statuses}; {ahead} page views ahead of the clock; duration {duration}; {warnings}"
        )
    });
}

#[test]
fn timestamps_of_all_months() {
    let input = "a page view for each month of 1970 to 2105, then 10 of now, stored in ClickHouse";
    let expected = "1642 stored, in 15 partitions at most, the last 10 within 10 s";
    case("opentelemetry-collector-contrib 43599", input, expected, || {
        let database = ClickHouse::shared();
        let daemon = Daemon::with_settings(&format!(
            "clickhouse_url = '{}'\nclickhouse_database = '{}'",
            database.url(),
            database.name()
        ));
        let view = |path: &str, timestamp: Option<String>| {
            json!({ "type": "pageview", "url": format!("https://shop.example/{path}"),
                "projectId": "default", "timestamp": timestamp })
        };
        let months = (1970..=2105).flat_map(|year| (1..=12).map(move |month| (year, month)));
        let old: Vec<_> = months
            .map(|(year, month)| view("old", Some(format!("{year}-{month:02}-15T12:00:00Z"))))
            .collect();
        for batch in old.chunks(400) {
            let answer = daemon.post("/batch", &Value::from(batch));
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let began = Instant::now();
        for _ in 0..10 {
            daemon.track("https://shop.example/new");
        }
        let count = |condition: &str| -> usize {
            let sql = format!("SELECT count() FROM page_view_event WHERE {condition}");
            database.query(&sql).parse().unwrap()
        };
        // Until then, queries would name a table that may not exist.
        let exists = || database.query("EXISTS page_view_event") == "1";
        eventually(DEADLINE, "the last ones are stored", || {
            exists() && count("url LIKE '%/new'") == 10
        });
        let seconds = began.elapsed().as_secs();
        let within = if seconds < 10 { "10 s".to_owned() } else { format!("{seconds} s") };
        let parts = "SELECT uniq(partition) FROM system.parts WHERE active AND table = \
                     'page_view_event' AND database = currentDatabase()";
        let partitions: usize = database.query(parts).parse().unwrap();
        let partitions =
            if partitions <= 15 { "15 partitions at most".into() } else { partitions.to_string() };
        format!("{} stored, in {partitions}, the last 10 within {within}", count("1"))
    });
}

#[test]
fn long_texts() {
    let input = "url, referrer, title and gclid of 9,000 bytes";
    let expected = "200; url, referrer, title, gclid of 8192 bytes at most; 4 truncations counted";
    case("umami 3919, plausible 2536", input, expected, || {
        let daemon = Daemon::start();
        let long = "x".repeat(9_000);
        let url = format!("https://shop.example/{long}");
        let body = json!({ "projectId": "default", "url": url, "referrer": url, "title": long,
            "gclid": long });
        let status = daemon.post("/track", &body).status;
        stored(&daemon, "page_view_event", 1);
        let names = ["url", "referrer", "title", "gclid"];
        let kept = names.into_iter().filter(|name| {
            let length = daemon.scalar(&format!("SELECT length({name}) FROM page_view_event"));
            length.as_u64().is_some_and(|length| (1..=8192).contains(&length))
        });
        let kept = joined(kept);
        let counted = names.into_iter().filter(|name| {
            let sample =
                format!("bklit_values_changed_total{{field=\"{name}\",change=\"truncated\"}}");
            let shortened =
                format!("bklit_values_changed_total{{field=\"{name}\",change=\"shortened\"}}");
            metric(&daemon, &sample) + metric(&daemon, &shortened) == 1.0
        });
        format!("{status}; {kept} of 8192 bytes at most; {} truncations counted", counted.count())
    });
}

#[test]
fn urls_of_apps() {
    let input = r#""url":"capacitor://localhost/a", and javascript:alert(1)"#;
    case("plausible 1124", input, "200, 400; capacitor://localhost/a", || {
        let daemon = Daemon::start();
        let statuses = ["capacitor://localhost/a", "javascript:alert(1)"].map(|url| {
            let body = json!({ "url": url, "projectId": "default" });
            daemon.post("/track", &body).status
        });
        stored(&daemon, "page_view_event", 1);
        let urls = list(&daemon, "SELECT url AS x FROM page_view_event");
        format!("{}; {}", joined(statuses), joined(urls.iter().map(|url| url.as_str().unwrap())))
    });
}

#[test]
fn fractions_of_a_second() {
    let input = r#""timestamp" of now with 12 digits after the second"#;
    case("hostile trial", input, "200, not changed", || {
        let daemon = Daemon::start();
        let now = bklit_wire::time::UtcMillis::now().to_string();
        let time = now.replace('Z', "987654321Z");
        let body = format!(
            r#"{{"url":"https://shop.example/","projectId":"default","timestamp":"{time}"}}"#
        );
        let status = post(&daemon, "/track", &[], body.as_bytes()).status;
        stored(&daemon, "page_view_event", 1);
        let seconds = daemon.scalar("SELECT timestamp FROM page_view_event");
        let same = seconds.as_str().unwrap() == now[..19].replace('T', " ");
        format!("{status}, {}", if same { "not changed" } else { "changed" })
    });
}
