//! What the running processes report: events that are not accepted, claimed or stored.

use serde_json::json;

use super::examined;
use crate::support::servers::{ClickHouse, Kind, RedisServer};
use crate::support::{Cli, DEADLINE, Daemon, eventually, request};

/// The findings about processes, as severity, what and advice.
fn processes(daemon: &Daemon) -> Vec<[String; 3]> {
    let config = daemon.scratch().join("bklit.toml");
    let cli = Cli::on(&daemon.data_dir());
    let (findings, _) = examined(&cli, &["--config", config.to_str().unwrap()]);
    let of_processes = findings.into_iter().filter(|found| found[0] == "processes");
    of_processes.map(|[_, severity, what, advice]| [severity, what, advice]).collect()
}

/// Waits until `doctor` reports a problem of a process that contains `what`; returns its advice.
#[track_caller]
fn reported(daemon: &Daemon, what: &str) -> String {
    let mut advice = None;
    eventually(DEADLINE, what, || {
        let all = processes(daemon);
        let found = all.iter().find(|found| found[0] == "problem" && found[1].contains(what));
        advice = found.map(|found| format!("{} → {}", found[1], found[2]));
        advice.is_some()
    });
    advice.unwrap()
}

#[track_caller]
fn works(daemon: &Daemon) {
    eventually(DEADLINE, "doctor has no complaint", || {
        let found = processes(daemon);
        !found.is_empty() && found.iter().all(|found| found[0] == "ok")
    });
}

/// What failed in the last minutes is still a warning.
#[track_caller]
fn recovers(daemon: &Daemon) {
    eventually(DEADLINE, "doctor finds no problem", || {
        let found = processes(daemon);
        !found.is_empty() && found.iter().all(|found| found[0] != "problem")
    });
}

#[test]
fn a_process_that_works_is_ok_until_all_its_events_are_refused() {
    let daemon = Daemon::start();
    works(&daemon);
    for _ in 0..5 {
        let headers = [("Authorization", "Bearer bk_live_x"), ("Content-Type", "application/json")];
        let answer = request(daemon.addr, "POST", "/track", &headers, b"{}").unwrap();
        assert_eq!(answer.status, 401);
    }
    let found = reported(&daemon, "refused all 5 events");
    assert!(found.contains("the token is not valid") && found.contains("token create"), "{found}");
    daemon.track("https://a.example/");
    let mut found = Vec::new();
    eventually(DEADLINE, "it is a warning", || {
        found = processes(&daemon);
        found.iter().any(|found| found[0] == "warning" && found[1].contains("refused 5 events"))
    });
    assert!(found.iter().all(|found| found[0] != "problem"), "{found:?}");
}

#[test]
fn all_events_from_a_domain_that_is_not_allowed_are_a_problem() {
    let daemon = Daemon::start();
    let text = daemon.cli(&["token", "create", "--project", "shop", "--domain", "b.example"]);
    let secret = text.split_whitespace().find(|word| word.len() == 72).unwrap();
    let bearer = format!("Bearer {secret}");
    let headers = [("Authorization", &*bearer), ("Origin", "https://a.example")];
    let body = json!({ "url": "https://a.example/", "projectId": "shop" }).to_string();
    let mut refused = 0;
    eventually(DEADLINE, "five are answered 403", || {
        let answer = request(daemon.addr, "POST", "/track", &headers, body.as_bytes()).unwrap();
        refused += u32::from(answer.status == 403);
        refused == 5
    });
    let found = reported(&daemon, "refused all ");
    assert!(found.contains("--domain"), "{found}");
}

#[test]
fn a_materialized_view_that_fails_is_named_and_migrate_is_not_suggested() {
    let database = ClickHouse::shared();
    let daemon = Daemon::with_settings(&format!(
        "clickhouse_url = '{}'\nclickhouse_database = '{}'",
        database.url(),
        database.name()
    ));
    eventually(DEADLINE, "the tables exist", || {
        daemon.cli(&["migrate", "--dry-run"]).contains("up to date")
    });
    database.query("CREATE TABLE totals (path String) ENGINE = MergeTree ORDER BY path");
    let create = |view: &str, path: &str| {
        let select = format!("SELECT {path} AS path FROM page_view_event");
        database.query(&format!("CREATE MATERIALIZED VIEW {view} TO totals AS {select}"));
    };
    let name = database.name();
    create("divides", "toString(intDiv(1, length(url) - length(url)))");
    daemon.track("https://a.example/");
    // The event is stored, but not in the view.
    let named = format!("DROP VIEW {name}.divides");
    eventually(DEADLINE, "the view is named", || {
        let found = processes(&daemon);
        assert!(!format!("{found:?}").contains("migrate"), "{found:?}");
        found.iter().any(|found| found[0] != "ok" && found[1].contains(&named))
    });
    database.query("DROP VIEW divides");
    create("orphan", "url");
    database.query("DROP TABLE totals");
    daemon.track("https://a.example/again");
    let found = reported(&daemon, "its store fails");
    assert!(found.contains(&format!("writes to {name}.totals, which")), "{found}");
    assert!(!found.contains("migrate"), "{found}");
    let config = daemon.scratch().join("bklit.toml");
    let settings = ["--config", config.to_str().unwrap()];
    let (findings, _) = examined(&Cli::on(&daemon.data_dir()), &settings);
    let named = format!("view {name}.orphan writes to {name}.totals");
    assert!(findings.iter().any(|found| found[2].contains(&named)), "{findings:#?}");
    database.query("DROP VIEW orphan");
    recovers(&daemon);
}

#[test]
fn a_user_without_insert_is_reported_while_pings_succeed() {
    let clickhouse = ClickHouse::own();
    let daemon = Daemon::with_settings(&format!(
        "clickhouse_url = '{}'\nclickhouse_database = 'default'",
        clickhouse.url()
    ));
    eventually(DEADLINE, "the tables exist", || {
        daemon.cli(&["migrate", "--dry-run"]).contains("up to date")
    });
    clickhouse.fault(json!({
        "match": "INSERT INTO page_view_event", "kind": "error", "code": 497,
        "message": "app: Not enough privileges. To execute this query, it's necessary to have the \
                    grant INSERT. (ACCESS_DENIED)",
    }));
    daemon.track("https://a.example/");
    let found = reported(&daemon, "its store fails");
    assert!(found.contains("grant INSERT") && found.contains("check the user"), "{found}");
    clickhouse.heal();
    recovers(&daemon);
}

#[test]
fn a_claim_that_redis_refuses_is_reported_for_each_process() {
    let redis = RedisServer::start(Kind::Valkey, &[]);
    redis.cli(&["ACL", "SETUSER", "app", "on", ">a", "~*", "&*", "+@all"]);
    let url = redis.url().replace("redis://", "redis://app:a@");
    let daemon = Daemon::with_settings(&format!("redis_url = '{url}'"));
    let other = Daemon::with_settings(&format!("redis_url = '{url}'"));
    works(&daemon);
    let pid = |daemon: &Daemon| format!("process {}-", daemon.pid().as_raw_nonzero());
    redis.cli(&["ACL", "SETUSER", "app", "-zadd"]);
    daemon.track("https://a.example/");
    let found = reported(&daemon, "its worker fails");
    assert!(found.contains("ZADD") && found.contains("ACL SETUSER"), "{found}");
    for daemon in [&daemon, &other] {
        let all = processes(daemon);
        for process in [pid(daemon), pid(&other)] {
            assert!(all.iter().any(|found| found[1].contains(&process)), "{process}: {all:#?}");
        }
    }
    redis.cli(&["ACL", "SETUSER", "app", "+zadd"]);
    works(&daemon);
}

#[test]
fn a_queue_that_does_not_respond_is_reported_until_it_does() {
    let mut redis = RedisServer::start(Kind::Valkey, &[]);
    let daemon = Daemon::with_settings(&format!("redis_url = '{}'", redis.url()));
    works(&daemon);
    redis.kill9();
    let found = reported(&daemon, "its queue fails since");
    assert!(found.contains("its state cannot be read: no connection to Redis at"), "{found}");
    redis.restart();
    works(&daemon);
}

#[test]
fn a_process_that_needs_a_token_is_not_taken_for_one_that_works() {
    let daemon = Daemon::with_settings("[auth]\nloopback_needs_token = true");
    let found = processes(&daemon);
    assert_eq!(found[0][0], "warning", "{found:?}");
    assert!(found[0][1].contains("cannot be asked") && found[0][2].contains("BKLIT_TOKEN"));
}
