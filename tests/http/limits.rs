//! Values on both sides of every limit.

use std::time::{Duration, Instant};

use super::client::{Client, DEADLINE, post, post_chunked, request};
use super::server::{Server, eventually};

const CAP: usize = 2048;
const ROUTES: [(&str, &str); 4] = [
    ("/track", r#"{"url":"https://a.example/","projectId":"p"}"#),
    ("/api/track", r#"{"url":"https://a.example/","projectId":"p"}"#),
    ("/track-event", r#"{"trackingId":"t","eventType":"e","projectId":"p"}"#),
    ("/session-end", r#"{"sessionId":"s","projectId":"p"}"#),
];

async fn capped() -> Server {
    Server::start_with("127.0.0.1:0", |http| http.max_body_bytes = CAP).await
}

/// Much shorter than [`DEADLINE`], and long enough for a busy machine.
const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_body_may_be_as_large_as_the_cap_and_no_larger() {
    let server = capped().await;
    let bearer = format!("Bearer {}", server.ingest);
    let headers = [("Authorization", bearer.as_str()), ("Origin", "https://shop.example")];
    for (path, body) in ROUTES {
        for (size, status) in [(CAP - 1, 200), (CAP, 200), (CAP + 1, 413), (CAP * 30, 413)] {
            let padded = format!("{body:<size$}");
            for bytes in [
                post(path, &headers, &padded),
                post_chunked(path, &headers, padded.as_bytes(), 100),
                post_chunked(path, &headers, padded.as_bytes(), CAP * 30),
            ] {
                let answer = server.send(bytes).await;
                assert_eq!(answer.status, status, "{path} {size} {answer:?}");
                assert_eq!(answer.header("access-control-allow-origin"), Some(headers[1].1));
                if status == 413 {
                    assert!(answer.error().contains("2048 bytes"), "{}", answer.error());
                }
            }
        }
    }
    assert_eq!(server.queued().len(), ROUTES.len() * 6);
}

#[tokio::test]
async fn a_client_in_the_middle_of_a_refused_body_still_gets_the_answer() {
    let server = capped().await;
    let megabytes = vec![b' '; 2 << 20];
    for headers in [vec![], vec![("Authorization", "Bearer x")], vec![("Content-Type", "a/b")]] {
        let mut client = server.client().await;
        // In pieces, between which the server responds: it must not close the connection before the
        // rest.
        for piece in post("/track", &headers, &megabytes).chunks(16 * 1024) {
            client.send(piece).await;
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        }
        let answer = client.answer().await;
        assert!([413, 401, 415].contains(&answer.status), "{answer:?}");
        assert!(client.is_closed().await);
    }
    server.works().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_requested() {
    let server = capped().await;
    let mut client = server.client().await;
    let head = "POST /track HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n";
    client.send(format!("{head}Content-Length: {}\r\n\r\n", CAP + 1)).await;
    assert_eq!(client.answer().await.status, 413);

    let body = ROUTES[0].1;
    let mut client = server.client().await;
    let bearer = format!("Authorization: Bearer {}\r\n", server.ingest);
    client.send(format!("{head}{bearer}Content-Length: {}\r\n\r\n", body.len())).await;
    assert_eq!(client.head().await.unwrap().status, 100);
    client.send(body).await;
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn a_body_needs_a_length_or_chunks() {
    let server = Server::start().await;
    for (path, _) in ROUTES {
        let answer = server.send(request("POST", path, &[])).await;
        assert_eq!(answer.status, 411);
        assert!(answer.error().contains("Content-Length"));
        assert_eq!(server.send(post(path, &[("Authorization", "Bearer x")], "")).await.status, 401);
        assert_eq!(server.post(path, "").await.status, 400);
    }
    for lengths in
        ["Content-Length: 5\r\nContent-Length: 6", "Content-Length: -1", "Content-Length: 1e3"]
    {
        let bytes = format!("POST /track HTTP/1.1\r\nHost: localhost\r\n{lengths}\r\n\r\n{{}}");
        assert_eq!(server.send(bytes).await.status, 400, "{lengths}");
    }
    server.works().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_or_slow_ends_the_connection() {
    let server = Server::start_with("127.0.0.1:0", |http| http.header_timeout = SHORT).await;
    for (size, status) in [(32_000, 200), (33_000, 431), (100_000, 431)] {
        let mut client = server.client().await;
        // The server may have closed before all of it was sent.
        let _ = client.try_send(request("GET", "/health", &[("X", &"x".repeat(size))])).await;
        if let Some(answer) = client.try_answer().await {
            assert_eq!(answer.status, status, "{size}");
            assert!(status == 200 || answer.error().contains("head is too large"), "{answer:?}");
        }
    }
    let mut slow = server.client().await;
    slow.send("POST /track HTTP/1.1\r\nHost: loc").await;
    let mut silent = server.client().await;
    let began = Instant::now();
    assert!(slow.is_closed().await && silent.is_closed().await);
    assert!(began.elapsed() < DEADLINE / 2);
    server.works().await;
}

#[tokio::test]
async fn a_connection_may_be_idle_for_longer_than_a_head_may_take() {
    let server = Server::start_with("127.0.0.1:0", |http| http.header_timeout = SHORT).await;
    let bearer = format!("Bearer {}", server.ingest);
    let bytes = post("/track", &[("Authorization", &bearer)], ROUTES[0].1);
    let mut client = server.client().await;
    for _ in 0..3 {
        client.send(&bytes).await;
        assert_eq!(client.answer().await.status, 200);
        tokio::time::sleep(SHORT * 2).await;
    }
    // But a head that has begun must be completed in time.
    client.send(&bytes[..10]).await;
    let began = Instant::now();
    assert!(client.is_closed().await);
    assert!(began.elapsed() < DEADLINE / 2);
    assert_eq!(server.queued().len(), 3);
}

#[tokio::test]
async fn a_connection_without_a_next_request_is_closed() {
    let server = Server::start_with("127.0.0.1:0", |http| http.idle_timeout = SHORT).await;
    let mut client = server.client().await;
    for _ in 0..3 {
        client.send(request("GET", "/health", &[])).await;
        assert_eq!(client.answer().await.status, 200);
    }
    let began = Instant::now();
    assert!(client.is_closed().await);
    assert!(began.elapsed() < DEADLINE / 2);
    // A stream is not idle.
    let mut stream = server.client().await;
    stream.send(request("GET", "/api/debug-stream", &[])).await;
    assert_eq!(stream.head().await.unwrap().status, 200);
    tokio::time::sleep(SHORT * 3).await;
    server.works().await;
    while !stream.line().await.expect("the stream goes on").contains("Event queued") {}
}

#[tokio::test]
async fn a_slow_body_is_given_up() {
    let server = Server::start_with("127.0.0.1:0", |http| http.body_timeout = SHORT).await;
    let bearer = format!("Bearer {}", server.ingest);
    let headers = [("Authorization", bearer.as_str()), ("Origin", "https://shop.example")];
    let bytes = post("/track", &headers, ROUTES[0].1);
    let mut client = server.client().await;
    client.send(&bytes[..bytes.len() - 1]).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 408, "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), Some(headers[1].1));
    assert!(answer.error().contains("300ms"), "{}", answer.error());
    assert!(client.is_closed().await);
    // Each single byte is in time, but all of them together are not.
    let mut drip = server.client().await;
    let whole = post_chunked("/track", &[("Authorization", &bearer)], b"", 1);
    drip.send(whole.strip_suffix(b"0\r\n\r\n").unwrap()).await;
    let mut ticks = tokio::time::interval(SHORT / 10);
    for _ in 0..20 {
        ticks.tick().await;
        let _ = drip.try_send("1\r\n \r\n").await;
    }
    let answer = drip.answer().await;
    assert_eq!(answer.status, 408);
    assert!(server.queued().is_empty());
    server.works().await;
}

#[tokio::test]
async fn a_connection_beyond_the_cap_takes_the_place_of_an_idle_one() {
    let server = Server::start_with("127.0.0.1:0", |http| http.max_connections = 2).await;
    let mut held: Vec<Client> = Vec::new();
    for _ in 0..3 {
        let mut client = server.client().await;
        client.send(request("GET", "/health", &[])).await;
        assert_eq!(client.answer().await.status, 200);
        held.push(client);
    }
    // Which of the two is idle first depends on how the server's tasks are scheduled.
    let (first, rest) = held.split_at_mut(1);
    let place = tokio::select! {
        closed = first[0].is_closed() => closed.then_some(0),
        closed = rest[0].is_closed() => closed.then_some(1),
    };
    held.remove(place.expect("an idle connection is closed"));
    for client in &mut held {
        client.send(request("GET", "/health", &[])).await;
        assert_eq!(client.answer().await.status, 200);
    }
    drop(held);
    let gauge = || {
        let text = server.log.metrics().to_prometheus();
        text.lines().any(|line| line == "bklit_http_connections 0")
    };
    eventually("no connection is counted", gauge).await;
}
