//! The real program: from a browser's socket into the store and to dashboards, also of another
//! process.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use tokio::time::timeout;

use super::server::{Socket, view};
use crate::support::servers::{ClickHouse, Kind, RedisServer};
use crate::support::{Cli, DEADLINE, Daemon, eventually};

const BROWSER: &str = "/?projectId=default&sessionId=s-1";
const DASHBOARD: &str = "/dashboard?projectId=default";

fn address(daemon: &Daemon) -> SocketAddr {
    let file = daemon.data_dir().join("websocket.addr");
    std::fs::read_to_string(file).unwrap().trim().parse().unwrap()
}

async fn browser(daemon: &Daemon, key: &str) -> Socket {
    let mut socket = Socket::open(address(daemon), BROWSER, &[]).await;
    socket.greeted().await;
    socket.say(json!({ "type": "auth", "apiKey": key })).await;
    assert_eq!(socket.hear().await["type"], "auth_success");
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_goes_into_the_store_and_to_dashboards() {
    let mut daemon = Daemon::start();
    let mut dashboard = Socket::open(address(&daemon), DASHBOARD, &[]).await;
    dashboard.greeted().await;
    let mut visitor = browser(&daemon, &daemon.token()).await;
    visitor.say(view("/one")).await;
    let id = visitor.hear().await["eventId"].clone();
    let seen = dashboard.hear().await;
    assert_eq!((&seen["type"], &seen["data"]["isNewSession"]), (&json!("pageview"), &json!(true)));
    // What a dashboard has seen is stored.
    assert_eq!(daemon.scalar("SELECT id FROM page_view_event"), id);
    visitor
        .say(json!({ "type": "event", "data": { "trackingId": "t", "eventType": "click" } }))
        .await;
    assert_eq!(visitor.hear().await["messageType"], "event");
    assert_eq!(dashboard.hear().await["data"]["trackingId"], "t");
    visitor.leave().await;
    let end = dashboard.hear().await;
    assert_eq!(end["data"], json!({ "sessionId": "s-1", "reason": "disconnect" }));
    let ended = "SELECT count() FROM tracked_session WHERE ended_at IS NOT NULL";
    eventually(DEADLINE, "the end is in the session's row", || daemon.scalar(ended) == 1);
    assert_eq!(daemon.get("/health").json()["service"], "ingestion");
    daemon.signal(Signal::TERM);
    assert_eq!(dashboard.closed().await.0, 1001);
    drop(dashboard);
    assert!(daemon.wait_exit(DEADLINE).success(), "{}", daemon.stderr());
    assert!(!daemon.data_dir().join("websocket.addr").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_events_survive_a_kill() {
    let mut daemon = Daemon::start();
    let mut visitor = browser(&daemon, &daemon.token()).await;
    let mut ids = Vec::new();
    for n in 0..20 {
        visitor.say(view(&format!("/{n}"))).await;
        ids.push(visitor.hear().await["eventId"].as_str().unwrap().to_owned());
    }
    daemon.kill9();
    let daemon = daemon.restart();
    let count = "SELECT count(DISTINCT id) FROM page_view_event";
    eventually(DEADLINE, "all are stored", || daemon.scalar(count) == json!(ids.len()));
    assert_eq!(daemon.scalar("SELECT count() FROM page_view_event"), json!(ids.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dashboard_of_another_process_sees_the_event() {
    let redis = RedisServer::start(Kind::Valkey, &[]);
    let settings = format!("redis_url = '{}'", redis.url());
    let one = Daemon::with_settings(&settings);
    let two = Daemon::with_settings(&settings);
    let mut dashboard = Socket::open(address(&two), DASHBOARD, &[]).await;
    dashboard.greeted().await;
    let subscribed = || redis.cli(&["PUBSUB", "NUMSUB", "live-events"]).ends_with('1');
    eventually(DEADLINE, "the other process listens", subscribed);
    // Both processes' first tokens are in Redis.
    let mut visitor = browser(&one, &one.token()).await;
    // Until it has noticed the dashboard, the other process publishes nothing.
    let deadline = Instant::now() + DEADLINE;
    let seen = loop {
        assert!(Instant::now() < deadline, "the dashboard is not noticed");
        visitor.say(view("/from-one")).await;
        assert_eq!(visitor.hear().await["type"], "ack");
        if let Ok(seen) = timeout(Duration::from_millis(200), dashboard.hear()).await {
            break seen;
        }
    };
    assert_eq!(seen["data"]["url"], "https://a.example/from-one");
    visitor.leave().await;
    while dashboard.hear().await["type"] != "session_end" {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_for_sockets_alone_inserts_past_the_queue_too() {
    let redis = RedisServer::start(Kind::Valkey, &[]);
    let database = ClickHouse::shared();
    let settings = format!(
        "redis_url = '{}'\nclickhouse_url = '{}'\nclickhouse_database = '{}'\ndual_write = true",
        redis.url(),
        database.url(),
        database.name()
    );
    let with_roles = |roles| Daemon::with_environment(&settings, &[("BKLIT_ROLES", roles)]);
    let others = with_roles("ingestion,worker");
    let sockets = with_roles("websocket");
    let mut visitor = browser(&sockets, &others.token()).await;
    for n in 0..3 {
        visitor.say(view(&format!("/{n}"))).await;
        assert_eq!(visitor.hear().await["type"], "ack");
    }
    for table in ["page_view_event", "page_view_event_baseline"] {
        let is_there = format!("EXISTS {table}");
        let count = format!("SELECT count() FROM {table}");
        eventually(DEADLINE, table, || {
            database.query(&is_there) == "1" && database.query(&count) == "3"
        });
    }
}

#[test]
fn a_port_in_use_is_an_error_only_if_configured() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let arguments = ["--no-ui", "--listen", "127.0.0.1:0", "--websocket-listen", &address];
    let error = Cli::new().run(&arguments).failed();
    assert!(error.contains(&address) && error.contains("--websocket-listen"), "{error}");
}
