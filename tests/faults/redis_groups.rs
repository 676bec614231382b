//! Sentinel and Cluster under load: a failover, a primary that hangs, a slot that is moved, a node
//! that crashes. Events are accepted throughout, and stored once.

use super::load::{DEADLINE, answers, drained, stored, under_load};
use super::oracle::violations;
use crate::support::servers::{ClickHouse, RedisCluster, Sentinels};
use crate::support::{Daemon, eventually};

const SOME: usize = 200;

fn start(redis_url: &str, clickhouse: &ClickHouse) -> Daemon {
    Daemon::with_settings(&format!(
        "redis_url = '{redis_url}'\nclickhouse_url = '{}'\n[queue]\ndurability = 'always'\n\
         [worker]\nlease = '2s'\nmax_backoff = '500ms'",
        clickhouse.url()
    ))
}

fn is_spooling(daemon: &Daemon) -> bool {
    daemon.get("/health").json()["spooled"].as_u64() > Some(0)
}

/// How often the scripts of the queue were called on a server.
fn evaluated(sentinels: &Sentinels, server: usize) -> u64 {
    let stats = sentinels.servers[server].cli(&["INFO", "commandstats"]);
    let calls =
        stats.split("cmdstat_evalsha:calls=").nth(1).and_then(|rest| rest.split(',').next());
    calls.map_or(0, |calls| calls.parse().unwrap())
}

/// Waits until one server follows the other, whichever of them is the primary by now. Sentinel would make
/// it do so, too, but on a busy machine it may pause for half a minute.
fn in_sync(sentinels: &Sentinels) {
    eventually(DEADLINE, "one server follows the other", || {
        let primary = sentinels.primary();
        let (port, replica) =
            (sentinels.servers[primary].port().to_string(), &sentinels.servers[1 - primary]);
        // A change of role closes connections.
        let info = replica.try_cli(&["INFO", "replication"]).unwrap_or_default();
        if !info.contains(&format!("master_port:{port}")) {
            let _ = replica.try_cli(&["REPLICAOF", "127.0.0.1", &port]);
        }
        info.contains(&format!("master_port:{port}")) && info.contains("master_link_status:up")
    });
}

#[test]
fn a_failover_loses_and_repeats_nothing() {
    let mut sentinels = Sentinels::start(&[("appendfsync", "always")]);
    let clickhouse = ClickHouse::own();
    let mut daemon = start(&sentinels.url(), &clickhouse);
    let sent = under_load(&mut daemon, "failover", |daemon, answered| {
        for hangs in [false, true, false] {
            answers(answered, SOME);
            let primary = sentinels.primary();
            if hangs {
                sentinels.servers[primary].freeze();
            } else {
                sentinels.servers[primary].kill9();
                eventually(DEADLINE, "events are spooled", || is_spooling(daemon));
            }
            eventually(DEADLINE, "the replica is promoted", || sentinels.primary() != primary);
            // Under load, new events join those in the spool, so that it need not become empty.
            let received = || evaluated(&sentinels, 1 - primary);
            let before = received();
            eventually(DEADLINE, "the new primary is used", || received() > before);
            answers(answered, SOME);
            if hangs {
                sentinels.servers[primary].thaw();
            } else {
                sentinels.servers[primary].restart();
            }
            in_sync(&sentinels);
        }
        answers(answered, SOME);
    });
    drained(&daemon);
    assert!(sent.iter().all(|request| request.answered.is_some()), "a request had no answer");
    assert_eq!(violations(&sent, &stored(&daemon)), Vec::<String>::new());
}

#[test]
fn a_moved_slot_and_a_crashed_node_lose_and_repeat_nothing() {
    let mut cluster = RedisCluster::start(&[("appendfsync", "always")]);
    let clickhouse = ClickHouse::own();
    let mut daemon = start(&cluster.url(), &clickhouse);
    let sent = under_load(&mut daemon, "cluster", |daemon, answered| {
        for key in ["analytics:queue", "bklit:tokens", "analytics:queue"] {
            answers(answered, SOME);
            let moving = cluster.begin_move(key);
            answers(answered, SOME);
            moving.move_keys();
            answers(answered, SOME);
            moving.finish();
            answers(answered, SOME);
        }
        let port = cluster.owner("analytics:queue").port();
        let owner = cluster.nodes.iter_mut().find(|node| node.port() == port).unwrap();
        owner.kill9();
        eventually(DEADLINE, "events are spooled", || is_spooling(daemon));
        owner.restart();
        answers(answered, SOME);
    });
    drained(&daemon);
    assert!(sent.iter().all(|request| request.answered.is_some()), "a request had no answer");
    assert_eq!(violations(&sent, &stored(&daemon)), Vec::<String>::new());
}
