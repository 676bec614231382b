//! The lines about refused events name project, session, page and token, as far as those could be
//! read: so that an operator can find the visitor.

use bklit_wire::debug_bus::{DebugBus, DebugMessage, DebugStream};
use bklit_wire::debug_log::DebugLog;
use serde_json::json;

use super::client::post;
use super::server::Server;
use crate::websocket::server::{Server as WebSocketServer, Socket};

const PAGE: &str = "https://user:pw@shop.example/cart?secret=1#x";
const SHOWN_PAGE: &str = "https://shop.example/cart";

/// The next line about something refused.
async fn refused(lines: &mut Box<dyn DebugStream>) -> std::sync::Arc<DebugLog> {
    loop {
        let DebugMessage::Log(line) = lines.next().await.unwrap() else { continue };
        if line.message.ends_with("refused") {
            return line;
        }
    }
}

#[tokio::test]
async fn a_refused_request_names_the_visitor() {
    let server = Server::start().await;
    let mut lines = server.bus.subscribe();
    let title = "x".repeat(10);
    let event = format!(
        r#"{{"projectId":"p","sessionId":"s_1","url":"{PAGE}","title":"{title}","eventId":"a b"}}"#
    );
    let batch = format!(r#"[{}]"#, event.replacen('{', r#"{"type":"pageview","#, 1));
    for (path, body) in [("/track", &event), ("/batch", &batch)] {
        let answer = server.post(path, body).await;
        assert_eq!(answer.status, 400, "{path}: {answer:?}");
        let line = refused(&mut lines).await;
        assert_eq!(line.project_id.as_deref(), Some("p"), "{path}");
        assert_eq!(
            (&line.data["sessionId"], &line.data["url"]),
            (&json!("s_1"), &json!(SHOWN_PAGE))
        );
        assert!(line.data["token"].as_str().unwrap().starts_with("tok_"), "{line:?}");
    }
    server.stop().await;
}

/// What is not valid JSON is searched, too; long ids are those of the stored events.
#[tokio::test]
async fn the_readable_parts_of_a_broken_body_are_named() {
    let server = Server::start().await;
    let mut lines = server.bus.subscribe();
    let long = "s".repeat(300);
    let body =
        format!(r#"{{"url":"{PAGE}","projectId":"q","sessionId":"{long}","ip":"198.51.100.7","#);
    assert_eq!(server.post("/track", body).await.status, 400);
    let line = refused(&mut lines).await;
    assert_eq!((line.project_id.as_deref(), &line.data["url"]), (Some("q"), &json!(SHOWN_PAGE)));
    assert!(line.data["sessionId"].as_str().unwrap().starts_with("sha256:"), "{line:?}");
    assert!(!format!("{line:?}").contains("198.51.100.7"));
    let unknown = format!("bk_live_{}", "ab".repeat(32));
    let bearer = format!("Bearer {unknown}");
    let headers = [("Authorization", bearer.as_str()), ("Referer", PAGE)];
    assert_eq!(server.send(post("/track", &headers, "{}")).await.status, 401);
    let line = refused(&mut lines).await;
    assert_eq!(
        (&line.data["token"], &line.data["url"]),
        (&json!("bk_live_abab"), &json!(SHOWN_PAGE))
    );
    assert!(!format!("{line:?}").contains(&unknown));
    // Without a valid token, too, if it is short and not compressed.
    let event = format!(r#"{{"projectId":"p","sessionId":"s_1","url":"{PAGE}"}}"#);
    for headers in [&headers[..1], &[]] {
        assert_eq!(server.send(post("/track", headers, &event)).await.status, 401);
        let line = refused(&mut lines).await;
        assert_eq!(
            (line.project_id.as_deref(), &line.data["url"]),
            (Some("p"), &json!(SHOWN_PAGE))
        );
        assert_eq!(line.data["sessionId"], "s_1");
    }
    let large = event.replacen('{', &format!(r#"{{"title":"{}","#, "x".repeat(20_000)), 1);
    assert_eq!(server.send(post("/track", &[], &large)).await.status, 401);
    let line = refused(&mut lines).await;
    assert!(line.project_id.is_none() && !line.data.contains_key("sessionId"), "{line:?}");
    assert_eq!(server.get("/nowhere", &[]).await.status, 404);
    let line = refused(&mut lines).await;
    assert!(!line.data.contains_key("token") && !line.data.contains_key("url"), "{line:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_refused_message_names_the_visitor() {
    let server = WebSocketServer::start().await;
    let mut lines = server.bus.subscribe();
    let mut socket = Socket::open(server.address, "/?projectId=p&sessionId=s_1", &[]).await;
    socket.greeted().await;
    for (data, session) in [
        (json!({ "url": PAGE, "eventId": "a b" }), "s_1"),
        (json!({ "url": PAGE, "eventId": "a b", "sessionId": "s_2" }), "s_2"),
    ] {
        socket.say(json!({ "type": "pageview", "apiKey": server.ingest, "data": data })).await;
        socket.error().await;
        let line = refused(&mut lines).await;
        assert_eq!(line.project_id.as_deref(), Some("p"));
        assert_eq!(
            (&line.data["sessionId"], &line.data["url"]),
            (&json!(session), &json!(SHOWN_PAGE))
        );
        assert!(line.data["token"].as_str().unwrap().starts_with("tok_"), "{line:?}");
        assert!(!format!("{line:?}").contains(&server.ingest), "{line:?}");
    }
    drop(socket);
    let mut socket = Socket::open(server.address, "/?projectId=p%0a&sessionId=s_3", &[]).await;
    socket.closed().await;
    let line = refused(&mut lines).await;
    assert_eq!(line.message, "Socket refused");
    assert_eq!((line.project_id.as_deref(), &line.data["sessionId"]), (None, &json!("s_3")));
    server.stop().await;
}
