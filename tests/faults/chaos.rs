//! Faults at random, one after the other, on two processes with Redis and ClickHouse under load.
//!
//! `scripts/faults.sh` runs it for as long as it is told; in the test suite it is short.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::load::{DEADLINE, Progress, Target, answers, drained, steady_load, stored};
use super::oracle::violations;
use super::workers::two_daemons;
use crate::support::servers::{ClickHouse, Kind, RedisServer};
use crate::support::{Daemon, eventually};

/// Seconds to go on for.
const SECONDS: &str = "BKLIT_FAULT_SECONDS";
/// Where the random choice starts; a failed run tells its own.
const SEED: &str = "BKLIT_FAULT_SEED";
const SHORT_RUN: u64 = 15;
/// Keeps the rows of a long run to what can be compared in memory.
const PAUSE: Duration = Duration::from_millis(20);
/// Between two faults.
const SOME: usize = 30;
const QUEUE: &str = "analytics:queue";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    ProcessKilled,
    ProcessStoppedByTerm,
    ProcessStandsStill,
    RedisKilled,
    RedisHangs,
    RedisOutOfMemory,
    ClickHouseKilled,
    ClickHouseHangs,
    InsertFails,
    InsertHangs,
    InsertIsSlow,
    AnswerLostAfterCommit,
    ErrorAfterCommit,
    KilledAfterCommit,
    Garbage,
}

const FAULTS: [Fault; 15] = [
    Fault::ProcessKilled,
    Fault::ProcessStoppedByTerm,
    Fault::ProcessStandsStill,
    Fault::RedisKilled,
    Fault::RedisHangs,
    Fault::RedisOutOfMemory,
    Fault::ClickHouseKilled,
    Fault::ClickHouseHangs,
    Fault::InsertFails,
    Fault::InsertHangs,
    Fault::InsertIsSlow,
    Fault::AnswerLostAfterCommit,
    Fault::ErrorAfterCommit,
    Fault::KilledAfterCommit,
    Fault::Garbage,
];

/// Everything that can fail, and what was done to it.
struct World<'a> {
    redis: RedisServer,
    clickhouse: ClickHouse,
    daemons: [Option<Daemon>; 2],
    targets: &'a [Target; 2],
    garbage: usize,
    done: BTreeMap<Fault, usize>,
}

#[test]
fn faults_at_random_lose_nothing_and_store_nothing_twice() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect(name));
    let time = Duration::from_secs(number(SECONDS).unwrap_or(SHORT_RUN));
    let seed = number(SEED).unwrap_or_else(|| fastrand::u64(..));
    println!("{SEED}={seed}");
    let mut random = fastrand::Rng::with_seed(seed);

    let redis = RedisServer::start(Kind::Valkey, &[("appendfsync", "always")]);
    let clickhouse = ClickHouse::own();
    let more = "[queue]\ndurability = 'always'\n[worker]\nlease = '2s'\nmax_backoff = '500ms'";
    let daemons = two_daemons(&redis, &clickhouse, more);
    let token = daemons[0].token();
    let targets = daemons.each_ref().map(|daemon| Target::of(daemon, &token));
    let daemons = daemons.map(Some);
    let (garbage, done) = (0, BTreeMap::new());
    let mut world = World { redis, clickhouse, daemons, targets: &targets, garbage, done };
    let began = Instant::now();
    let mut counts = (0, 0, 0);
    let sent = steady_load(&targets, "chaos", PAUSE, |progress| {
        // Each process knows the token by then.
        for target in &targets {
            answers(&target.kept, SOME);
        }
        // All of them before any a second time.
        let mut next = Vec::new();
        while began.elapsed() < time {
            if next.is_empty() {
                next.extend(FAULTS);
                random.shuffle(&mut next);
            }
            let fault = next.pop().unwrap();
            println!("{:>6.1?} {fault:?}", began.elapsed());
            world.fault(fault, random.usize(..2), progress);
            *world.done.entry(fault).or_default() += 1;
            answers(&progress.kept, SOME);
        }
        let count = |counter: &std::sync::atomic::AtomicUsize| {
            counter.load(std::sync::atomic::Ordering::SeqCst)
        };
        counts = (count(&progress.kept), count(&progress.refused), count(&progress.cut));
    });
    let stored = world.end();
    assert_eq!(violations(&sent, &stored), Vec::<String>::new(), "{SEED}={seed}");
    let (kept, refused, cut) = counts;
    println!(
        "{:.0?}: {} requests, {kept} answered 200, {refused} 503, {cut} cut; {} stored, each once; \
         {} pieces of garbage failed",
        began.elapsed(),
        sent.len(),
        stored.len(),
        world.garbage
    );
    for (fault, times) in &world.done {
        println!("{times:>6} × {fault:?}");
    }
}

impl World<'_> {
    /// Makes one fault, makes sure that it is met, and ends it.
    fn fault(&mut self, fault: Fault, nth: usize, progress: &Progress) {
        match fault {
            Fault::ProcessKilled => self.restart(nth),
            Fault::ProcessStoppedByTerm => {
                let daemon = self.daemons[nth].as_mut().unwrap();
                daemon.signal(Signal::TERM);
                assert!(daemon.wait_exit(DEADLINE).success(), "{}", daemon.stderr());
                self.restart(nth);
            }
            Fault::ProcessStandsStill => {
                let daemon = self.daemons[nth].as_ref().unwrap();
                daemon.signal(Signal::STOP);
                // Longer than its lease.
                let still = Instant::now();
                eventually(DEADLINE, "the lease is over", || {
                    still.elapsed() > Duration::from_secs(3)
                });
                daemon.signal(Signal::CONT);
            }
            Fault::RedisKilled => {
                self.redis.kill9();
                answers(&progress.kept, SOME);
                self.redis.restart();
            }
            Fault::RedisHangs => {
                self.redis.freeze();
                answers(&progress.kept, SOME);
                self.redis.thaw();
            }
            Fault::RedisOutOfMemory => {
                self.redis.cli(&["CONFIG", "SET", "maxmemory", "1"]);
                answers(&progress.kept, SOME);
                self.redis.cli(&["CONFIG", "SET", "maxmemory", "0"]);
            }
            Fault::ClickHouseKilled => {
                self.clickhouse.kill9();
                answers(&progress.kept, SOME);
                self.clickhouse.restart();
            }
            Fault::ClickHouseHangs => {
                self.clickhouse.freeze();
                answers(&progress.kept, SOME);
                self.clickhouse.thaw();
            }
            Fault::InsertFails => self.insert("error"),
            Fault::InsertHangs => self.insert("hang"),
            Fault::InsertIsSlow => self.insert("slow"),
            Fault::AnswerLostAfterCommit => self.insert("drop_after_commit"),
            Fault::ErrorAfterCommit => self.insert("error_after_commit"),
            Fault::KilledAfterCommit => {
                self.met("kill_after_commit");
                self.clickhouse.restart();
            }
            Fault::Garbage => {
                let text = format!("garbage {}", self.garbage);
                self.redis.cli(&["LPUSH", QUEUE, &text]);
                self.garbage += 1;
            }
        }
    }

    /// Kills a daemon, unless it has ended, and starts it anew.
    fn restart(&mut self, nth: usize) {
        let daemon = self.daemons[nth].take().unwrap().restart();
        self.targets[nth].moved(&daemon);
        self.daemons[nth] = Some(daemon);
    }

    /// An insert meets a fault of the server.
    fn insert(&mut self, kind: &str) {
        self.met(kind);
        self.clickhouse.heal();
    }

    fn met(&mut self, kind: &str) {
        let insert = "INSERT INTO page_view_event";
        let fault = json!({ "match": insert, "kind": kind, "times": 1, "delay_ms": 2_500 });
        self.clickhouse.fault(fault);
        eventually(DEADLINE, kind, || {
            // One that is killed by it may break off its answer.
            let faults = self.clickhouse.try_faults();
            !self.clickhouse.is_running()
                || faults.is_ok_and(|faults| faults.iter().any(|fault| fault["hits"] == 1))
        });
    }

    /// Waits until all is stored, stops all, and returns what is stored.
    fn end(&mut self) -> Vec<super::oracle::Stored> {
        for daemon in self.daemons.iter().flatten() {
            drained(daemon);
        }
        for daemon in self.daemons.iter_mut().flatten() {
            daemon.signal(Signal::TERM);
            assert!(daemon.wait_exit(DEADLINE).success(), "{}", daemon.stderr());
        }
        let failed = self.redis.cli(&["LRANGE", "analytics:queue:failed", "0", "-1"]);
        assert_eq!(failed.matches("garbage ").count(), self.garbage, "{failed}");
        stored(self.daemons[0].as_ref().unwrap())
    }
}
