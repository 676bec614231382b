//! Current visitors in Redis, which Bklit's services record and remove as well.

use serde_json::json;

use crate::support::servers::{ClickHouse, Kind, RedisServer};
use crate::support::{DEADLINE, Daemon, eventually};

use super::stored;

const SESSIONS: &str = "live:sessions:default";

fn view(daemon: &Daemon, session: &str, seconds_ago: i64) {
    let at = bklit_wire::time::UtcMillis::now().epoch_millis() - seconds_ago * 1000;
    let timestamp = bklit_wire::time::UtcMillis::from_epoch_millis(at).to_string();
    let url = format!("https://a.example/{seconds_ago}");
    let view = json!({
        "url": url, "projectId": "default", "sessionId": session, "timestamp": timestamp,
    });
    assert_eq!(daemon.post("/track", &view).status, 200);
}

#[test]
fn presence_follows_a_session_whoever_ends_it() {
    let redis = RedisServer::start(Kind::Redis, &[]);
    let database = ClickHouse::shared();
    let daemon = Daemon::with_settings(&format!(
        "redis_url = '{}'\nclickhouse_url = '{}'\nclickhouse_database = '{}'",
        redis.url(),
        database.url(),
        database.name()
    ));
    let active = || redis.cli(&["ZRANGE", SESSIONS, "0", "-1"]);
    view(&daemon, "s-1", 60);
    eventually(DEADLINE, "the session is active", || active() == "s-1");
    daemon.post("/session-end", &json!({ "sessionId": "s-1", "projectId": "default" }));
    eventually(DEADLINE, "the session has ended", || active().is_empty());

    view(&daemon, "s-2", 60);
    eventually(DEADLINE, "the session is active", || active() == "s-2");
    let has_row = "SELECT count() FROM tracked_session WHERE session_id = 's-2'";
    eventually(DEADLINE, "the session has a row", || daemon.scalar(has_row) == 1);
    // Bklit's WebSocket server ends it; a page view from before arrives later.
    database.query(
        "INSERT INTO tracked_session (id, session_id, started_at, ended_at, did_bounce, \
         entry_page, exit_page, project_id) SELECT id, session_id, started_at, now(), did_bounce, \
         entry_page, exit_page, project_id FROM tracked_session WHERE session_id = 's-2'",
    );
    redis.cli(&["ZREM", SESSIONS, "s-2"]);
    view(&daemon, "s-2", 30);
    stored(&daemon, 3);
    view(&daemon, "s-3", 0);
    // It may count as active until its row is written.
    eventually(DEADLINE, "only the next session is active", || active() == "s-3");
    let ended = "SELECT argMax(isNotNull(ended_at), updated_at) FROM tracked_session \
                 WHERE session_id = 's-2'";
    eventually(DEADLINE, "it has ended", || daemon.scalar(ended) == 1);
    // A session of long ago is not a visitor.
    view(&daemon, "s-4", 3_600);
    view(&daemon, "s-5", 0);
    eventually(DEADLINE, "the last session is active", || active().contains("s-5"));
    assert!(!active().contains("s-4"), "{}", active());
}
