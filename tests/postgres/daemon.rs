//! The real program with Bklit's Postgres.

use bklit_pipeline::auth::Secret;
use bklit_pipeline::queue::Queue;
use serde_json::json;

use super::{OLD, SCHEMA, insert_token};
use crate::support::redis::queue_at;
use crate::support::servers::{ClickHouse, Kind, Postgres, RedisServer};
use crate::support::{DEADLINE, Daemon, Response, eventually, request};

fn send(daemon: &Daemon, secret: &str, path: &str, body: &serde_json::Value) -> Response {
    let bearer = format!("Bearer {secret}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    request(daemon.addr, "POST", path, &headers, body.to_string().as_bytes()).unwrap()
}

fn track(daemon: &Daemon, secret: &str) -> Response {
    send(daemon, secret, "/track", &json!({ "url": "https://a.example/", "projectId": "p" }))
}

fn signup(daemon: &Daemon, secret: &str, tracking: &str, id: &str) -> Response {
    let body = json!({ "eventId": id, "trackingId": tracking, "eventType": "click",
                       "projectId": "p" });
    send(daemon, secret, "/track-event", &body)
}

/// A server with a current token for the project `p`, accessed by a read-only user.
fn postgres() -> (Postgres, Secret, String) {
    let postgres = Postgres::own();
    postgres.sql(SCHEMA);
    postgres.sql(
        "CREATE ROLE reader LOGIN PASSWORD 'hush/pass'; GRANT SELECT ON ALL TABLES IN SCHEMA public \
         TO reader",
    );
    let secret = Secret::generate().unwrap();
    postgres.sql(&insert_token("current", "s:00", Some(&secret.hash().to_hex())));
    let url = postgres.url().replace("postgres:s3cret@", "reader:hush%2Fpass@");
    (postgres, secret, format!("{url}?schema=public&connection_limit=3&sslmode=prefer"))
}

#[test]
fn bklits_tokens_and_our_own_both_work() {
    let (postgres, secret, url) = postgres();
    postgres.sql(&insert_token("old", OLD.1, None));
    let mut daemon = Daemon::with_settings(&format!("log = 'debug'\ndatabase_url = '{url}'"));
    daemon.track("https://a.example/own");
    assert_eq!(track(&daemon, secret.expose()).status, 200);
    eventually(DEADLINE, "the old token works", || match track(&daemon, OLD.0) {
        answer if answer.status == 503 => {
            assert!(answer.header("retry-after").is_some());
            false
        }
        answer => answer.status == 200,
    });
    let stranger = Secret::generate().unwrap();
    eventually(DEADLINE, "a wrong one is refused", || {
        track(&daemon, stranger.expose()).status == 401
    });
    let made = daemon.cli(&["token", "create", "--project", "p", "--quiet"]);
    assert_eq!(track(&daemon, made.trim()).status, 200);
    let list = daemon.cli(&["token", "list"]);
    assert!(list.contains("created at the first start") && !list.contains("current"), "{list}");
    assert!(list.contains("Bklit's dashboard"), "{list}");
    assert_eq!(daemon.cli(&["token", "list", "--json"]).lines().count(), 2);
    // A beacon has no token, but the project has one.
    let end = json!({ "sessionId": "s", "projectId": "p" });
    assert_eq!(
        request(
            daemon.addr,
            "POST",
            "/session-end",
            &[("Content-Type", "application/json")],
            end.to_string().as_bytes()
        )
        .unwrap()
        .status,
        200
    );
    daemon.signal(rustix::process::Signal::TERM);
    assert!(daemon.wait_exit(DEADLINE).success());
    let log = daemon.stderr();
    assert!(log.contains("event definitions: Postgres 127.0.0.1"), "{log}");
    assert!(!log.contains("hush") && !log.contains(OLD.0), "{log}");
}

#[test]
fn while_postgres_is_unavailable_only_known_tokens_work() {
    let (mut postgres, known, url) = postgres();
    let unknown = Secret::generate().unwrap();
    postgres.sql(&insert_token("unknown", "s:00", Some(&unknown.hash().to_hex())));
    let daemon = Daemon::with_settings(&format!("database_url = '{url}'"));
    assert_eq!(track(&daemon, known.expose()).status, 200);
    postgres.stop();
    let answer = track(&daemon, unknown.expose());
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
    assert_eq!(track(&daemon, known.expose()).status, 200);
    daemon.track("https://a.example/own");
    postgres.restart();
    eventually(DEADLINE, "the other works", || track(&daemon, unknown.expose()).status == 200);
}

#[test]
fn an_event_without_a_definition_fails_and_can_be_retried_later() {
    let (mut postgres, secret, url) = postgres();
    postgres.sql("INSERT INTO \"EventDefinition\" VALUES ('def-1', 'signup', 'p', 'x')");
    for with_clickhouse in [true, false] {
        let redis = RedisServer::start(Kind::Valkey, &[]);
        let database = with_clickhouse.then(ClickHouse::shared);
        let mut settings = format!(
            "database_url = '{url}'\nredis_url = '{}'\n[worker]\nmax_backoff = '500ms'",
            redis.url()
        );
        if let Some(database) = &database {
            settings = format!(
                "clickhouse_url = '{}'\nclickhouse_database = '{}'\n{settings}",
                database.url(),
                database.name()
            );
        }
        let daemon = Daemon::with_settings(&settings);
        assert_eq!(signup(&daemon, secret.expose(), "signup", "evt_1").status, 200);
        assert_eq!(signup(&daemon, secret.expose(), "later", "evt_2").status, 200);
        assert_eq!(track(&daemon, secret.expose()).status, 200);
        let figure = |name: &str| daemon.queue()[name].clone();
        eventually(DEADLINE, "one failed, the others are stored", || {
            figure("failed") == 1 && figure("inFlight") == 0 && figure("waiting") == 0
        });
        let stored = "SELECT event_definition_id FROM tracked_event WHERE id = 'evt_1'";
        assert_eq!(daemon.scalar(stored), json!("def-1"));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let queue = runtime.block_on(async { queue_at(&redis) });
        let failed = runtime.block_on(queue.failed(None, 10)).unwrap().items;
        assert_eq!(
            failed[0].reason,
            "no event definition \"later\" in project \"p\"; create it in Bklit and retry"
        );
        let id = [failed[0].id.clone()];
        // Without its definition a retry fails again.
        assert_eq!(runtime.block_on(queue.retry_failed(&id)).unwrap(), 1);
        eventually(DEADLINE, "it failed again", || figure("failed") == 1);
        postgres.sql("INSERT INTO \"EventDefinition\" VALUES ('def-2', 'later', 'p', 'x')");
        let failed = runtime.block_on(queue.failed(None, 10)).unwrap().items;
        let id = [failed[0].id.clone()];
        assert_eq!(runtime.block_on(queue.retry_failed(&id)).unwrap(), 1);
        eventually(DEADLINE, "it is stored", || {
            daemon.scalar("SELECT count() FROM tracked_event WHERE id = 'evt_2'") == json!(1)
        });
        let stored = "SELECT event_definition_id FROM tracked_event WHERE id = 'evt_2'";
        assert_eq!(daemon.scalar(stored), json!("def-2"));

        // While Postgres is unavailable, an event with an unknown definition waits.
        postgres.sql("INSERT INTO \"EventDefinition\" VALUES ('def-3', 'new', 'p', 'x')");
        postgres.stop();
        assert_eq!(signup(&daemon, secret.expose(), "new", "evt_3").status, 200);
        eventually(DEADLINE, "the worker says why", || {
            let health = daemon.get("/health").json();
            health["health"]["worker"] == "failing" && figure("inFlight") == 1
        });
        postgres.restart();
        eventually(DEADLINE, "it is stored too", || {
            daemon.scalar("SELECT count() FROM tracked_event") == json!(3)
        });
        assert_eq!(figure("failed"), 0);
        postgres.sql("DELETE FROM \"EventDefinition\" WHERE \"id\" IN ('def-2', 'def-3')");
    }
}
