//! The program never writes or shows a visitor's whole address.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::support::{DEADLINE, Daemon, eventually};

/// The visitor: an address on this machine that no other client has.
const SOURCE: Ipv4Addr = Ipv4Addr::new(127, 9, 8, 7);
const SOURCE_SHOWN: &str = "127.9.8.0";
/// The visitor behind a proxy.
const BEHIND: &str = "203.0.113.9";
const BEHIND_SHOWN: &str = "203.0.113.0";

/// A visitor of a daemon.
struct Visitor<'a> {
    daemon: &'a Daemon,
    token: String,
    admin: String,
}

impl Visitor<'_> {
    async fn connect(&self, to: SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((SOURCE, 0).into()).unwrap();
        socket.connect(to).await.unwrap()
    }

    /// Sends a request and returns the response, up to its end or to the first part of a stream.
    async fn send(&self, method: &str, target: &str, token: &str, body: &str) -> String {
        let mut stream = self.connect(self.daemon.addr).await;
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
             X-Forwarded-For: {BEHIND}\r\nContent-Type: application/json\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response
    }

    async fn answered(&self, status: u16, method: &str, target: &str, token: &str, body: &str) {
        let response = self.send(method, target, token, body).await;
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {response}");
    }

    /// Causes all kinds of lines, rows and log messages.
    async fn visit(&self) {
        let view = r#"{"url":"https://a.example/","projectId":"default"}"#;
        self.answered(200, "POST", "/track", &self.token, view).await;
        let event = r#"{"trackingId":"t","eventType":"e","projectId":"default"}"#;
        self.answered(200, "POST", "/track-event", &self.token, event).await;
        self.answered(401, "POST", "/track", "bk_live_wrong", view).await;
        self.answered(400, "POST", "/track", &self.token, "{").await;
        self.answered(404, "GET", "/nothing", &self.token, "").await;
        let ids = r#"{"ids":["1"]}"#;
        self.answered(200, "POST", "/api/queue/failed/retry", &self.admin, ids).await;
        let stream = "/api/debug-stream?follow=false&history=5";
        self.answered(200, "GET", stream, &self.admin, "").await;
        // Neither HTTP nor TLS.
        for address in [self.daemon.addr, self.websocket()] {
            let mut broken = self.connect(address).await;
            broken.write_all(b"\x16\x03\x01nonsense\r\n\r\n").await.unwrap();
            let _ = broken.read_to_end(&mut Vec::new()).await;
        }
        self.browse("/?projectId=default&sessionId=s", true).await;
        self.browse("/?projectId=default", false).await;
        self.browse("/dashboard?projectId=default&token=bk_live_wrong", false).await;
    }

    fn websocket(&self) -> SocketAddr {
        let file = self.daemon.data_dir().join("websocket.addr");
        fs::read_to_string(file).unwrap().trim().parse().unwrap()
    }

    async fn browse(&self, path: &str, admitted: bool) {
        let address = self.websocket();
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        request.headers_mut().insert("x-forwarded-for", BEHIND.parse().unwrap());
        let stream = self.connect(address).await;
        let (mut socket, _) = client_async(request, stream).await.unwrap();
        if admitted {
            let data = json!({ "url": "https://a.example/socket" });
            let wrong = json!({ "type": "pageview", "apiKey": "wrong", "data": data });
            let right = json!({ "type": "pageview", "apiKey": self.token, "data": data });
            for message in [wrong, right] {
                socket.send(Message::text(message.to_string())).await.unwrap();
            }
            // Greeting, refusal, acknowledgement.
            for kind in ["connected", "error", "ack"] {
                let answer = socket.next().await.unwrap().unwrap().into_text().unwrap();
                let answer: Value = serde_json::from_str(&answer).unwrap();
                assert_eq!(answer["type"], kind, "{answer}");
            }
            socket.close(None).await.unwrap();
        }
        while let Some(Ok(_)) = socket.next().await {}
    }
}

fn files(dir: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
}

/// Everything that the daemon has written and shows, after it has stopped.
async fn traces(settings: &str) -> Vec<(String, Vec<u8>)> {
    let environment = [("BKLIT_WEBSOCKET_LISTEN", "127.0.0.1:0"), ("BKLIT_LOG", "trace")];
    let all = format!("dual_write = true\n{settings}\n[websocket]\nsession_grace = '0s'");
    let mut daemon = Daemon::with_environment(&all, &environment);
    let create = ["token", "create", "--project", "*", "--scope", "admin", "--quiet"];
    let admin = daemon.cli(&create).trim().to_owned();
    let visitor = Visitor { daemon: &daemon, token: daemon.token(), admin };
    visitor.visit().await;
    eventually(DEADLINE, "both views are stored", || {
        daemon.scalar("SELECT count(*) FROM page_view_event") == 2
    });
    let history = "/api/debug-stream?follow=false&history=1000";
    // Not from the visitor's address, which it would add itself.
    let mut found: Vec<(String, Vec<u8>)> = Vec::new();
    for target in [history, "/api/live", "/api/queue", "/metrics"] {
        let bearer = format!("Bearer {}", visitor.admin);
        let headers = [("Authorization", bearer.as_str())];
        let answer = crate::support::request(daemon.addr, "GET", target, &headers, b"").unwrap();
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        found.push((target.to_owned(), answer.text().into_bytes()));
    }
    daemon.signal(rustix::process::Signal::TERM);
    assert!(daemon.wait_exit(DEADLINE).success(), "{}", daemon.stderr());
    found.push(("stderr".to_owned(), daemon.stderr().into_bytes()));
    files(&daemon.data_dir(), &mut found);
    found
}

fn naming(text: &str, traces: &[(String, Vec<u8>)]) -> Vec<String> {
    let names = traces
        .iter()
        .filter(|(_, bytes)| bytes.windows(text.len()).any(|window| window == text.as_bytes()));
    names.map(|(name, _)| name.clone()).collect()
}

/// The lines that name their peer.
fn lines_with_peer(traces: &[(String, Vec<u8>)], shown: &str) -> Vec<String> {
    let (_, history) = &traces[0];
    let text = String::from_utf8_lossy(history);
    let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let named = lines.filter(|line| line["data"]["peer"] == shown);
    named.map(|line| line["message"].as_str().unwrap().to_owned()).collect()
}

fn assert_shown(traces: &[(String, Vec<u8>)], shown: &str) {
    let lines = lines_with_peer(traces, shown);
    for message in [
        "Request refused",
        "Failed events put back",
        "Debug stream connected",
        "Debug stream disconnected",
        "Browser connected",
        "Browser disconnected",
        "Message refused",
        "Socket refused",
    ] {
        assert!(lines.iter().any(|line| line == message), "{message}: {lines:?}");
    }
    let stored = naming(shown, traces);
    assert!(stored.iter().any(|name| name.contains("store.db")), "{stored:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_addresses_are_written_nowhere() {
    let direct = traces("").await;
    assert_eq!(naming(&SOURCE.to_string(), &direct), [""; 0]);
    assert_shown(&direct, SOURCE_SHOWN);
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_addresses_behind_a_proxy_are_written_nowhere() {
    let proxied = traces("http.trusted_proxies = ['loopback']").await;
    assert_eq!(naming(BEHIND, &proxied), [""; 0]);
    assert_eq!(naming(&SOURCE.to_string(), &proxied), [""; 0], "nor the proxy's");
    assert_shown(&proxied, BEHIND_SHOWN);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_addresses_none_are_written() {
    let none = traces("http.trusted_proxies = ['loopback']\nprivacy.ip = 'none'").await;
    for address in [BEHIND, BEHIND_SHOWN, SOURCE_SHOWN] {
        assert_eq!(naming(address, &none), [""; 0]);
    }
}
