//! Everything that can fail, and the faults caused so far.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::{Fault, Topology};
use crate::faults::load::{DEADLINE, Progress, Target, drained, stored_by};
use crate::faults::oracle::Stored;
use crate::faults::sessions::rows;
use crate::support::servers::ClickHouse;
use crate::support::{Daemon, eventually};

const QUEUE: &str = "analytics:queue";
/// The tables whose inserts fail.
const TABLES: [&str; 4] =
    ["page_view_event", "tracked_event", "bklit_session_state", "tracked_session"];
/// Longer than the lease.
const HANGS: Duration = Duration::from_secs(3);

pub(super) struct World<T> {
    pub(super) redis: T,
    pub(super) clickhouse: ClickHouse,
    daemons: [Option<Daemon>; 2],
    /// Invalid items pushed.
    pub(super) garbage: usize,
    pub(super) done: BTreeMap<Fault, usize>,
}

impl<T: Topology> World<T> {
    pub(super) fn start(settings: &str) -> Self {
        let (redis, clickhouse) = (T::start(), ClickHouse::own());
        let settings = format!(
            "redis_url = '{}'\nclickhouse_url = '{}'\n{settings}",
            redis.url(),
            clickhouse.url()
        );
        let daemons = [(); 2].map(|()| Some(Daemon::with_settings(&settings)));
        Self { redis, clickhouse, daemons, garbage: 0, done: BTreeMap::new() }
    }

    /// Both processes, which know the same token.
    pub(super) fn targets(&self) -> [Target; 2] {
        let daemons = self.daemons.each_ref().map(|daemon| daemon.as_ref().unwrap());
        let token = daemons[0].token();
        daemons.map(|daemon| Target::of(daemon, &token))
    }

    /// Causes one fault, verifies that it took effect, and ends it.
    pub(super) fn fault(
        &mut self,
        fault: Fault,
        nth: usize,
        targets: &[Target; 2],
        progress: &Progress,
        random: &mut fastrand::Rng,
    ) {
        let table = TABLES[random.usize(..TABLES.len())];
        match fault {
            Fault::ProcessKilled => self.restart(nth, targets),
            Fault::ProcessStoppedByTerm => {
                self.terminate(nth);
                self.restart(nth, targets);
            }
            Fault::ProcessHangs => {
                let daemon = self.daemons[nth].as_ref().unwrap();
                daemon.signal(Signal::STOP);
                std::thread::sleep(HANGS);
                daemon.signal(Signal::CONT);
            }
            Fault::RedisOutOfMemory => {
                let primary = self.redis.primary();
                primary.cli(&["CONFIG", "SET", "maxmemory", "1"]);
                super::answers(&progress.kept, super::SOME);
                primary.cli(&["CONFIG", "SET", "maxmemory", "0"]);
            }
            Fault::RedisKilled
            | Fault::RedisHangs
            | Fault::ReplicaKilled
            | Fault::ReplicaHangs
            | Fault::FailOver
            | Fault::SlotMoved => self.redis.fail(fault, progress),
            Fault::ClickHouseKilled => {
                self.clickhouse.kill9();
                super::answers(&progress.kept, super::SOME);
                self.clickhouse.restart();
            }
            Fault::ClickHouseHangs => {
                self.clickhouse.freeze();
                super::answers(&progress.kept, super::SOME);
                self.clickhouse.thaw();
            }
            Fault::InsertFails => self.insert("error", table),
            Fault::InsertHangs => self.insert("hang", table),
            Fault::InsertIsSlow => self.insert("slow", table),
            Fault::ResponseLostAfterCommit => self.insert("drop_after_commit", table),
            Fault::ErrorAfterCommit => self.insert("error_after_commit", table),
            Fault::KilledAfterCommit => {
                self.met("kill_after_commit", table);
                self.clickhouse.restart();
            }
            Fault::Garbage => {
                let text = format!("garbage {}", self.garbage);
                self.redis.primary().cli(&["LPUSH", QUEUE, &text]);
                self.garbage += 1;
                if !T::FAULTS.is_empty() {
                    super::replicated(self.redis.primary());
                }
            }
        }
    }

    fn terminate(&mut self, nth: usize) {
        let daemon = self.daemons[nth].as_mut().unwrap();
        daemon.signal(Signal::TERM);
        assert!(daemon.wait_exit(DEADLINE).success(), "{}", daemon.stderr());
    }

    /// Kills a daemon, unless it has ended, and starts it again.
    fn restart(&mut self, nth: usize, targets: &[Target; 2]) {
        let daemon = self.daemons[nth].take().unwrap().restart();
        targets[nth].moved(&daemon);
        self.daemons[nth] = Some(daemon);
    }

    /// An insert is affected by a fault of the server.
    fn insert(&mut self, kind: &str, table: &str) {
        self.met(kind, table);
        if self.clickhouse.try_heal().is_err() {
            self.clickhouse.restart();
        }
    }

    fn met(&mut self, kind: &str, table: &str) {
        let insert = format!("INSERT INTO {table} ");
        let fault = json!({ "match": insert, "kind": kind, "times": 1, "delay_ms": 2_500 });
        // The engine sometimes crashes on its own, which is a fault like the others.
        while self.clickhouse.try_fault(&fault).is_err() {
            println!("ClickHouse has crashed");
            self.clickhouse.restart();
        }
        eventually(DEADLINE, &format!("{kind} {table}"), || {
            // The server may exit while it answers.
            let faults = self.clickhouse.try_faults();
            !self.clickhouse.is_running()
                || faults.is_ok_and(|faults| faults.iter().any(|fault| fault["hits"] == 1))
        });
    }

    /// Waits until everything is stored; returns it.
    pub(super) fn drained(&mut self) -> Vec<Stored> {
        if self.clickhouse.try_faults().is_err() {
            self.clickhouse.restart();
        }
        for daemon in self.daemons.iter().flatten() {
            drained(daemon);
        }
        let daemon = self.daemons[0].as_ref().unwrap();
        assert_eq!(daemon.queue()["failed"], self.garbage, "{}", daemon.cli(&["queue", "list"]));
        // Faster than the command of an unoptimised build.
        stored_by(|sql| rows(&self.clickhouse, &sql.replace("FROM ", "FROM analytics.")).collect())
    }

    /// Stops both processes.
    pub(super) fn stop(&mut self) {
        for nth in 0..self.daemons.len() {
            self.terminate(nth);
        }
    }
}
