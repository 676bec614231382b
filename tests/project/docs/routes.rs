//! docs/http.md against the servers: paths, methods, and who may call them.

use std::collections::BTreeSet;

use bklit_tui::pipeline::auth::Scope;

use super::page;
use crate::http::client::{post, request};
use crate::http::server::Server;

const PAGE: &str = "docs/http.md";

/// Text in quotes that is a path, in a source without its tests.
fn paths(source: &str) -> BTreeSet<String> {
    let text = page::read(source);
    let code = text.split("#[cfg(test)]").next().unwrap();
    let is_path = |text: &&str| {
        let is_word = |c: char| c.is_ascii_lowercase() || "/-".contains(c);
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

/// Whose requests are let in, from elsewhere: without a token, with one of each scope.
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
async fn routes_let_in_whom_the_page_says() {
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
