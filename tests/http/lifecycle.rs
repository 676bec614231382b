//! Connections from their beginning to their end.

use bklit_wire::debug_bus::{DebugBus, DebugMessage};

use super::client::{Client, DEADLINE, post, post_chunked, request};
use super::server::{Server, eventually};

const VIEW: &str = r#"{"url":"https://a.example/","projectId":"p"}"#;

fn tracking(server: &Server, body: &str) -> Vec<u8> {
    post("/track", &[("Authorization", &format!("Bearer {}", server.ingest))], body)
}

#[tokio::test]
async fn requests_share_a_connection_and_may_come_all_at_once() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let good = tracking(&server, VIEW);
    let bad = tracking(&server, "{}");
    let health = request("GET", "/health", &[]);
    let round = [&good[..], &bad, health.as_bytes(), &good].concat();
    client.send(round.repeat(20)).await;
    for _ in 0..20 {
        for status in [200, 400, 200, 200] {
            assert_eq!(client.answer().await.status, status);
        }
    }
    assert_eq!(server.queued().len(), 40);
    client.send(&good).await;
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn a_request_may_come_byte_by_byte() {
    let server = Server::start().await;
    let bearer = format!("Bearer {}", server.ingest);
    let headers = [("Authorization", bearer.as_str())];
    for bytes in [tracking(&server, VIEW), post_chunked("/track", &headers, VIEW.as_bytes(), 3)] {
        let mut client = server.client().await;
        client.0.get_mut().set_nodelay(true).unwrap();
        for byte in bytes {
            client.send([byte]).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(client.answer().await.status, 200);
    }
}

#[tokio::test]
async fn a_half_closed_client_still_gets_its_answer() {
    let server = Server::start().await;
    for _ in 0..20 {
        let mut client = server.client().await;
        client.send(tracking(&server, VIEW)).await;
        client.half_close().await;
        assert_eq!(client.answer().await.status, 200);
        assert!(client.is_closed().await);
    }
    // Half a body and then nothing: no event, and a response that says so.
    let bytes = tracking(&server, VIEW);
    let mut client = server.client().await;
    client.send(&bytes[..bytes.len() - 5]).await;
    client.half_close().await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.error().starts_with("body: "), "{}", answer.error());
    assert!(client.is_closed().await);
    let mut client = server.client().await;
    client.send(&bytes[..30]).await;
    client.half_close().await;
    assert!(client.try_answer().await.is_none_or(|answer| answer.status == 400));
    assert_eq!(server.queued().len(), 20);
    server.works().await;
}

#[tokio::test]
async fn clients_that_vanish_leave_nothing_behind() {
    let server = Server::start().await;
    let bytes = tracking(&server, VIEW);
    for cut in (0..bytes.len()).step_by(7) {
        let mut client = server.client().await;
        client.send(&bytes[..cut]).await;
        client.0.get_ref().set_zero_linger().unwrap();
    }
    let log = server.log.clone();
    eventually("all connections are closed", || {
        log.metrics().to_prometheus().lines().any(|line| line == "bklit_http_connections 0")
    })
    .await;
    assert!(server.queued().is_empty());
    server.works().await;
}

#[tokio::test]
async fn a_shutdown_during_a_body_delivers_the_whole_answer() {
    let server = Server::start().await;
    let bytes = tracking(&server, VIEW);
    let mut in_head = server.client().await;
    in_head.send(&bytes[..20]).await;
    let mut in_body = server.client().await;
    let half = bytes.len() - VIEW.len() / 2;
    in_body.send(&bytes[..half]).await;
    // Once the last of the connections is answered, the first ones have been read.
    let mut idle = server.client().await;
    idle.send(&bytes).await;
    assert_eq!(idle.answer().await.status, 200);

    server.shutdown.cancel();
    assert!(idle.is_closed().await, "nothing keeps a connection without a request");
    in_body.send(&bytes[half..]).await;
    let answer = in_body.answer().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.json()["eventId"].is_string());
    assert!(in_body.is_closed().await, "no further request is taken");
    in_head.send(&bytes[20..]).await;
    assert_eq!(in_head.answer().await.status, 200);
    assert_eq!(server.queued().len(), 3);
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err(), "it listens no more");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_under_load_keeps_what_was_answered() {
    let server = Server::start().await;
    let bytes = tracking(&server, VIEW);
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let (address, bytes) = (server.address, bytes.clone());
            tokio::spawn(async move {
                let mut accepted = 0;
                let mut client = Client::connect(address).await;
                while client.try_send(&bytes).await.is_ok() {
                    match client.try_answer().await {
                        Some(answer) => assert_eq!(answer.status, 200),
                        None => break,
                    }
                    accepted += 1;
                }
                accepted
            })
        })
        .collect();
    eventually("there is load", || server.queue.items.lock().unwrap().len() > 500).await;
    let queue = server.queue.clone();
    server.stop().await;
    let mut accepted = 0;
    for client in clients {
        accepted += client.await.unwrap();
    }
    let queued = queue.items.lock().unwrap().len();
    assert!((accepted..=accepted + 20).contains(&queued), "{accepted} answered, {queued} queued");
}

#[tokio::test]
async fn dropping_the_server_drops_its_connections() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.send(request("GET", "/api/debug-stream", &[])).await;
    assert_eq!(client.head().await.unwrap().status, 200);
    assert!(server.bus.has_subscribers());
    server.task.abort();
    let mut rest = Vec::new();
    let end = tokio::io::AsyncReadExt::read_to_end(&mut client.0, &mut rest);
    tokio::time::timeout(DEADLINE, end).await.unwrap().unwrap();
    let bus = server.bus.clone();
    eventually("its stream has ended", || {
        bus.publish(DebugMessage::Lost(1));
        !bus.has_subscribers()
    })
    .await;
}
