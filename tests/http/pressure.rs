//! More clients than the server has slots for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::client::{post, request, send_until_closed};
use super::server::{Server, eventually};
use crate::support::Daemon;
use bklit_pipeline::refused::Wanted;

const VIEW: &str = r#"{"url":"https://a.example/","projectId":"p"}"#;
/// More than the default of `http.max_connections`.
const ATTACKERS: usize = 1100;
/// How long a new client may wait for its answer; debug builds on a busy machine are slow.
const PATIENCE: Duration = Duration::from_secs(5);

/// Keeps a connection alive with cheap requests, and opens another one when it is closed.
async fn attack(address: SocketAddr) {
    loop {
        let request = || request("GET", "/health", &[]).into();
        send_until_closed(address, Duration::from_secs(2), request, || {}).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn open(server: &Server) -> usize {
    let text = server.log.metrics().to_prometheus();
    let count = text.lines().find_map(|line| line.strip_prefix("bklit_http_connections "));
    count.unwrap().parse().unwrap()
}

fn closed(server: &Server, reason: &str) -> u64 {
    let text = server.log.metrics().to_prometheus();
    let name = format!("bklit_connections_closed_total{{server=\"http\",reason=\"{reason}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |count| count.parse().unwrap())
}

/// 200 clients in a row, each on a new connection.
async fn serves_new_clients(server: &Server) {
    let bytes = post("/track", &[("Authorization", &format!("Bearer {}", server.ingest))], VIEW);
    for n in 0..200 {
        let answer = async {
            let mut client = server.client().await;
            client.send(&bytes).await;
            client.answer().await
        };
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        let answer = answer.unwrap_or_else(|_| panic!("client {n} is not served"));
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_do_not_lock_others_out() {
    let server = Server::start().await;
    let mut attackers = JoinSet::new();
    for _ in 0..ATTACKERS {
        attackers.spawn(attack(server.address));
    }
    eventually("all places are taken", || open(&server) >= 1024).await;
    serves_new_clients(&server).await;
    let health = tokio::time::timeout(PATIENCE, server.get("/health", &[])).await;
    assert_eq!(health.expect("health responds").status, 200);
    assert!(closed(&server, "full") > 0, "attackers have made room");
    attackers.shutdown().await;
    server.stop().await;
}

#[tokio::test]
async fn under_pressure_refused_clients_are_disconnected() {
    let server = Server::start_with("127.0.0.1:0", |http| http.max_connections = 4).await;
    let refused = request("GET", "/x", &[]);
    let mut first = server.client().await;
    first.send(&refused).await;
    assert_eq!(first.answer().await.header("connection"), None, "there is room");
    let mut others = Vec::new();
    for _ in 0..2 {
        let mut other = server.client().await;
        other.send(request("GET", "/health", &[])).await;
        assert_eq!(other.answer().await.status, 200);
        others.push(other);
    }
    first.send(&refused).await;
    assert_eq!(first.answer().await.header("connection"), Some("close"));
    assert!(first.is_closed().await);
}

#[tokio::test]
async fn while_all_slots_are_busy_health_responds_and_the_rest_is_refused() {
    let server = Server::start_with("127.0.0.1:0", |http| http.max_connections = 2).await;
    let authorization = format!("Bearer {}", server.ingest);
    let headers = [("Authorization", authorization.as_str()), ("Origin", "https://a.example")];
    let bytes = post("/track", &headers, VIEW);
    let queue = Arc::clone(&server.queue);
    let gate = queue.gate.write().await;
    let mut busy = [server.client().await, server.client().await];
    for client in &mut busy {
        client.send(&bytes).await;
    }
    let received = || {
        let text = server.log.metrics().to_prometheus();
        text.contains("bklit_steps_total{stage=\"ingestion\",level=\"info\"} 2")
    };
    eventually("both events are in hand", received).await;
    for path in ["/health", "/ready"] {
        let began = Instant::now();
        let answer = server.get(path, &[]).await;
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{path}");
        assert!(began.elapsed() < PATIENCE, "{path}");
    }
    let answer = server.send(&bytes).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("retry-after").is_some() && answer.error().contains("try again"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://a.example"));
    let refused = server.intake.refusals().view(&Wanted { most: 9, ..Wanted::default() });
    assert_eq!((refused.total, refused.groups[0].reason.as_str()), (1, "unavailable"));
    // Pages may not read what readers get, whatever it is.
    let answer = server.get("/api/queue", &headers[1..]).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (503, None));
    assert_eq!(server.log.publish_gauges().refused, 1, "only events count");
    drop(gate);
    for client in &mut busy {
        assert_eq!(client.answer().await.status, 200);
    }
    server.works().await;
    server.stop().await;
}

#[test]
fn a_full_server_is_logged_once() {
    use std::io::{Read, Write};
    let daemon = Daemon::with_settings("[http]\nmax_connections = 20\nheader_timeout = '1h'");
    let bytes = request("GET", "/health", &[]);
    let mut closed = 0;
    let mut all = std::collections::VecDeque::new();
    for _ in 0..300 {
        let mut stream = std::net::TcpStream::connect(daemon.addr).unwrap();
        stream.set_read_timeout(Some(crate::support::DEADLINE)).unwrap();
        stream.write_all(bytes.as_bytes()).unwrap();
        assert!(stream.read(&mut [0; 512]).unwrap() > 0);
        all.push_back(stream);
        // Between full and not full.
        if all.len() > 25 {
            closed += all.drain(..10).count();
        }
    }
    assert!(closed > 200);
    let log = daemon.stderr();
    assert_eq!(log.matches("http.max_connections").count(), 1, "{log}");
}
