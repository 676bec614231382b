//! Connections that idle, break, or are too many.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bklit_wire::time::UtcMillis;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{case, joined, metric, run, stored};
use crate::http::client::{Client, post, request};
use crate::support::{DEADLINE, Daemon, eventually};
use crate::websocket::server::{Socket, view};

const VIEW: &str = r#"{"url":"https://shop.example/","projectId":"default"}"#;
/// More than the defaults of `http.max_connections` and `websocket.max_connections`.
const ATTACKERS: usize = 1100;
/// How long a new client may wait for its response; debug builds on a busy machine are slow.
const PATIENCE: Duration = Duration::from_secs(5);

fn track(daemon: &Daemon) -> Vec<u8> {
    post("/track", &[("Authorization", &format!("Bearer {}", daemon.token()))], VIEW)
}

#[test]
#[ignore = "takes a minute; scripts/cases.sh runs it"]
fn a_connection_idle_for_a_minute() {
    let input = "on one connection: POST /track, 61 s of silence, POST /track";
    case("fleetdm/fleet 51461", input, "200, 200", || {
        let daemon = Daemon::start();
        run(async {
            let mut client = Client::connect(daemon.addr).await;
            let mut statuses = Vec::new();
            for pause in [0, 61] {
                sleep(Duration::from_secs(pause)).await;
                client.send(track(&daemon)).await;
                statuses.push(client.answer().await.status);
            }
            joined(statuses)
        })
    });
}

#[test]
fn a_client_that_vanishes() {
    let input = "a WebSocket client that stops without closing its connection; pings every 4 s";
    let expected = "the session ends at the last sign of life";
    case("Bklit zombie sessions", input, expected, || {
        let daemon =
            Daemon::with_settings("[websocket]\nping_interval = '4s'\nsession_grace = '100ms'");
        run(async {
            let path = "/?projectId=default&sessionId=s-1";
            let mut socket = Socket::open(daemon.websocket_addr(), path, &[]).await;
            socket.greeted().await;
            let mut message = view("/");
            message["apiKey"] = daemon.token().into();
            socket.say(message).await;
            assert_eq!(socket.hear().await["type"], "ack");
            let last = UtcMillis::now().epoch_millis() / 1000;
            // From here on nothing is read, so that no ping is answered.
            stored(&daemon, "tracked_session WHERE ended_at IS NOT NULL", 1);
            let noticed = UtcMillis::now().epoch_millis() / 1000;
            assert!(noticed - last >= 3, "ended by a timeout, not by a closed connection");
            let ended = daemon.scalar("SELECT unixepoch(ended_at) FROM tracked_session");
            drop(socket);
            match ended.as_i64().unwrap() - last {
                -1..=1 => "the session ends at the last sign of life".to_owned(),
                late => format!("the session ends {late} s after the last sign of life"),
            }
        })
    });
}

/// Keeps a connection alive with cheap requests, and opens another one when it is closed.
async fn attack(address: SocketAddr) {
    let bytes = request("GET", "/x", &[]);
    loop {
        let Ok(stream) = TcpStream::connect(address).await else { return };
        let mut client = Client(tokio::io::BufReader::new(stream));
        while client.try_send(&bytes).await.is_ok() && client.try_answer().await.is_some() {
            sleep(Duration::from_secs(2)).await;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

#[test]
fn idle_connections() {
    let input = "1,100 keep-alive connections with a GET /x every 2 s, and 200 new clients";
    case("hostile trial", input, "200 of 200 served; /health 200", || {
        let daemon = Daemon::start();
        run(async {
            let mut attackers = JoinSet::new();
            for _ in 0..ATTACKERS {
                attackers.spawn(attack(daemon.addr));
            }
            eventually(DEADLINE, "there are many", || {
                metric(&daemon, "bklit_http_connections") >= 500.0
            });
            let bytes = track(&daemon);
            let mut served = 0;
            for _ in 0..200 {
                let answer = async {
                    let mut client = Client::connect(daemon.addr).await;
                    client.send(&bytes).await;
                    client.try_answer().await.is_some_and(|answer| answer.status == 200)
                };
                served += usize::from(timeout(PATIENCE, answer).await.unwrap_or(false));
            }
            let health = daemon.get("/health").status;
            attackers.shutdown().await;
            format!("{served} of 200 served; /health {health}")
        })
    });
}

#[test]
fn sockets_that_never_authenticate() {
    let input = "1,100 WebSockets that never send a token, and 100 visitors";
    case("hostile trial", input, "100 of 100 acknowledged", || {
        let daemon = Daemon::start();
        run(async {
            let address = daemon.websocket_addr();
            let mut idle = Vec::new();
            for n in 0..ATTACKERS {
                let path = format!("/?projectId=default&sessionId=idle-{n}");
                idle.push(Socket::open(address, &path, &[]).await);
            }
            let mut acknowledged = 0;
            for n in 0..100 {
                let visit = async {
                    let path = format!("/?projectId=default&sessionId=s-{n}");
                    let mut socket = Socket::open(address, &path, &[]).await;
                    socket.greeted().await;
                    socket.say(json!({ "type": "auth", "apiKey": daemon.token() })).await;
                    socket.hear().await;
                    socket.say(view("/")).await;
                    socket.hear().await["type"] == "ack"
                };
                acknowledged += usize::from(timeout(PATIENCE, visit).await.unwrap_or(false));
            }
            drop(idle);
            format!("{acknowledged} of 100 acknowledged")
        })
    });
}

#[test]
fn bytes_that_are_not_http() {
    let input = "a request line that is not HTTP, and a head of 64 KiB";
    let expected = "400 JSON, CORS; 431 JSON, CORS";
    case("hostile trial", input, expected, || {
        let daemon = Daemon::start();
        run(async {
            let long = request("GET", "/health", &[("X-Long", &"x".repeat(64 * 1024))]);
            let mut answers = Vec::new();
            for bytes in ["NOT HTTP\r\n\r\n", &long] {
                let mut client = Client::connect(daemon.addr).await;
                // The server may respond before it has read all of it.
                let _ = client.try_send(bytes).await;
                let answer = client.answer().await;
                let is_json = answer.header("content-type") == Some("application/json");
                let json = if is_json { "JSON" } else { "no JSON" };
                let origin = answer.header("access-control-allow-origin");
                let cors = if origin.is_some() { "CORS" } else { "no CORS" };
                answers.push(format!("{} {json}, {cors}", answer.status));
            }
            answers.join("; ")
        })
    });
}

#[test]
fn a_slow_flood_of_bombs() {
    let input = "200 gzip bombs of 50 MB, 8 at a time, and 50 page views";
    case("hostile trial", input, "bombs 413; 50 of 50 views accepted in 5 s each", || {
        let daemon = Daemon::start();
        let zeros = vec![0; 50_000_000];
        let bearer = format!("Bearer {}", daemon.token());
        let headers = [("Authorization", bearer.as_str()), ("Content-Encoding", "gzip")];
        let bomb = post("/track", &headers, crate::support::gzip(&zeros));
        let address = daemon.addr;
        let bytes = track(&daemon);
        run(async {
            let mut attackers = JoinSet::new();
            for _ in 0..8 {
                let bomb = bomb.clone();
                attackers.spawn(async move {
                    let mut all = true;
                    for _ in 0..25 {
                        let mut client = Client::connect(address).await;
                        client.send(&bomb).await;
                        all &= client.answer().await.status == 413;
                    }
                    all
                });
            }
            let mut accepted = 0;
            for _ in 0..50 {
                let began = Instant::now();
                let mut client = Client::connect(address).await;
                client.send(&bytes).await;
                let answer = client.answer().await;
                accepted += usize::from(answer.status == 200 && began.elapsed() < PATIENCE);
            }
            let bombs = attackers.join_all().await.into_iter().all(|all| all);
            let bombs = if bombs { "413" } else { "not always 413" };
            format!("bombs {bombs}; {accepted} of 50 views accepted in 5 s each")
        })
    });
}
