//! Faults at random, one after the other, on two processes with Redis and ClickHouse under load.
//!
//! `scripts/faults.sh` runs it for a given time; in the test suite it is short.

mod cluster;
mod sentinel;
mod single;
mod world;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use self::world::World;
use super::load::{DEADLINE, Progress, Steady, Target, answers, steady_mix};
use super::oracle::{Sent, Stored, violations};
use super::sessions::{states, versions, wrong_states, wrong_versions};
use super::traffic::Mix;
use crate::support::eventually;
use crate::support::servers::{RedisCluster, RedisServer, Sentinels};

/// Duration in seconds.
const SECONDS: &str = "BKLIT_FAULT_SECONDS";
/// The random seed; printed by each run.
const SEED: &str = "BKLIT_FAULT_SEED";
/// More settings, in lines such as `queue.max_depth = 5000`.
const SETTINGS: &str = "BKLIT_FAULT_SETTINGS";
const SHORT_RUN: u64 = 15;
/// Limits the rows of a long run to what can be compared in memory.
const PAUSE: Duration = Duration::from_millis(20);
/// The pause between two faults.
const SOME: usize = 30;
/// How long faults affect the same process, so that the other one runs for two sweeps of sessions
/// and completes those of the killed process.
const SHIFT: Duration = Duration::from_secs(150);
/// How long sessions may take to be complete. A process counts as dead when it has been silent for a
/// minute, then the next sweep completes its sessions, and the one after that ends them.
const SETTLED: Duration = Duration::from_secs(360);
/// Short enough that every fault takes effect and sweeps end sessions, and long enough for a busy
/// machine.
const FAST: &str = "queue.durability = 'always'\nworker.lease = '2s'\n\
                    worker.max_backoff = '500ms'\nworker.session_timeout = '5s'\n\
                    shutdown_timeout = '2m'\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    ProcessKilled,
    ProcessStoppedByTerm,
    ProcessHangs,
    RedisKilled,
    RedisHangs,
    RedisOutOfMemory,
    ReplicaKilled,
    ReplicaHangs,
    FailOver,
    SlotMoved,
    ClickHouseKilled,
    ClickHouseHangs,
    InsertFails,
    InsertHangs,
    InsertIsSlow,
    ResponseLostAfterCommit,
    ErrorAfterCommit,
    KilledAfterCommit,
    Garbage,
}

/// Faults that do not depend on how Redis is set up.
const COMMON: [Fault; 15] = [
    Fault::ProcessKilled,
    Fault::ProcessStoppedByTerm,
    Fault::ProcessHangs,
    Fault::RedisKilled,
    Fault::RedisHangs,
    Fault::RedisOutOfMemory,
    Fault::ClickHouseKilled,
    Fault::ClickHouseHangs,
    Fault::InsertFails,
    Fault::InsertHangs,
    Fault::InsertIsSlow,
    Fault::ResponseLostAfterCommit,
    Fault::ErrorAfterCommit,
    Fault::KilledAfterCommit,
    Fault::Garbage,
];

/// How Redis is set up.
trait Topology {
    /// The faults of this setup.
    const FAULTS: &'static [Fault];

    fn start() -> Self;

    fn url(&self) -> String;

    /// The server with the queue, which is running.
    fn primary(&self) -> &RedisServer;

    /// The logs of all servers.
    fn log(&self) -> String;

    /// Causes a fault of Redis, verifies that it took effect, and ends it. Afterwards all servers
    /// work, and their data are the same.
    fn fail(&mut self, fault: Fault, progress: &Progress);
}

#[test]
fn faults_on_one_server_lose_and_repeat_nothing() {
    run::<RedisServer>("");
}

#[test]
fn faults_with_sentinels_lose_and_repeat_nothing() {
    run::<Sentinels>("");
}

#[test]
fn faults_in_a_cluster_lose_and_repeat_nothing() {
    run::<RedisCluster>("");
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect(name))
}

/// Runs with these settings, in lines such as `queue.max_depth = 5000`.
fn run<T: Topology>(settings: &str) {
    let seconds = number(SECONDS);
    let time = Duration::from_secs(seconds.unwrap_or(SHORT_RUN));
    let seed = number(SEED).unwrap_or_else(|| fastrand::u64(..));
    println!("{SEED}={seed}");
    let more = std::env::var(SETTINGS).unwrap_or_default();
    let mut world = World::<T>::start(&format!("{FAST}{settings}\n{more}"));
    let targets = world.targets();
    let began = Instant::now();
    let mut counts = [0; 3];
    let load = Steady { name: "chaos", mix: Mix::Sessions, pause: PAUSE };
    let sent = steady_mix(&targets, load, |progress| {
        // Each process knows the token by then.
        for target in &targets {
            answers(&target.kept, SOME);
        }
        faults(&mut world, &targets, progress, time, fastrand::Rng::with_seed(seed));
        let Progress { kept, refused, cut } = progress;
        counts = [kept, refused, cut].map(|count: &AtomicUsize| count.load(SeqCst));
    });
    let took = began.elapsed();
    let stored = world.drained();
    let found = violations(&sent, &stored);
    if !found.is_empty() {
        println!("{}", world.redis.log());
    }
    assert_eq!(found, Vec::<String>::new(), "{SEED}={seed}");
    let wrong = wrong_states(&sent, &stored, states(&world.clickhouse));
    assert_eq!(wrong, Vec::<String>::new(), "{SEED}={seed}");
    if seconds.is_some() {
        settled(&world, &sent, &stored);
    }
    world.stop();
    let [kept, refused, cut] = counts;
    println!(
        "{} faults in {took:.0?}: {} events sent, {kept} answered 200, {refused} 503, {cut} not \
         answered; {} stored, each once; {} invalid items failed",
        world.done.values().sum::<usize>(),
        sent.len(),
        stored.len(),
        world.garbage
    );
    for (fault, times) in &world.done {
        println!("{times:>6} × {fault:?}");
    }
}

/// Causes one fault after the other for a given time.
fn faults<T: Topology>(
    world: &mut World<T>,
    targets: &[Target; 2],
    progress: &Progress,
    time: Duration,
    mut random: fastrand::Rng,
) {
    let began = Instant::now();
    let mut next = Vec::new();
    while began.elapsed() < time {
        // Each fault once before any is repeated.
        if next.is_empty() {
            next.extend(COMMON.iter().chain(T::FAULTS));
            random.shuffle(&mut next);
        }
        let fault = next.pop().unwrap();
        println!("{:>6.1?} {fault:?}", began.elapsed());
        let nth = (began.elapsed().as_secs() / SHIFT.as_secs() % 2) as usize;
        world.fault(fault, nth, targets, progress, &mut random);
        *world.done.entry(fault).or_default() += 1;
        answers(&progress.kept, SOME);
    }
}

/// Waits until every session is complete and has ended.
fn settled<T: Topology>(world: &World<T>, sent: &[Sent], stored: &[Stored]) {
    let began = Instant::now();
    let mut wrong = Vec::new();
    while began.elapsed() < SETTLED {
        let versions = versions(&world.clickhouse);
        wrong = wrong_versions(sent, stored, &versions);
        if wrong.is_empty() {
            let sessions: std::collections::BTreeSet<_> =
                versions.iter().map(|(session, _)| session).collect();
            println!(
                "{} sessions complete after {:.0?}, in {} versions",
                sessions.len(),
                began.elapsed(),
                versions.len()
            );
            return;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    panic!("sessions after {SETTLED:?}: {wrong:#?}");
}

/// Waits until a replica has all data that its primary has now.
fn replicated(primary: &RedisServer) {
    let field = |info: &str, name: &str| -> Option<u64> {
        info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    };
    let info = || primary.try_cli(&["INFO", "replication"]).unwrap_or_default();
    let until = field(&info(), "master_repl_offset:").expect("an offset");
    eventually(DEADLINE, "the replica has everything", || {
        info().lines().any(|line| {
            let offset = line.strip_prefix("slave").and_then(|line| line.split("offset=").nth(1));
            let offset = offset.and_then(|rest| rest.split(',').next()?.parse().ok());
            offset >= Some(until)
        })
    });
}

/// How long the program may take to notice a replica that has come back; see docs/redis.md.
const NEW_REPLICA: Duration = Duration::from_secs(6);

/// Waits until the program relies on the replica again.
fn replica_is_noticed() {
    std::thread::sleep(NEW_REPLICA);
}
