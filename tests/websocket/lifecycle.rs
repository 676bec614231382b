//! How sockets end that neither side closes: silence, no key, a server that stops.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;

use super::server::{BROWSER, DASHBOARD, Server, in_time, view};
use crate::http::server::eventually;

#[tokio::test]
async fn a_peer_that_answers_no_ping_is_cut_off() {
    let server = Server::start_with(|s| s.ping_interval = Duration::from_millis(500)).await;
    // It reads nothing any more, so it answers nothing.
    let deaf = server.browser().await;
    eventually("its session has ended", || server.queued().len() == 1).await;
    drop(deaf);
    let mut deaf = server.dashboard().await;
    let open = |kind: &str| {
        let text = server.log.metrics().to_prometheus();
        let line = format!("bklit_websockets{{kind=\"{kind}\"}} ");
        text.lines().find_map(|l| l.strip_prefix(&line)).unwrap_or("none").to_owned()
    };
    eventually("the dashboard is gone", || open("dashboard") == "0" && open("browser") == "0")
        .await;
    while let Some(Ok(_)) = in_time(deaf.0.next()).await {}
    server.stop().await;
}

#[tokio::test]
async fn a_peer_that_answers_pings_may_be_silent_for_long() {
    let server = Server::start_with(|s| s.ping_interval = Duration::from_secs(1)).await;
    let mut socket = server.browser().await;
    let mut pings = 0;
    while pings < 3 {
        let frame = in_time(socket.0.next()).await.unwrap().unwrap();
        assert!(frame.is_ping(), "{frame:?}");
        pings += 1;
    }
    socket.say(view("/")).await;
    assert_eq!(socket.hear().await["type"], "ack");
    server.stop().await;
}

#[tokio::test]
async fn a_browser_that_never_says_who_it_is_has_to_go() {
    let server = Server::start_with(|s| s.auth_timeout = Duration::from_secs(1)).await;
    let mut silent = server.connect(BROWSER).await;
    silent.greeted().await;
    let (code, reason) = silent.closed().await;
    assert!(code == 1008 && reason.contains("no API key"), "{code} {reason}");
    // Sending what is refused does not help.
    let mut noisy = server.connect(BROWSER).await;
    noisy.greeted().await;
    loop {
        if in_time(futures_util::SinkExt::send(&mut noisy.0, "{}".into())).await.is_err() {
            break;
        }
        match in_time(noisy.0.next()).await {
            Some(Ok(message)) if !message.is_close() => {}
            _ => break,
        }
    }
    // Who has said it stays.
    let mut known = server.browser().await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    known.say(view("/")).await;
    assert_eq!(known.hear().await["type"], "ack");
    server.stop().await;
}

#[tokio::test]
async fn a_stop_acknowledges_what_is_in_hand_and_says_goodbye() {
    let server = Server::start().await;
    let mut browser = server.browser().await;
    let mut dashboard = server.dashboard().await;
    let gate = server.queue.gate.write().await;
    let received = || {
        let text = server.log.metrics().to_prometheus();
        text.contains("bklit_steps_total{stage=\"ingestion\",level=\"info\"} 1")
    };
    browser.say(view("/in-hand")).await;
    eventually("the event is in hand", received).await;
    // Too late: it was not read before the stop.
    browser.say(view("/late")).await;
    server.stop.cancel();
    assert_eq!(dashboard.closed().await, (1001, "the server is stopping".to_owned()));
    browser.silent().await;
    drop(gate);
    let ack = browser.hear().await;
    assert_eq!(ack["type"], "ack");
    assert_eq!(browser.closed().await.0, 1001);
    let queued = server.queued();
    // The visitor is still there, so its session has not ended either.
    assert_eq!(queued.len(), 1, "{queued:?}");
    assert_eq!(queued[0].event.id, ack["eventId"].as_str().unwrap());
    drop((browser, dashboard));
    server.stop().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_those_who_do_not_answer() {
    let server = Server::start().await;
    let deaf = (server.browser().await, server.dashboard().await);
    let halfway = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let began = std::time::Instant::now();
    server.stop().await;
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    drop((deaf, halfway));
}

#[tokio::test]
async fn more_sockets_than_allowed_wait_for_their_turn() {
    let server = Server::start_with(|s| s.max_connections = 2).await;
    let (first, second) = (server.browser().await, server.dashboard().await);
    let third = super::server::Socket::open(server.address, BROWSER, &[]);
    tokio::pin!(third);
    let early = tokio::time::timeout(Duration::from_millis(150), third.as_mut()).await;
    assert!(early.is_err(), "it got in");
    drop(second);
    let mut third = third.await;
    third.greeted().await;
    drop(first);
    let mut fourth = server.connect(DASHBOARD).await;
    assert_eq!(fourth.greeted().await.get("sessionId"), None);
    fourth.say(json!({ "type": "whatever" })).await;
    fourth.silent().await;
    server.stop().await;
}
