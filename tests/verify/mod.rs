//! Dual-write verification by the real program, on files and on servers.

mod definitions;
mod faults;

use serde_json::{Value, json};

use crate::support::servers::{ClickHouse, Database, Kind, RedisServer};
use crate::support::{Cli, DEADLINE, Daemon, eventually};

const VERIFY: &str =
    "dual_write = true\n[worker]\nmax_backoff = '200ms'\n[verify]\nsettle = '1s'\n";
const ALL: [&str; 4] = ["verify", "--since", "1h", "--json"];

/// A daemon with dual write, and its servers.
struct Bench {
    daemon: Daemon,
    servers: Option<(RedisServer, Database)>,
}

/// The output of `verify`.
struct Said {
    code: i32,
    /// One object per mismatch.
    mismatches: Vec<Value>,
    summary: Value,
    error: String,
}

impl Bench {
    fn on_files() -> Self {
        Self { daemon: Daemon::with_settings(VERIFY), servers: None }
    }

    fn on_servers() -> Self {
        let redis = RedisServer::start(Kind::Valkey, &[]);
        let database = ClickHouse::shared();
        let daemon = Daemon::with_settings(&format!(
            "redis_url = '{}'\nclickhouse_url = '{}'\nclickhouse_database = '{}'\n{VERIFY}",
            redis.url(),
            database.url(),
            database.name()
        ));
        Self { daemon, servers: Some((redis, database)) }
    }

    /// Sends page views and custom events; returns their ids.
    fn send(&self, count: usize) -> Vec<String> {
        let ids = (0..count).map(|n| {
            if n % 3 != 2 {
                return self.daemon.track(&format!("https://a.example/{n}?q=ø'\""));
            }
            let body = json!({
                "projectId": "default", "trackingId": "signup", "eventType": "click",
                "sessionId": "s", "metadata": { "n": n, "x": 0.1 }
            });
            let answer = self.daemon.post("/track-event", &body);
            answer.json()["eventId"].as_str().unwrap().to_owned()
        });
        ids.collect()
    }

    fn verify(&self, more: &[&str]) -> Said {
        run(&self.daemon, &[&ALL, more].concat())
    }

    /// Waits until this many events match, and there are no others.
    #[track_caller]
    fn matched(&self, count: usize) {
        // Events that one path has not stored yet are mismatches until then.
        eventually(DEADLINE, "all are stored both ways, and settled", || {
            let summary = self.verify(&[]).summary;
            summary["matched"] == json!(count) && summary["notSettled"] == 0
        });
        let said = self.verify(&[]);
        assert_eq!(said.code, 0, "{:?}", said.mismatches);
    }

    /// Changes stored data.
    fn change(&self, sql: &str) {
        match &self.servers {
            Some((_, database)) => {
                database.query(sql);
            }
            None => {
                let file = rusqlite::Connection::open(self.daemon.data_dir().join("store.db"));
                let file = file.unwrap();
                file.busy_timeout(DEADLINE).unwrap();
                file.execute_batch(sql).unwrap();
            }
        }
    }

    fn delete(&self, table: &str, id: &str) {
        self.change(&format!("DELETE FROM {table} WHERE id = '{id}'"));
    }

    /// Stores a row again.
    fn duplicate(&self, table: &str, id: &str) {
        if self.servers.is_none() {
            self.change(&format!("DROP INDEX {table}_id"));
        }
        self.change(&format!("INSERT INTO {table} SELECT * FROM {table} WHERE id = '{id}'"));
    }

    fn update(&self, table: &str, set: &str, id: &str) {
        self.change(&match self.servers {
            Some(_) => format!(
                "ALTER TABLE {table} UPDATE {set} WHERE id = '{id}' SETTINGS mutations_sync = 1"
            ),
            None => format!("UPDATE {table} SET {set} WHERE id = '{id}'"),
        });
    }
}

fn run(daemon: &Daemon, arguments: &[&str]) -> Said {
    let config = daemon.scratch().join("bklit.toml");
    let settings = ["--config", config.to_str().unwrap()];
    let output = Cli::on(&daemon.data_dir()).run(&[arguments, &settings].concat());
    let lines = output.stdout.lines().map(|line| serde_json::from_str(line).unwrap());
    let mut mismatches: Vec<Value> = lines.collect();
    let summary = mismatches.pop_if(|last| last["summary"] == true).unwrap_or_default();
    Said { code: output.code.unwrap(), mismatches, summary, error: output.stderr }
}

/// The next line with this message.
fn line_with(mut next: impl FnMut() -> Option<String>, message: &str) -> Value {
    loop {
        let line: Value = serde_json::from_str(&next().unwrap()).unwrap();
        if line["message"] == message {
            return line;
        }
    }
}

#[track_caller]
fn says(said: &Said, id: &str, problem: &str, field: Option<&str>) {
    let found = said.mismatches.iter().find(|mismatch| mismatch["eventId"] == json!(id));
    let found = found.unwrap_or_else(|| panic!("{id} is not among {:?}", said.mismatches));
    assert_eq!(found["problem"], json!(problem), "{found}");
    assert_eq!(found["projectId"], "default");
    let fields = found["fields"].as_array();
    assert_eq!(fields.map(|all| &all[0]["field"]), field.map(|name| json!(name)).as_ref());
}

/// Each kind of damage on either side is found, and named by id and field.
fn damage_is_found(bench: &Bench) {
    let ids = bench.send(12);
    bench.matched(ids.len());
    let rate = |said: &Said| said.summary["matchRate"].clone();
    assert_eq!(rate(&bench.verify(&[])), json!("100"));
    let (views, customs) = ("page_view_event", "tracked_event");
    let (direct_views, direct_customs) = ("page_view_event_baseline", "tracked_event_baseline");
    bench.delete(views, &ids[0]);
    bench.delete(customs, &ids[2]);
    bench.delete(direct_views, &ids[3]);
    bench.update(views, "title = 'other'", &ids[4]);
    bench.update(direct_customs, "metadata = '{}'", &ids[5]);
    bench.duplicate(views, &ids[6]);
    bench.duplicate(direct_views, &ids[7]);
    let said = bench.verify(&[]);
    assert_eq!((said.code, said.mismatches.len()), (1, 7), "{}", said.error);
    says(&said, &ids[0], "missing in the queue path", None);
    says(&said, &ids[2], "missing in the queue path", None);
    says(&said, &ids[3], "missing in the baseline", None);
    says(&said, &ids[4], "fields differ", Some("title"));
    says(&said, &ids[5], "fields differ", Some("metadata"));
    says(&said, &ids[6], "stored more than once through the queue", None);
    says(&said, &ids[7], "more than once in the baseline", None);
    assert_eq!(said.summary["matched"], 5);
    assert_eq!(rate(&said), json!("41.66"));
    // A limit bounds what is printed, never what is counted.
    let said = bench.verify(&["--limit", "2"]);
    assert_eq!((said.code, said.mismatches.len()), (1, 2));
    assert_eq!(said.summary["notPrinted"], 5);
    // Another project has nothing to compare, which is not a success.
    let said = bench.verify(&["--project", "other"]);
    assert_eq!((said.code, said.summary["matched"].clone()), (2, json!(0)));
    assert!(said.error.contains("Nothing to compare"), "{}", said.error);
}

#[test]
fn damage_is_found_on_files() {
    damage_is_found(&Bench::on_files());
}

#[test]
fn damage_is_found_on_servers() {
    damage_is_found(&Bench::on_servers());
}

#[test]
fn the_report_is_readable() {
    let bench = Bench::on_files();
    let ids = bench.send(3);
    bench.matched(3);
    let said = bench.daemon.cli(&["verify", "--since", "1h"]);
    assert!(said.contains("match rate 100 %") && said.contains("3  matched"), "{said}");
    bench.update("page_view_event", "url = 'x'", &ids[0]);
    let config = bench.daemon.scratch().join("bklit.toml");
    let arguments = ["verify", "--since", "1h", "--config", config.to_str().unwrap()];
    let output = Cli::on(&bench.daemon.data_dir()).run(&arguments);
    assert_eq!(output.code, Some(1));
    let said = output.stdout;
    assert!(said.contains(&format!("{} pageview of default: fields differ", ids[0])), "{said}");
    assert!(said.contains("url: queue \"x\", baseline \"https://"), "{said}");
    assert!(said.contains("match rate 66.66 %"), "{said}");
}

#[test]
fn without_a_baseline_nothing_is_verified() {
    let daemon = Daemon::start();
    daemon.track("https://a.example/");
    let said = run(&daemon, &ALL);
    assert_eq!(said.code, 2, "{}", said.error);
    assert!(said.error.contains("--dual-write"), "{}", said.error);
    let output = Cli::new().run(&["verify", "--since", "1h"]);
    assert_eq!(output.code, Some(2), "{}", output.stderr);
    assert!(output.stderr.contains("no data in"), "{}", output.stderr);
    let wrong = Cli::new().run(&["verify", "--since", "yesterday"]);
    assert!(wrong.failed().contains("invalid time"));
}

#[test]
fn a_retry_is_written_once_and_each_event_is_logged() {
    let bench = Bench::on_servers();
    let mut stream = bench.daemon.debug_stream();
    let body =
        json!({ "url": "https://a.example/", "projectId": "default", "eventId": "evt_mine" });
    for _ in 0..3 {
        assert_eq!(bench.daemon.post("/track", &body).status, 200);
    }
    let line = line_with(|| stream.next_data(), "Event matched between systems");
    assert_eq!((&line["eventId"], &line["stage"]), (&json!("evt_mine"), &json!("clickhouse")));
    bench.matched(1);
    let direct = bench.daemon.scalar("SELECT count() FROM page_view_event_baseline");
    assert_eq!(direct, json!(1));
}

#[test]
fn a_time_without_dual_write_is_not_verified() {
    let config = |daemon: &Daemon, text: &str| {
        std::fs::write(daemon.scratch().join("bklit.toml"), text).unwrap();
    };
    let bench = Bench::on_files();
    bench.send(2);
    bench.matched(2);
    config(&bench.daemon, "");
    let bench = Bench { daemon: bench.daemon.restart(), servers: None };
    bench.send(3);
    eventually(DEADLINE, "they are stored", || {
        bench.daemon.scalar("SELECT count() FROM page_view_event") == json!(4)
    });
    config(&bench.daemon, VERIFY);
    let bench = Bench { daemon: bench.daemon.restart(), servers: None };
    bench.send(2);
    eventually(DEADLINE, "the others match", || {
        let said = bench.verify(&[]);
        said.code == 2
            && said.summary["matched"] == json!(4)
            && said.summary["notWritten"] == json!(3)
    });
}

/// The process's own findings are in lines and metrics.
#[test]
fn a_live_mismatch_is_reported() {
    let bench = Bench::on_files();
    bench.change(
        "CREATE TRIGGER t AFTER INSERT ON page_view_event WHEN new.url LIKE '%lost%' \
                  BEGIN DELETE FROM page_view_event WHERE id = new.id; END; \
                  CREATE TRIGGER u AFTER INSERT ON page_view_event WHEN new.url LIKE '%turned%' \
                  BEGIN UPDATE page_view_event SET title = 'x' WHERE id = new.id; END;",
    );
    let mut stream = bench.daemon.debug_stream();
    let lost = bench.daemon.track("https://a.example/lost");
    let turned = bench.daemon.track("https://a.example/turned");
    bench.daemon.track("https://a.example/fine");
    let message = "Event does not match between systems";
    let lines = [(); 2].map(|()| line_with(|| stream.next_data(), message));
    let of = |id: &str| lines.iter().find(|line| line["eventId"] == json!(id)).unwrap();
    assert_eq!(of(&lost)["level"], "error");
    assert_eq!(of(&lost)["data"]["problem"], "missing in the queue path");
    assert_eq!(of(&turned)["level"], "warn");
    assert_eq!(of(&turned)["data"]["fields"][0]["field"], "title");
    let metrics = || bench.daemon.get("/metrics").text();
    for (outcome, count) in [("matched", 1), ("missing_in_queue_path", 1), ("different", 1)] {
        let line = format!("bklit_verified_events_total{{outcome=\"{outcome}\"}} {count}");
        eventually(DEADLINE, &line, || metrics().contains(&line));
    }
}

/// Two processes on the same tables count each event once.
#[test]
fn two_processes_count_their_own_events() {
    let redis = RedisServer::start(Kind::Valkey, &[]);
    let database = ClickHouse::shared();
    let settings = format!(
        "redis_url = '{}'\nclickhouse_url = '{}'\nclickhouse_database = '{}'\n{VERIFY}",
        redis.url(),
        database.url(),
        database.name()
    );
    let daemons = [Daemon::with_settings(&settings), Daemon::with_settings(&settings)];
    eventually(DEADLINE, "the first token", || daemons[0].data_dir().join("token").exists());
    let token = daemons[0].token();
    for (daemon, count) in daemons.iter().zip([5, 3]) {
        for n in 0..count {
            let authorization = format!("Bearer {token}");
            let headers =
                [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
            let body = json!({ "url": format!("https://a.example/{n}"), "projectId": "default" });
            let body = body.to_string();
            let answer =
                crate::support::request(daemon.addr, "POST", "/track", &headers, body.as_bytes());
            assert_eq!(answer.unwrap().status, 200);
        }
    }
    for (daemon, count) in daemons.iter().zip([5, 3]) {
        let line = format!("bklit_verified_events_total{{outcome=\"matched\"}} {count}\n");
        eventually(DEADLINE, &line, || daemon.get("/metrics").text().contains(&line));
    }
}
