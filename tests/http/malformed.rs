//! Bodies and requests that are malformed in every way: each gets a response, and none does harm.

use bklit_wire::json::{Fields, repaired};

use super::client::{post, post_chunked};
use super::server::Server;

const SEEDS: [(&str, &str); 3] = [
    (
        "/track",
        r#"{"url":"https://a.example/ü?utm_source=x","projectId":"p","eventId":"e1","timestamp":"2026-01-31T12:00:00.000Z","title":"T\u00e9 \ud83d\ude00","sessionId":"s","isNewVisitor":true}"#,
    ),
    (
        "/track-event",
        r#"{"trackingId":"t","eventType":"click","projectId":"p","metadata":{"a":[1,2.5e3,{"b":null}]},"timestamp":1769860800000}"#,
    ),
    ("/session-end", r#"{"sessionId":"s","projectId":"p","reason":"closed"}"#),
];

const FRAGMENTS: [&[u8]; 16] = [
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\",
    b"\\u",
    b"\\ud800",
    b"null",
    b"1e999",
    b"\0",
    b"\xff",
    b"\xed\xa0\x80",
    b"-",
];

/// Changes a body a little, or a lot.
fn mutate(random: &mut fastrand::Rng, seed: &str) -> Vec<u8> {
    let mut body = seed.as_bytes().to_vec();
    for _ in 0..random.usize(1..=6) {
        let at = random.usize(..=body.len());
        match random.u8(..7) {
            0 => body.truncate(at),
            1 if at < body.len() => body[at] = random.u8(..),
            2 => drop(body.splice(at..at, random.choice(FRAGMENTS).unwrap().iter().copied())),
            3 => drop(body.drain(at..(at + random.usize(..20)).min(body.len()))),
            4 => body.extend_from_within(at..),
            5 => drop(body.splice(at..at, b"[".repeat(random.usize(..2000)))),
            _ => body = (0..random.usize(..300)).map(|_| random.u8(..)).collect(),
        }
    }
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_malformed_bodies_are_refused() {
    let server = Server::start().await;
    let bearer = format!("Bearer {}", server.ingest);
    let headers = [("Authorization", bearer.as_str())];
    let mut random = fastrand::Rng::with_seed(0x0b_1417);
    let mut client = server.client().await;
    let (mut refused, mut accepted) = (0, 0);
    while refused < 1000 {
        let (path, seed) = *random.choice(&SEEDS).unwrap();
        let body = mutate(&mut random, seed);
        client
            .send(if random.bool() {
                post(path, &headers, &body)
            } else {
                let size = random.usize(1..50);
                post_chunked(path, &headers, &body, size)
            })
            .await;
        let answer = client.answer().await;
        let text = String::from_utf8_lossy(&body);
        match answer.status {
            // Some changes do no harm; then it is valid JSON.
            200 => {
                let json = repaired(&text);
                let project = Fields::of(&json).unwrap().get("projectId").unwrap();
                assert_eq!(serde_json::from_str::<String>(project.get()).unwrap(), "p", "{text}");
                accepted += 1;
            }
            400 => {
                assert!(!answer.error().is_empty() && answer.error().len() < 1000, "{text}");
                refused += 1;
            }
            // The project was changed.
            401 => refused += 1,
            other => panic!("{other} for {text}: {answer:?}"),
        }
        assert_eq!(answer.header("connection"), None, "the connection goes on");
        if client.0.buffer().is_empty() && random.u8(..) == 0 {
            client = server.client().await;
        }
    }
    assert!(accepted < refused, "{accepted} accepted: these are hardly malformed");
    server.works().await;
}

#[tokio::test]
async fn deep_and_odd_json_is_handled() {
    let server = Server::start().await;
    let deep = |open: &str, close: &str, n: usize| format!("{}{}", open.repeat(n), close.repeat(n));
    let view = |field: &str, value: &str| {
        format!(r#"{{"url":"https://a.example/","projectId":"p","{field}":{value}}}"#)
    };
    let event = |value: &str| {
        format!(r#"{{"trackingId":"t","eventType":"e","projectId":"p","metadata":{value}}}"#)
    };
    for (path, body, status) in [
        ("/track", view("x", &deep("[", "]", 10_000)), 200),
        ("/track-event", event(&format!(r#"{{"a":{}}}"#, deep("[", "]", 100))), 200),
        ("/track-event", event(&format!(r#"{{"a":{}}}"#, deep("[", "]", 10_000))), 400),
        ("/track-event", event(&deep(r#"{"a":"#, "}", 5_000).replace(":}", ":1}")), 400),
        ("/track-event", event(r#"{"n":123456789012345678901234567890,"e":1e308}"#), 200),
        ("/track-event", event(r#"{"n":1e400}"#), 200),
        ("/track-event", event(&deep("[", "]", 499)), 200),
        ("/track-event", event(&deep("[", "]", 500)), 400),
        ("/track", view("title", r#""\u0000\u001b[31m\u202e""#), 200),
        ("/track", view("title", "\"raw\u{1}\""), 400),
        ("/track", view("\\u0074itle", "7"), 200),
        ("/track", view("projectId", "\"p\""), 400),
        ("/track", view("__proto__", "{}"), 200),
    ] {
        let answer = server.post(path, &body).await;
        assert_eq!(answer.status, status, "{} {answer:?}", &body[..body.len().min(120)]);
    }
    server.works().await;
}

#[tokio::test]
async fn requests_that_are_not_http_are_refused() {
    let server = Server::start().await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"POST /track HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST /track HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        b"POST /track HTTP/1.1\r\nHost : a\r\n\r\n",
    ] {
        let mut client = server.client().await;
        client.send(bytes).await;
        client.half_close().await;
        if let Some(answer) = client.try_answer().await {
            assert!((400..=505).contains(&answer.status), "{answer:?}");
            assert!(!answer.error().is_empty());
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        }
    }
    let bearer = format!("Authorization: Bearer {}\r\n", server.ingest);
    for chunks in ["x\r\n", "fffffffffffffffff\r\n", "-1\r\n", "3\r\nabcd\r\n"] {
        let head = "POST /track HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n";
        let answer = server.send(format!("{head}{bearer}\r\n{chunks}")).await;
        assert_eq!(answer.status, 400, "{chunks:?}");
        assert!(answer.error().starts_with("body: "), "{chunks:?} {}", answer.error());
    }
    assert!(server.queued().is_empty());
    server.works().await;
}
