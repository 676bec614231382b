//! How sockets end that neither side closes: silence, no key, shutdown.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use bklit_pipeline::auth::Scope;
use bklit_wire::event::Payload;
use bklit_wire::time::UtcMillis;
use futures_util::StreamExt;
use serde_json::json;

use super::server::{BROWSER, DASHBOARD, Server, Socket, in_time, view};
use crate::http::server::eventually;

#[tokio::test]
async fn a_peer_that_answers_no_ping_is_disconnected() {
    let server = Server::start_with(|s| s.ping_interval = Duration::from_millis(500)).await;
    // It no longer reads, so it does not reply.
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
async fn a_browser_that_never_authenticates_is_disconnected() {
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
    // An authenticated socket stays.
    let mut known = server.browser().await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    known.say(view("/")).await;
    assert_eq!(known.hear().await["type"], "ack");
    server.stop().await;
}

#[tokio::test]
async fn a_shutdown_acknowledges_events_in_progress_and_closes_cleanly() {
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
async fn a_shutdown_does_not_wait_for_silent_peers() {
    let server = Server::start().await;
    let deaf = (server.browser().await, server.dashboard().await);
    let halfway = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let began = std::time::Instant::now();
    server.stop().await;
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    drop((deaf, halfway));
}

#[tokio::test]
async fn a_session_ends_at_the_last_sign_of_life() {
    let server = Server::start_with(|s| s.ping_interval = Duration::from_millis(500)).await;
    // It no longer reads, and does not close either.
    let mut gone = server.browser().await;
    gone.say(view("/")).await;
    assert_eq!(gone.hear().await["type"], "ack");
    let alive = UtcMillis::now();
    eventually("its session has ended", || server.queued().len() == 2).await;
    let noticed = UtcMillis::now();
    let end = server.queued().pop().unwrap();
    let Payload::SessionEnd(end) = &end.event.payload else { panic!("{end:?}") };
    let at = end.timestamp.unwrap().epoch_millis();
    assert!(at <= alive.epoch_millis(), "{at} after {alive}");
    assert!(noticed.epoch_millis() >= at + 900, "noticed two pings later");
    drop(gone);
    server.stop().await;
}

#[tokio::test]
async fn a_full_server_makes_room_for_browsers_that_authenticate() {
    let server = Server::start_with(|s| s.max_connections = 2).await;
    let mut known = server.browser().await;
    let mut silent = server.connect(BROWSER).await;
    silent.greeted().await;
    // Takes the slot of the silent one.
    let dashboard = server.dashboard().await;
    let (code, reason) = silent.closed().await;
    assert!(code == 1013 && reason.contains("API key"), "{code} {reason}");
    // No socket can be closed now, so it waits.
    let third = Socket::open(server.address, BROWSER, &[]);
    tokio::pin!(third);
    let early = tokio::time::timeout(Duration::from_millis(150), third.as_mut()).await;
    assert!(early.is_err(), "it got in");
    drop(dashboard);
    third.await.greeted().await;
    known.say(view("/")).await;
    assert_eq!(known.hear().await["type"], "ack");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_without_a_key_do_not_lock_others_out() {
    let server = Server::start().await;
    let mut silent = Vec::new();
    for _ in 0..1_100 {
        let mut socket = server.connect(BROWSER).await;
        socket.greeted().await;
        silent.push(socket);
    }
    let mut known = Vec::new();
    for n in 0..200 {
        let served = async {
            let mut socket = server.browser().await;
            socket.say(view("/")).await;
            assert_eq!(socket.hear().await["type"], "ack");
            socket
        };
        let served = tokio::time::timeout(Duration::from_secs(5), served).await;
        known.push(served.unwrap_or_else(|_| panic!("browser {n} is not served")));
    }
    assert_eq!(server.queued().len(), 200);
    drop((silent, known));
    server.stop().await;
}

/// The server chooses sockets to close while they authenticate, and does not wait for the tokens.
#[tokio::test]
async fn a_socket_that_authenticates_makes_room_too() {
    let server = Server::start_with(|s| s.max_connections = 2).await;
    let known = server.browser().await;
    let (key, _) = server.tokens.make(Scope::Ingest, &["p"], |_| {}).await;
    let (read, _) = server.tokens.make(Scope::Read, &["p"], |_| {}).await;
    let gate = server.tokens.gate.write().await;
    let looked_up = || server.tokens.lookups.load(SeqCst);
    for (round, message) in [
        json!({ "type": "auth", "apiKey": key.expose() }),
        json!({ "type": "event", "apiKey": key.expose(), "data": {} }),
    ]
    .into_iter()
    .enumerate()
    {
        let before = looked_up();
        let mut browser = server.connect(BROWSER).await;
        browser.greeted().await;
        browser.say(message).await;
        // The second one waits for the lookup of the first.
        eventually("it authenticates", || round > 0 || looked_up() > before).await;
        let mut next = server.connect(&format!("{DASHBOARD}&token={}", read.expose())).await;
        assert_eq!(browser.closed().await.0, 1013);
        eventually("it authenticates", || round > 0 || looked_up() > before + 1).await;
        drop(server.connect(BROWSER).await);
        assert_eq!(next.closed().await.0, 1013);
    }
    drop(gate);
    drop(known);
    let mut browser = server.browser().await;
    browser.say(view("/")).await;
    assert_eq!(browser.hear().await["type"], "ack");
    server.stop().await;
}
