//! Several processes on one queue: one that is suspended too long, one that is stopped, and sharing
//! the work.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::load::{DEADLINE, Target, answers, drained, steady_load, stored};
use super::oracle::violations;
use crate::support::servers::{ClickHouse, Kind, RedisServer, settings_on};
use crate::support::{Daemon, Stream, eventually};

const INSERT: &str = "INSERT INTO page_view_event";

/// Two daemons on the same servers; the token is known to both.
pub fn two_daemons(redis: &RedisServer, clickhouse: &ClickHouse, more: &str) -> [Daemon; 2] {
    let settings = settings_on(redis, clickhouse) + more;
    [Daemon::with_settings(&settings), Daemon::with_settings(&settings)]
}

/// A figure of a process's `/metrics`.
fn figure(daemon: &Daemon, name: &str) -> f64 {
    let text = daemon.get("/metrics").text();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in\n{text}"))
}

/// Reads the daemon's lines until one has this message.
#[track_caller]
fn wait_for(stream: &mut Stream, message: &str) {
    let matches = |data: String| {
        let log: Value = serde_json::from_str(&data).unwrap();
        log["message"] == message
    };
    while !matches(stream.next_data().expect("the stream goes on")) {}
}

#[test]
fn a_worker_suspended_past_its_lease_is_refused() {
    let redis = RedisServer::start(Kind::Valkey, &[]);
    let clickhouse = ClickHouse::own();
    let [still, other] = two_daemons(&redis, &clickhouse, "[worker]\nlease = '1s'");
    let targets = [Target::of(&other, &still.token())];
    let sent = steady_load(&targets, "still", Duration::from_millis(1), |progress| {
        for fault in ["hang", "hang_after_commit", "hang"] {
            answers(&progress.kept, 50);
            let mut lines = still.debug_stream();
            // Only one of them is running, so it makes the insert that hangs.
            other.signal(Signal::STOP);
            clickhouse.fault(json!({ "match": INSERT, "kind": fault, "times": 1 }));
            eventually(DEADLINE, "an insert hangs", || clickhouse.faults()[0]["hits"] == 1);
            still.signal(Signal::STOP);
            clickhouse.heal();
            other.signal(Signal::CONT);
            // Everything claimed by now is stored by the other one.
            answers(&progress.kept, 50);
            eventually(DEADLINE, "the batch is taken over", || other.queue()["inFlight"] == 0);
            still.signal(Signal::CONT);
            wait_for(&mut lines, "Batch taken over by another worker");
        }
    });
    drained(&other);
    assert_eq!(violations(&sent, &stored(&other)), Vec::<String>::new());
}

#[test]
fn two_processes_share_one_queue_and_both_are_busy() {
    let redis = RedisServer::start(Kind::Redis, &[]);
    let clickhouse = ClickHouse::own();
    let more = "[worker]\nbatch_size = 20\nbatch_wait = '5ms'";
    let daemons = two_daemons(&redis, &clickhouse, more);
    let token = daemons[0].token();
    let targets = daemons.each_ref().map(|daemon| Target::of(daemon, &token));
    let sent = steady_load(&targets, "two", Duration::ZERO, |progress| {
        eventually(DEADLINE, "both have stored batches", || {
            daemons.iter().all(|daemon| figure(daemon, "bklit_batch_events_count") >= 20.0)
        });
        answers(&progress.kept, 500);
    });
    drained(&daemons[0]);
    drained(&daemons[1]);
    assert_eq!(violations(&sent, &stored(&daemons[0])), Vec::<String>::new());
}

#[test]
fn a_shutdown_under_load_stores_or_releases_what_it_holds() {
    let redis = RedisServer::start(Kind::Valkey, &[]);
    let clickhouse = ClickHouse::own();
    let [stopped, other] = two_daemons(&redis, &clickhouse, "");
    let token = stopped.token();
    let targets = [Target::of(&stopped, &token), Target::of(&other, &token)];
    let mut stopped = Some(stopped);
    let sent = steady_load(&targets, "stop", Duration::ZERO, |progress| {
        for _ in 0..4 {
            answers(&progress.kept, 300);
            let mut daemon = stopped.take().unwrap();
            daemon.signal(Signal::TERM);
            assert!(daemon.wait_exit(DEADLINE).success(), "{}", daemon.stderr());
            let restarted = stopped.insert(daemon.restart());
            targets[0].moved(restarted);
        }
    });
    drained(&other);
    drained(stopped.as_ref().unwrap());
    assert_eq!(violations(&sent, &stored(&other)), Vec::<String>::new());
}
