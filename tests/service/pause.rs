//! Pausing and resuming accepting and storing events, in all processes of a queue.

use std::path::Path;

use serde_json::json;

use crate::support::servers::{Kind, RedisServer};
use crate::support::{Cli, DEADLINE, Daemon, Response, eventually, request};

const VIEWS: &str = "SELECT count() FROM page_view_event";

fn queue(daemon: &Daemon, arguments: &str) -> String {
    let arguments: Vec<_> = ["queue"].into_iter().chain(arguments.split(' ')).collect();
    daemon.cli(&arguments)
}

fn try_track(daemon: &Daemon) -> Response {
    daemon.post("/track", &json!({ "url": "https://shop.example/", "projectId": "default" }))
}

#[test]
fn events_wait_while_the_workers_are_paused() {
    let mut daemon = Daemon::start();
    let text = queue(&daemon, "pause workers --reason disk");
    assert!(text.starts_with("workers paused: events wait"), "{text}");
    daemon.track("https://shop.example/");
    eventually(DEADLINE, "the process knows", || {
        daemon.get("/metrics").text().lines().any(|line| line == "bklit_workers_paused 1")
    });
    daemon.track("https://shop.example/");
    let view = daemon.queue();
    assert!(view["waiting"].as_u64() >= Some(1), "{view}");
    assert_eq!(view["paused"]["workers"]["reason"], "disk", "{view}");
    let status = queue(&daemon, "status");
    assert!(status.contains("workers paused by ") && status.contains(": disk"), "{status}");
    // A restart resumes nothing.
    daemon.kill9();
    let daemon = daemon.restart();
    daemon.track("https://shop.example/");
    let line = || daemon.cli(&["logs", "--json", "--stage", "worker"]);
    eventually(DEADLINE, "a line", || line().contains("Paused by an operator"));
    assert!(daemon.scalar(VIEWS).as_u64() < Some(3));
    let text = queue(&daemon, "resume workers");
    assert!(text.starts_with("workers resumed, paused by "), "{text}");
    eventually(DEADLINE, "all are stored", || daemon.scalar(VIEWS) == 3);
    eventually(DEADLINE, "a line", || line().contains("Resumed by an operator"));
    assert_eq!(queue(&daemon, "resume workers"), "workers: not paused\n");
}

#[test]
fn a_drain_stores_events_although_the_workers_are_paused() {
    let mut daemon = Daemon::start();
    queue(&daemon, "pause workers");
    eventually(DEADLINE, "an event waits", || {
        daemon.track("https://shop.example/");
        daemon.queue()["waiting"].as_u64() > Some(0)
    });
    daemon.kill9();
    queue(&daemon, "drain --timeout 30s");
    assert!(queue(&daemon, "status").starts_with("waiting            0"));
}

#[test]
fn events_are_refused_while_the_intake_is_paused() {
    let daemon = Daemon::start();
    assert_eq!(try_track(&daemon).status, 200);
    queue(&daemon, "pause intake --reason secret-plan");
    eventually(DEADLINE, "events are refused", || try_track(&daemon).status == 503);
    let refused = try_track(&daemon);
    assert!(refused.header("retry-after").is_some());
    assert_eq!(
        refused.json()["error"],
        "no events are accepted for a while; try again later",
        "names and reasons are for operators only"
    );
    let batch =
        json!([{ "type": "pageview", "url": "https://a.example/", "projectId": "default" }]);
    assert_eq!(daemon.post("/batch", &batch).status, 503);
    eventually(DEADLINE, "it is not ready", || {
        daemon.get("/ready").text().contains("an operator has paused accepting events")
    });
    assert!(daemon.get("/api/refused").text().contains(r#""reason":"paused""#));
    // A planned pause is not a failure.
    let errors = |text: String| {
        text.lines().any(|line| line.contains(r#"level="error"} "#) && !line.ends_with(" 0"))
    };
    assert!(!errors(daemon.get("/metrics").text()), "{}", daemon.get("/metrics").text());
    queue(&daemon, "resume intake");
    eventually(DEADLINE, "events are accepted", || try_track(&daemon).status == 200);
    eventually(DEADLINE, "it is ready", || daemon.get("/ready").status == 200);
}

#[test]
fn a_pause_is_known_to_all_processes_of_a_redis() {
    let redis = RedisServer::start(Kind::Valkey, &[]);
    let settings = |roles| format!("redis_url = '{}'\nroles = ['{roles}']", redis.url());
    let [intake, worker] =
        ["ingestion", "worker"].map(|roles| Daemon::with_settings(&settings(roles)));
    let pause = |body: &serde_json::Value| {
        let headers = [("Content-Type", "application/json")];
        let body = body.to_string();
        request(worker.addr, "POST", "/api/queue/pause", &headers, body.as_bytes()).unwrap()
    };
    let body = json!({ "part": "workers", "paused": true, "by": "ann", "reason": "deploy" });
    let response = pause(&body);
    assert_eq!((response.status, &response.json()["workers"]["by"]), (200, &json!("ann")));
    for wrong in [
        json!({ "part": "store", "paused": true, "by": "ann" }),
        json!({ "part": "intake", "paused": true, "by": " " }),
        json!({ "part": "intake", "by": "ann" }),
    ] {
        assert_eq!(pause(&wrong).status, 400, "{wrong}");
    }
    intake.track("https://shop.example/");
    let in_redis = Cli::on(Path::new("unused")).env("REDIS_URL", &redis.url());
    let status = in_redis.run(&["queue", "status", "--json"]).ok();
    assert!(status.contains(r#""waiting": 1"#) && status.contains("deploy"), "{status}");
    // Another worker takes part in it, and one that cannot read it stays as it was.
    let late = Daemon::with_settings(&settings("worker"));
    intake.track("https://shop.example/");
    assert_eq!(intake.queue()["waiting"], 2);
    let body = json!({ "part": "workers", "paused": false, "by": "bob" });
    assert_eq!(pause(&body).json(), json!({}));
    eventually(DEADLINE, "both are stored", || {
        [&worker, &late].iter().filter_map(|daemon| daemon.scalar(VIEWS).as_u64()).sum::<u64>() == 2
    });
}
