//! docs/http.md against the servers: paths, methods, and who may call them.

use std::collections::BTreeSet;

use bklit_pipeline::auth::Scope;
use bklit_pipeline::intake::validate::{MAX_EVENT_ID, MAX_ID, MAX_TEXT};
use bklit_pipeline::queue::MAX_PUSHED;
use bklit_wire::live_view::MINUTES;
use bklit_wire::queue::MAX_PAGE;
use bklit_wire::queue::{MOST_BATCHES, MOST_MEMBERS};
use serde_json::{Map, Value};

use super::page;
use crate::http::client::{post, request};
use crate::http::server::Server;

const PAGE: &str = "docs/http.md";

/// Text in quotes that is a path, in a source without its tests.
fn paths(source: &str) -> BTreeSet<String> {
    let text = page::read(source);
    let code = text.split("#[cfg(test)]").next().unwrap();
    let is_path = |text: &&str| {
        let is_word = |c: char| c.is_ascii_lowercase() || "/-.".contains(c);
        text.len() > 1 && text.starts_with('/') && text.chars().all(is_word)
    };
    let quoted = code.lines().filter(|line| !line.trim().starts_with("//"));
    let quoted = quoted.flat_map(|line| line.split('"').skip(1).step_by(2));
    quoted.filter(is_path).map(|path| path.trim_end_matches('/').to_owned()).collect()
}

/// Method, path, and who may call it.
fn documented() -> Vec<(String, String, String)> {
    let text = page::read(PAGE);
    let rows = page::rows(page::section(&text, "## Routes"));
    let mut found = Vec::new();
    for row in rows {
        for route in page::spans(&row[0]) {
            let (method, path) = route.split_once(' ').unwrap();
            found.push((method.to_owned(), path.to_owned(), row[1].replace('[', "")));
        }
    }
    found
}

#[test]
fn every_route_is_documented() {
    let documented: BTreeSet<_> = documented().into_iter().map(|(_, path, _)| path).collect();
    assert_eq!(documented, paths("src/pipeline/http/routes.rs"), "routes in {PAGE}");
    let text = page::read(PAGE);
    for path in paths("src/pipeline/websocket/handshake.rs") {
        assert!(text.contains(&format!("ws://127.0.0.1:8080{path}")), "{path} in {PAGE}");
    }
}

#[tokio::test]
async fn routes_take_the_documented_methods() {
    let server = Server::start().await;
    for (method, path, _) in documented() {
        let answer = server.send(request("OPTIONS", &path, &[])).await;
        let allowed: Vec<_> = answer.header("allow").unwrap().split(", ").collect();
        assert!(allowed.contains(&method.as_str()), "{method} {path}: {allowed:?}");
    }
}

/// Which remote requests are admitted: without a token, and with one of each scope.
fn let_in(who: &str) -> [bool; 4] {
    let known = [
        ("anyone", [true, true, true, true]),
        ("ingest token", [false, true, false, false]),
        ("readers", [false, false, true, true]),
        ("admins", [false, false, false, true]),
    ];
    let found = known.into_iter().find(|(start, _)| who.starts_with(start));
    found.unwrap_or_else(|| panic!("unknown: {who}")).1
}

#[tokio::test]
async fn routes_admit_only_documented_callers() {
    let server = Server::start().await;
    let (admin, _) = server.tokens.make(Scope::Admin, &[], |_| {}).await;
    let tokens = [None, Some(&*server.ingest), Some(&*server.read), Some(admin.expose())];
    let body = r#"{"url":"https://a.example/","projectId":"p","trackingId":"t","eventType":"e",
        "sessionId":"s"}"#;
    for (method, path, who) in documented() {
        let mut expected = let_in(&who);
        // Sessions of a project with an ingest token may be ended without one.
        expected[0] |= who.contains("or none");
        for (token, expected) in tokens.into_iter().zip(expected) {
            let mut headers = vec![("X-Forwarded-For", "203.0.113.9")];
            let bearer = token.map(|token| format!("Bearer {token}"));
            headers.extend(bearer.iter().map(|bearer| ("Authorization", bearer.as_str())));
            let target = format!("{path}?follow=false");
            let mut client = server.client().await;
            client
                .send(match method.as_str() {
                    "POST" => post(&target, &headers, body),
                    method => request(method, &target, &headers).into_bytes(),
                })
                .await;
            let status = client.head().await.unwrap().status;
            assert_eq!(status != 401, expected, "{method} {path} with {token:?}: {status}");
        }
    }
}

/// The wire names of a page view's texts, from the table in the source.
fn texts_of_a_page_view() -> Vec<String> {
    let table = page::sources().into_iter().find_map(|text| {
        Some(text.split_once("\npage_view! {")?.1.split_once("\n}")?.0.to_owned())
    });
    let table = table.expect("the table of fields");
    table.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_page_views_fields_are_documented_unless_the_server_fills_them_in() {
    let names = texts_of_a_page_view();
    assert!(names.len() > 30, "{names:?}");
    let mut body: Map<_, Value> =
        names.iter().map(|name| (name.clone(), name.as_str().into())).collect();
    body.insert("url".to_owned(), "https://a.example/".into());
    body.insert("projectId".to_owned(), "p".into());
    let server = Server::start().await;
    let answer = server.post("/track", Value::Object(body).to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let queued: Value = serde_json::from_str(&server.queued()[0].event.to_json()).unwrap();
    let text = page::read(PAGE);
    let documented = page::spans(page::section(&text, "### Page views"));
    for name in names {
        let is_the_clients = queued["payload"][&name] == name.as_str();
        assert_eq!(documented.contains(&name), is_the_clients, "{name} in {PAGE}");
    }
}

#[test]
fn limits_match_the_program() {
    let text = page::read(PAGE);
    let limits = page::rows(page::section(&text, "## Limits"));
    let says = |what: &str, limit: usize| {
        let row = limits.iter().find(|row| row[0].contains(what)).expect(what);
        assert!(row[1].replace(',', "").contains(&limit.to_string()), "{what}: {limit}");
    };
    says("`projectId`", MAX_ID);
    says("other texts", MAX_TEXT);
    says("events of a batch", MAX_PUSHED);
    says("per retry or delete request", MAX_PAGE);
    let prose = text.replace(',', "").replace('\n', " ");
    for limit in [
        format!("1 to {MAX_EVENT_ID} printable"),
        format!("last {MINUTES} minutes"),
        format!("up to {MOST_BATCHES} `batches`"),
        format!("up to {MOST_MEMBERS} events"),
    ] {
        assert!(prose.contains(&limit), "{limit}");
    }
}
