//! Invalid frames.

use bklit_pipeline::queue::NewItem;
use bklit_wire::event::Payload;
use futures_util::SinkExt;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;

use super::server::{BROWSER, DASHBOARD, Server, view};
use crate::support::redis::eventually;

#[tokio::test]
async fn garbage_is_answered_and_binary_messages_end_the_socket() {
    let server = Server::start().await;
    let mut socket = server.browser().await;
    for garbage in ["", "{", "null", "{\"type\":", "\u{0}"] {
        socket.send(Message::text(garbage)).await;
        let error = socket.error().await;
        assert!(error["error"].as_str().unwrap().starts_with("message: "), "{error}");
    }
    socket.send(Message::Ping(vec![1].into())).await;
    socket.say(view("/")).await;
    assert_eq!(socket.hear().await["type"], "ack");
    socket.send(Message::binary(vec![0; 10])).await;
    assert_eq!(socket.closed().await.0, 1003);
    server.stop().await;
}

#[tokio::test]
async fn a_message_that_is_too_long_is_refused_before_it_is_read() {
    let server = Server::start().await;
    for path in [BROWSER, DASHBOARD] {
        let mut socket = server.connect(path).await;
        socket.greeted().await;
        // Much more than is buffered on the way: it is not read, and the response still arrives.
        let sent = socket.0.send(Message::text("x".repeat(300_000))).await;
        let (code, reason) = socket.closed().await;
        assert!(code == 1009 && reason.contains("65536"), "{sent:?} {code} {reason}");
    }
    server.stop().await;
}

#[tokio::test]
async fn broken_frames_end_the_socket_with_their_code() {
    let server = Server::start().await;
    // Masked text that is not UTF-8; text that is not masked; a reserved opcode.
    for (frame, code) in [
        (&[0x81, 0x82, 0, 0, 0, 0, 0xc3, 0x28][..], 1007),
        (&[0x81, 0x02, b'{', b'}'], 1002),
        (&[0x83, 0x80, 0, 0, 0, 0], 1002),
    ] {
        let mut socket = server.browser().await;
        socket.0.get_mut().write_all(frame).await.unwrap();
        assert_eq!(socket.closed().await.0, code, "{frame:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn plain_http_requests_are_explained() {
    use crate::http::client::{Client, request};
    let server = Server::start().await;
    for (path, headers, status) in [
        ("/", &[][..], 426),
        ("/health", &[], 404),
        ("/", &[("Connection", "Upgrade"), ("Upgrade", "websocket")], 400),
    ] {
        let mut client = Client::connect(server.address).await;
        client.send(request("GET", path, headers)).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, status, "{path} {headers:?}");
        assert!(!answer.error().is_empty());
    }
    let mut client = Client::connect(server.address).await;
    let old = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "8"),
    ];
    client.send(request("GET", "/", &old)).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("sec-websocket-version")), (426, Some("13")));
    server.stop().await;
}

#[tokio::test]
async fn frames_received_before_an_abrupt_end_count() {
    const EVENTS: usize = 50;
    let server = Server::start().await;
    let mut socket = server.browser().await;
    let message = json!({ "type": "event", "apiKey": server.ingest,
        "data": { "trackingId": "t", "eventType": "e" } });
    for _ in 0..EVENTS {
        socket.0.feed(Message::text(message.to_string())).await.unwrap();
    }
    socket.0.flush().await.unwrap();
    let stream = socket.0.get_ref();
    stream.set_zero_linger().unwrap();
    drop(socket);
    let is_event = |item: &NewItem| matches!(item.event.payload, Payload::Event(_));
    eventually("all events are queued", || async {
        (server.queued().iter().filter(|item| is_event(item)).count() == EVENTS).then_some(())
    })
    .await;
    server.stop().await;
}
