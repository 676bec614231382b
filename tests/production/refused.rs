//! Redis rejects writes inside its scripts, and accepts them later.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{QUEUE, VIEWS, stored};
use crate::support::servers::{Kind, RedisServer};
use crate::support::{DEADLINE, Daemon, eventually};

const FAILED: &str = "analytics:queue:failed";

fn figure(daemon: &Daemon, name: &str) -> Value {
    daemon.get("/api/queue").json()[name].clone()
}

/// A daemon that uses its own Redis user, whose permissions a test may revoke.
fn daemon_as_app(redis: &RedisServer) -> Daemon {
    redis.cli(&["ACL", "SETUSER", "app", "on", ">a", "~*", "&*", "+@all"]);
    let url = redis.url().replace("redis://", "redis://app:a@");
    let daemon = Daemon::with_settings(&format!("redis_url = '{url}'"));
    daemon.track("https://a.example/first");
    stored(&daemon, 1);
    eventually(DEADLINE, "the queue is empty", || redis.cli(&["EXISTS", QUEUE]) == "0");
    daemon
}

#[test]
fn events_that_redis_rejects_are_stored_once_it_accepts_them() {
    for kind in Kind::ALL {
        let redis = RedisServer::start(kind, &[]);
        let daemon = daemon_as_app(&redis);
        let mut ids = BTreeSet::new();
        let faults: [(&[&str], &[&str]); 3] = [
            (&["SET", QUEUE, "x"], &["DEL", QUEUE]),
            (&["ACL", "SETUSER", "app", "-lpush"], &["ACL", "SETUSER", "app", "+lpush"]),
            (&["CONFIG", "SET", "maxmemory", "1"], &["CONFIG", "SET", "maxmemory", "0"]),
        ];
        for (refuse, allow) in faults {
            redis.cli(refuse);
            ids.extend((0..40).map(|n| daemon.track(&format!("https://a.example/{n}"))));
            eventually(DEADLINE, "they are spooled", || spooled(&daemon) == json!(40));
            redis.cli(allow);
            stored(&daemon, 1 + ids.len() as u64);
            eventually(DEADLINE, "the spool is empty", || spooled(&daemon) == json!(0));
        }
        assert_eq!(ids.len(), 120);
        let unique = "SELECT count(DISTINCT id) FROM page_view_event";
        assert_eq!(daemon.scalar(unique), json!(121));
        assert_eq!(daemon.scalar(VIEWS), json!(121), "each is stored once");
    }
}

/// How many events are in the spool; works while Redis is unreadable.
fn spooled(daemon: &Daemon) -> Value {
    daemon.get("/health").json()["spooled"].clone()
}

#[test]
fn a_failed_list_that_cannot_be_written_loses_no_rejected_event() {
    for kind in Kind::ALL {
        let redis = RedisServer::start(kind, &[]);
        let daemon = daemon_as_app(&redis);
        let faults: [(&[&str], &[&str]); 2] = [
            (&["SET", FAILED, "x"], &["DEL", FAILED]),
            (&["ACL", "SETUSER", "app", "-lpush"], &["ACL", "SETUSER", "app", "+lpush"]),
        ];
        for (refuse, allow) in faults {
            redis.cli(refuse);
            let failures = || daemon.stderr().matches("Cannot acknowledge").count();
            let before = failures();
            redis.cli(&["LPUSH", QUEUE, "not an event"]);
            eventually(DEADLINE, "the worker cannot finish it", || failures() > before);
            redis.cli(allow);
            eventually(DEADLINE, "it has failed", || figure(&daemon, "failed") == json!(1));
            assert_eq!(figure(&daemon, "inFlight"), json!(0));
            assert!(daemon.cli(&["queue", "retry", "--all"]).contains(": 1\n"));
            eventually(DEADLINE, "it has failed again", || figure(&daemon, "failed") == json!(1));
            assert!(daemon.cli(&["queue", "delete", "--all", "--yes"]).contains(": 1\n"));
        }
        assert_eq!(daemon.scalar(VIEWS), json!(1));
    }
}
