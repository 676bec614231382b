//! Behind a trusted proxy, limits and folded lines are about each client, not about the proxy.

use bklit_pipeline::auth::Secret;
use bklit_wire::debug_bus::{DebugBus, DebugMessage, DebugStream};
use serde_json::json;

use super::{VIEW, behind_proxy};
use crate::http::client::{post, request};
use crate::http::server::Server;
use crate::websocket::server::{BROWSER, Server as WebSocketServer, Socket};

const ATTACKER: &str = "203.0.113.9";
const OTHER: &str = "198.51.100.7";
/// More than the limit allows, and than are shown of one client.
const FLOOD: usize = 40;

async fn limited() -> Server {
    Server::with_settings("127.0.0.1:0", |settings| {
        behind_proxy(settings);
        settings.limits.unknown_tokens_per_second = 1;
    })
    .await
}

fn wrong_token() -> String {
    Secret::generate().unwrap().expose().to_owned()
}

/// The clients of the lines with this message, until an event is received.
async fn shown(lines: &mut Box<dyn DebugStream>, message: &str) -> Vec<String> {
    let mut clients = Vec::new();
    loop {
        let DebugMessage::Log(line) = lines.next().await.unwrap() else { continue };
        match &*line.message {
            "Event received" => return clients,
            found if found == message => {
                clients.push(line.data["peer"].as_str().unwrap().to_owned());
            }
            _ => {}
        }
    }
}

#[track_caller]
fn assert_shown(clients: &[String]) {
    let of = |network: &str| clients.iter().filter(|client| *client == network).count();
    assert_eq!(of("198.51.100.0"), 1, "{clients:?}");
    assert!((1..FLOOD).contains(&of("203.0.113.0")), "{clients:?}");
}

#[tokio::test]
async fn a_client_that_floods_with_tokens_uses_up_its_own_limit() {
    let batch = format!("[{VIEW}]");
    for (method, path, body) in
        [("POST", "/track", VIEW), ("POST", "/batch", &batch), ("GET", "/metrics", "")]
    {
        let server = limited().await;
        let mut lines = server.bus.subscribe();
        let status = async |client: &str| {
            let bearer = format!("Bearer {}", wrong_token());
            let headers = [("Authorization", bearer.as_str()), ("X-Forwarded-For", client)];
            let bytes = match method {
                "GET" => request(method, path, &headers).into_bytes(),
                _ => post(path, &headers, body),
            };
            server.send(bytes).await.status
        };
        let mut last = 0;
        for _ in 0..FLOOD {
            last = status(ATTACKER).await;
        }
        assert_eq!(last, 429, "{path}");
        assert_eq!(status(OTHER).await, 401, "{path}");
        server.works().await;
        assert_shown(&shown(&mut lines, "Request refused").await);
        server.stop().await;
    }
}

#[tokio::test]
async fn failed_preflights_of_one_client_do_not_hide_those_of_others() {
    let server = limited().await;
    let mut lines = server.bus.subscribe();
    let preflight = async |client: &str| {
        let headers = [
            ("Origin", "https://a.example"),
            ("Access-Control-Request-Method", "GET"),
            ("X-Forwarded-For", client),
        ];
        server.send(request("OPTIONS", "/metrics", &headers)).await;
    };
    for _ in 0..FLOOD {
        preflight(ATTACKER).await;
    }
    preflight(OTHER).await;
    server.works().await;
    assert_shown(&shown(&mut lines, "Preflight failed").await);
    server.stop().await;
}

#[tokio::test]
async fn a_socket_that_floods_uses_up_the_limit_of_its_own_client() {
    let server = WebSocketServer::over(limited().await, |_| {}).await;
    let mut lines = server.bus.subscribe();
    let socket = async |client: &str| {
        let mut socket =
            Socket::open(server.address, BROWSER, &[("x-forwarded-for", client)]).await;
        socket.greeted().await;
        socket
    };
    let error = async |socket: &mut Socket| {
        socket.say(json!({ "type": "auth", "apiKey": wrong_token() })).await;
        socket.error().await["error"].as_str().unwrap().to_owned()
    };
    let mut attacker = socket(ATTACKER).await;
    let mut last = String::new();
    for _ in 0..FLOOD {
        last = error(&mut attacker).await;
    }
    assert!(last.contains("too many unknown tokens"), "{last}");
    let mut other = socket(OTHER).await;
    let denied = error(&mut other).await;
    assert!(denied.contains("not valid"), "{denied}");
    server.works().await;
    assert_shown(&shown(&mut lines, "Message refused").await);
    drop((attacker, other));
    server.stop().await;
}
