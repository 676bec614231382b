//! Repeated kill -9 of the whole process under load, on one data dir.

use rustix::process::Signal;

use super::load::{DEADLINE, answers, drained, stored, under_load};
use super::oracle::violations;
use crate::support::Daemon;
use crate::support::servers::{ClickHouse, Kind, RedisServer, settings_on};

#[test]
fn kill_9_under_load_loses_nothing_and_stores_nothing_twice() {
    kill_again_and_again("", 12);
}

#[test]
fn kill_9_under_load_on_redis_and_clickhouse_loses_and_repeats_nothing() {
    let redis = RedisServer::start(Kind::Valkey, &[]);
    let clickhouse = ClickHouse::own();
    let settings = format!("{}[worker]\nlease = '1s'", settings_on(&redis, &clickhouse));
    kill_again_and_again(&settings, 6);
}

fn kill_again_and_again(settings: &str, kills: usize) {
    let mut daemon = Daemon::with_settings(settings);
    let mut sent = Vec::new();
    let mut random = fastrand::Rng::new();
    for round in 0..kills {
        // From the first responses until the worker is processing batches.
        let after = random.usize(1..1_500);
        sent.extend(under_load(&mut daemon, &round.to_string(), |daemon, answered| {
            answers(answered, after);
            daemon.kill9();
        }));
        daemon = daemon.restart();
    }
    drained(&daemon);
    daemon.signal(Signal::TERM);
    assert!(daemon.wait_exit(DEADLINE).success(), "{}", daemon.stderr());
    let stored = stored(&daemon);
    assert_eq!(violations(&sent, &stored), Vec::<String>::new());
    assert!(stored.len() >= kills, "the load reached the store");
    println!("{kills} kills, {} requests, {} stored", sent.len(), stored.len());
}
