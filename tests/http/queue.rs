//! `/api/queue`: who may read and who may repair.

use std::sync::atomic::Ordering::SeqCst;

use bklit_pipeline::auth::Scope;
use bklit_pipeline::queue::FailedItem;
use bklit_remote::backend::RemoteBackend;
use bklit_wire::backend::{Backend as _, Change};
use bklit_wire::queue::{Edit, EditRequest};
use bklit_wire::time::UtcMillis;
use serde_json::{Value, json};

use super::client::{Answer, post, request};
use super::server::Server;

const RETRY: &str = "/api/queue/failed/retry";
const DELETE: &str = "/api/queue/failed/delete";
const EDIT: &str = "/api/queue/failed/edit";
const VIEW: &str = r#"{"url":"https://a.example/","projectId":"p"}"#;

/// A server with this many failed items, `7` the newest of eight.
async fn with_failed(count: usize) -> Server {
    let server = Server::start().await;
    let item = |n: usize| FailedItem {
        id: n.to_string(),
        body: format!(r#"{{"id":"evt_{n}","type":"event","projectId":"p","payload":7}}"#),
        reason: format!("reason {n}"),
        failed_at: Some(UtcMillis::now()),
    };
    *server.queue.failed.lock().unwrap() = (0..count).rev().map(item).collect();
    server
}

async fn change(server: &Server, path: &str, headers: &[(&str, &str)], ids: Value) -> Answer {
    let body = json!({ "ids": ids }).to_string();
    let length = body.len().to_string();
    let mut all = vec![("Content-Type", "application/json"), ("Content-Length", &length)];
    all.extend(headers);
    let answer = server.send(request("POST", path, &all) + &body).await;
    assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
    answer
}

fn failed(server: &Server) -> Vec<String> {
    server.queue.failed.lock().unwrap().iter().map(|item| item.id.clone()).collect()
}

#[tokio::test]
async fn the_overview_shows_figures_batches_and_the_oldest() {
    let server = with_failed(2).await;
    assert_eq!(server.post("/track", VIEW).await.status, 200);
    let view = server.get("/api/queue", &[]).await.json();
    assert_eq!((&view["waiting"], &view["failed"]), (&json!(1), &json!(2)));
    let oldest: UtcMillis = serde_json::from_value(view["oldestWaiting"].clone()).unwrap();
    assert!((UtcMillis::now().epoch_millis() - oldest.epoch_millis()).abs() < 60_000);
    let batch = &view["batches"][0];
    assert_eq!((&batch["owner"], &batch["leaseLeftMs"]), (&json!("host:7"), &json!(-5)));
    server.queue.is_away.store(true, SeqCst);
    let away = server.get("/api/queue", &[]).await;
    assert_eq!((away.status, away.header("retry-after").is_some()), (503, true));
}

#[tokio::test]
async fn a_batch_shows_its_events_and_is_null_once_it_is_done() {
    let server = Server::start().await;
    for _ in 0..3 {
        assert_eq!(server.post("/track", VIEW).await.status, 200);
    }
    let batch = server.get("/api/queue/batch?id=batch", &[]).await.json();
    let events = batch["events"].as_array().unwrap();
    assert_eq!((&batch["id"], events.len()), (&json!("batch"), 2));
    assert!(events[0]["eventId"].as_str().unwrap().starts_with("evt_"), "{batch}");
    assert_eq!((&events[0]["projectId"], &events[0]["type"]), (&json!("p"), &json!("pageview")));
    assert!(!batch.to_string().contains("a.example"), "no more of them than that");
    assert_eq!(server.get("/api/queue/batch?id=another", &[]).await.json(), json!(null));
    assert_eq!(server.get("/api/queue/batch", &[]).await.status, 400);
    let view = server.get("/api/queue", &[]).await.json();
    assert_eq!((&view["lapsed"], &view["moreBatches"]), (&json!(1), &json!(false)));
}

#[tokio::test]
async fn an_event_is_located_and_gaps_are_reported() {
    let server = with_failed(3).await;
    let body = r#"{"url":"https://a.example/","projectId":"p","eventId":"evt_mine"}"#;
    assert_eq!(server.post("/track", body).await.status, 200);
    let found = server.get("/api/event?id=evt_1", &[]).await.json();
    let failed = &found["queued"][0];
    assert_eq!((&failed["place"], &failed["reason"]), (&json!("failed"), &json!("reason 1")));
    let found = server.get("/api/event?id=evt_mine", &[]).await.json();
    // This queue's batch includes the waiting items.
    let places: Vec<_> = found["queued"].as_array().unwrap().iter().map(|p| &p["place"]).collect();
    assert_eq!(places, ["inFlight", "waiting"]);
    assert_eq!(found["queued"][0]["lapsed"], json!(true));
    let gap = found["gaps"][0].as_str().unwrap();
    assert!(gap.contains("without the role worker"), "{gap}");
    server.queue.is_away.store(true, SeqCst);
    let found = server.get("/api/event?id=evt_x", &[]).await.json();
    assert_eq!((&found["queued"], &found["stored"]), (&json!([]), &json!([])));
    assert!(found["gaps"].to_string().contains("the queue is unavailable"), "{found}");
    assert!(!found.to_string().contains("on fire"), "that is not for everybody");
    for wrong in ["", "?id=", "?id=%0a", &format!("?id={}", "x".repeat(257))] {
        let answer = server.get(&format!("/api/event{wrong}"), &[]).await;
        assert_eq!(answer.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_an_object_is_answered_with_an_example() {
    let server = Server::start().await;
    for (path, example) in [
        ("/api/queue/pause", r#"{"part":"workers""#),
        (RETRY, r#"{"ids":"#),
        (EDIT, r#"{"edits":"#),
    ] {
        for (body, problem) in [("[]", "expected a JSON object"), ("{}", ": missing")] {
            let headers = [("Content-Type", "application/json")];
            let answer = server.send(post(path, &headers, body)).await;
            let error = answer.error();
            assert_eq!(answer.status, 400, "{path} {body}: {error}");
            assert!(error.starts_with(&format!("body: must be {example}")), "{error}");
            assert!(error.contains(problem) && !error.contains("struct"), "{error}");
        }
    }
}

#[tokio::test]
async fn failed_events_show_no_whole_addresses() {
    let server = with_failed(1).await;
    let body = |ip: &str| {
        let payload = json!({ "url": "u", "ip": ip });
        json!({ "id": "e", "type": "pageview", "payload": payload, "projectId": "p" }).to_string()
    };
    server.queue.failed.lock().unwrap()[0].body = body("203.0.113.9");
    let page = server.get("/api/queue/failed", &[]).await.json();
    let shown: Value = serde_json::from_str(page["items"][0]["body"].as_str().unwrap()).unwrap();
    assert_eq!(shown.to_string(), body("203.0.113.0"));
}

#[tokio::test]
async fn the_events_of_a_session_are_found_with_what_was_refused() {
    let server = Server::start().await;
    let item = |n: usize, session: &str| FailedItem {
        id: n.to_string(),
        body: json!({
            "id": format!("evt_{n}"), "type": "pageview", "projectId": "p",
            "payload": { "url": "https://a.example/bad", "sessionId": session },
        })
        .to_string(),
        reason: "too long".to_owned(),
        failed_at: Some(UtcMillis::now()),
    };
    let failed = vec![item(1, "s_1"), item(2, "s_12"), item(3, "s_1")];
    *server.queue.failed.lock().unwrap() = failed;
    let found = server.get("/api/session?id=s_1&projectId=p", &[]).await.json();
    let events = found["events"].as_array().unwrap();
    let ids: Vec<_> = events.iter().map(|event| &event["eventId"]).collect();
    assert_eq!(ids, ["evt_1", "evt_3"]);
    assert_eq!(
        (&events[0]["failed"], &events[0]["what"]),
        (&json!("too long"), &json!("https://a.example/bad"))
    );
    assert!(found["gaps"][0].as_str().unwrap().contains("without the role worker"), "{found}");
    let other = server.get("/api/session?id=s_1&projectId=q", &[]).await.json();
    assert_eq!(other["events"], json!([]));
    server.queue.is_away.store(true, SeqCst);
    let found = server.get("/api/session?id=s_1", &[]).await.json();
    assert!(found["gaps"].to_string().contains("the queue is unavailable"), "{found}");
    for wrong in ["", "?id=", "?id=%0a", &format!("?id={}", "x".repeat(257))] {
        let answer = server.get(&format!("/api/session{wrong}"), &[]).await;
        assert_eq!(answer.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn failed_items_come_in_pages() {
    let server = with_failed(5).await;
    let (mut found, mut path) = (Vec::new(), "/api/queue/failed?limit=2".to_owned());
    for _ in 0..3 {
        let page = server.get(&path, &[]).await.json();
        found.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/queue/failed?limit=2&after={next}");
    }
    let shown: Vec<_> = found.iter().map(|item| item["eventId"].as_str().unwrap()).collect();
    assert_eq!(shown, ["evt_4", "evt_3", "evt_2", "evt_1", "evt_0"]);
    let first = &found[0];
    assert_eq!((&first["projectId"], &first["type"]), (&json!("p"), &json!("event")));
    assert!(first["body"].as_str().unwrap().contains("evt_4") && first["reason"] == "reason 4");
    for limit in ["0", "501", "x", "-1"] {
        let answer = server.get(&format!("/api/queue/failed?limit={limit}"), &[]).await;
        assert_eq!(answer.status, 400, "{limit}");
    }
}

#[tokio::test]
async fn local_requests_may_repair() {
    let server = with_failed(5).await;
    let retried = change(&server, RETRY, &[], json!(["4", "9"])).await;
    assert_eq!((retried.status, retried.json()), (200, json!({ "changed": 1 })));
    let deleted = change(&server, DELETE, &[], json!(["0", "1"])).await;
    assert_eq!(deleted.json(), json!({ "changed": 2 }));
    assert_eq!(failed(&server), ["3", "2"]);
    for wrong in [json!([]), json!("all"), json!([7]), json!(vec!["x"; 501])] {
        assert_eq!(change(&server, DELETE, &[], wrong).await.status, 400);
    }
    let json_type = [("Content-Type", "application/json; charset=utf-8")];
    assert_eq!(server.send(post(DELETE, &json_type, "{")).await.status, 400);
    assert_eq!(server.get(DELETE, &[]).await.status, 405);
    assert_eq!(failed(&server), ["3", "2"]);
}

/// Like the event of `with_failed`, but valid.
fn valid(n: usize) -> String {
    json!({
        "id": format!("evt_{n}"), "type": "event", "projectId": "p",
        "queuedAt": "2026-01-02T03:04:05.000Z", "payload": { "trackingId": "t" },
    })
    .to_string()
}

async fn edit(server: &Server, body: &Value) -> Answer {
    server.send(post(EDIT, &[("Content-Type", "application/json")], body.to_string())).await
}

#[tokio::test]
async fn failed_events_are_edited_checked_and_retried() {
    let server = with_failed(5).await;
    let edits = json!([
        { "id": "4", "body": valid(4) },
        { "id": "3", "body": valid(4) },
        { "id": "2", "body": "{" },
        { "id": "9", "body": valid(9) },
    ]);
    let checked = edit(&server, &json!({ "edits": edits, "dryRun": true })).await;
    let invalid = checked.json()["invalid"].clone();
    assert_eq!((checked.status, &checked.json()["changed"]), (200, &json!(3)));
    assert_eq!((&invalid[0]["id"], invalid.as_array().unwrap().len()), (&json!("2"), 1));
    assert_eq!(failed(&server), ["4", "3", "2", "1", "0"], "nothing was changed");
    let edited = edit(&server, &json!({ "edits": edits })).await.json();
    assert_eq!(edited["changed"], 1);
    let ids: Vec<_> = edited["invalid"].as_array().unwrap().iter().map(|i| &i["id"]).collect();
    assert_eq!(ids, ["3", "2"]);
    assert!(edited["invalid"][0]["error"].as_str().unwrap().contains("evt_3"), "{edited}");
    assert_eq!(failed(&server), ["3", "2", "1", "0"]);
    let many: Vec<_> = (0..501).map(|n| json!({ "id": n.to_string(), "body": "x" })).collect();
    for wrong in [json!({ "edits": [] }), json!({ "edits": many }), json!([]), json!({})] {
        assert_eq!(edit(&server, &wrong).await.status, 400);
    }
    // A page of large events is larger than an event may be.
    let large = valid(3).replace("\"t\"", &format!("\"t\",\"x\":\"{}\"", "x".repeat(200_000)));
    let large = json!({ "edits": [{ "id": "3", "body": large }] });
    assert_eq!(edit(&server, &large).await.json()["changed"], 1);
}

#[tokio::test]
async fn a_partial_change_is_an_error_with_what_was_done() {
    let server = with_failed(6).await;
    server.queue.is_partly_away.store(true, SeqCst);
    let retried = change(&server, RETRY, &[], json!(["5", "4"])).await;
    assert_eq!((retried.status, retried.header("retry-after").is_some()), (503, true));
    let error = "a part of the queue is unavailable; try again later";
    assert_eq!(retried.json(), json!({ "changed": 2, "invalid": [], "error": error }));
    let edits = json!({ "edits": [{ "id": "3", "body": valid(3) }] });
    let edited = edit(&server, &edits).await;
    assert_eq!((edited.status, &edited.json()["changed"]), (503, &json!(1)));
    // The console receives it, too.
    let client = bklit_remote::client::client(None, None).unwrap();
    let url = format!("http://{}", server.address);
    let backend = RemoteBackend::new(client, &url, None).unwrap();
    let failure = backend.change(Change::Delete, &["2".to_owned()]).await.unwrap_err();
    assert_eq!((failure.done.changed, failure.error.as_str()), (1, error));
    let request =
        EditRequest { edits: vec![Edit { id: "1".to_owned(), body: valid(1) }], dry_run: false };
    assert_eq!(backend.edit(&request).await.unwrap_err().done.changed, 1);
    assert_eq!(failed(&server), ["0"]);
}

#[tokio::test]
async fn remote_repairs_need_an_admin_token() {
    let server = with_failed(3).await;
    let (admin, _) = server.tokens.make(Scope::Admin, &[], |_| {}).await;
    let (limited, _) = server.tokens.make(Scope::Admin, &["p"], |_| {}).await;
    let elsewhere = ("Via", "1.1 proxy");
    for path in [RETRY, DELETE, EDIT] {
        assert_eq!(change(&server, path, &[elsewhere], json!(["0"])).await.status, 401);
        for token in [server.ingest.as_str(), &server.read, limited.expose(), "bk_live_"] {
            let bearer = format!("Bearer {token}");
            // A token that is sent counts, even on this machine.
            for headers in [
                &[("Authorization", bearer.as_str())][..],
                &[("Authorization", &bearer), elsewhere],
            ] {
                assert_eq!(change(&server, path, headers, json!(["0"])).await.status, 401);
            }
        }
        // URLs end up in logs and histories.
        let in_query = format!("{path}?token={}", admin.expose());
        for headers in [&[elsewhere][..], &[]] {
            assert_eq!(change(&server, &in_query, headers, json!(["0"])).await.status, 401);
        }
    }
    assert_eq!(failed(&server), ["2", "1", "0"], "nothing was changed");
    let bearer = format!("Bearer {}", admin.expose());
    let headers = [elsewhere, ("Authorization", bearer.as_str())];
    assert_eq!(change(&server, DELETE, &headers, json!(["0"])).await.status, 200);
    for path in ["/api/queue", "/api/queue/failed", "/metrics", "/api/debug-stream?projectId=p"] {
        let mut client = server.client().await;
        client.send(request("GET", path, &headers)).await;
        assert_eq!(client.head().await.unwrap().status, 200, "an admin reads {path}");
    }
    let write = server.send(post("/track", &headers, VIEW)).await;
    assert_eq!(write.status, 401, "and does not write events");
    assert_eq!(failed(&server), ["2", "1"]);
}

#[tokio::test]
async fn pages_of_other_origins_cannot_repair() {
    let server = with_failed(2).await;
    for header in [
        ("Origin", "https://evil.example"),
        ("Origin", "http://localhost:3000"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Host", "rebound.example"),
        ("X-Forwarded-For", "127.0.0.1"),
    ] {
        assert_eq!(
            change(&server, DELETE, &[header], json!(["0"])).await.status,
            401,
            "{header:?}"
        );
    }
    let body = json!({ "ids": ["0"] }).to_string();
    for kind in
        ["", "Content-Type: text/plain\r\n", "Content-Type: application/x-www-form-urlencoded\r\n"]
    {
        let length = body.len();
        let request = format!(
            "POST {DELETE} HTTP/1.1\r\nHost: localhost\r\n{kind}Content-Length: {length}\r\n\r\n{body}"
        );
        assert_eq!(server.send(request).await.status, 415, "{kind:?}");
    }
    assert_eq!(failed(&server), ["1", "0"]);
    let public = Server::start_with("0.0.0.0:0", |_| {}).await;
    assert_eq!(change(&public, DELETE, &[], json!(["0"])).await.status, 401);
}

#[tokio::test]
async fn visitors_are_unknown_without_a_store() {
    let server = Server::start().await;
    let answer = server.get("/api/live", &[]).await;
    assert_eq!(answer.status, 503);
    assert!(answer.json()["error"].as_str().unwrap().contains("without the role worker"));
    let elsewhere = [("X-Forwarded-For", "192.0.2.1")];
    assert_eq!(server.get("/api/live", &elsewhere).await.status, 401);
}

#[tokio::test]
async fn a_change_may_be_in_another_charset() {
    let server = with_failed(8).await;
    let body: Vec<u8> = r#"{"ids":["7"]}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let headers = [("Content-Type", "application/json; charset=utf-16")];
    let answer = server.send(post(DELETE, &headers, &body)).await;
    assert_eq!((answer.status, &answer.json()["changed"]), (200, &json!(1)), "{answer:?}");
    let headers = [("Content-Type", "application/json; charset=utf-32")];
    assert_eq!(server.send(post(DELETE, &headers, &body)).await.status, 415);
}
