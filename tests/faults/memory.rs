//! The memory of the program while ClickHouse is unavailable, and its memory and descriptors over time.
//!
//! `scripts/memory.sh` runs it for longer and with more events than the test suite.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::connection::Connection;
use super::load::{DEADLINE, Stop, drained};
use crate::support::servers::{ClickHouse, Kind, RedisServer};
use crate::support::{Daemon, eventually};
use bklit_pipeline::worker::WorkerSettings;

/// Events queued in an outage.
const EVENTS: &str = "BKLIT_MEMORY_EVENTS";
/// Enough for several of the largest batches: what waits beyond them stays in the queue.
const FEW: usize = 60_000;
/// Seconds of steady traffic.
const SECONDS: &str = "BKLIT_MEMORY_SECONDS";
const SHORT: u64 = 60;
/// An optimised build of the program: another one is too slow for the rate.
const PROGRAM: &str = "BKLIT_MEMORY_PROGRAM";

/// By how much an outage may increase the memory, in MiB.
const OUTAGE_MIB: u64 = 64;
/// How much memory may grow under steady traffic after the first minute.
const GROWTH: f64 = 1.05;
/// The same for the few seconds of the test suite, after a quarter of them, as fast as events are
/// accepted.
const SHORT_GROWTH: f64 = 1.2;
/// After this many seconds, the program's bounded buffers are full and its batches have a steady
/// size.
const SMALL: &str = "debug_history = 500\nworker.batch_size = 500";
/// Events per second of steady traffic.
const RATE: usize = 2_000;

const SENDERS: usize = 4;
/// Events of one request.
const TOGETHER: usize = 20;
/// The interval between measurements.
const INTERVAL: Duration = Duration::from_millis(200);
/// How long the worker retries a batch, about once a second.
const RETRIES: Duration = Duration::from_secs(4);
/// Sessions at the same time.
const SESSIONS: usize = 5_000;

fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(name: &str) -> Option<T> {
    std::env::var(name).ok().map(|text| text.parse().expect(name))
}

/// A page view as browsers send it.
fn view(n: usize) -> Value {
    json!({
        "type": "pageview",
        "projectId": "default",
        "url": format!("https://shop.example/products/{n}?utm_source=newsletter&utm_medium=email"),
        "title": format!("Product {n} – a title as shops have it"),
        "description": "What search engines show of a page: one or two sentences about what it offers",
        "sessionId": format!("session-{}", n / 2 % SESSIONS),
        "userAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
                      Chrome/131.0.0.0 Safari/537.36",
        "referrer": "https://www.google.com/search?q=product",
        "language": "en-GB",
    })
}

/// Sends events until `stop` says so, at most at this rate, if any; returns how many were accepted.
fn send(daemon: &Daemon, rate: Option<usize>, stop: impl Fn(usize) -> bool + Sync) -> usize {
    let (address, token) = (daemon.addr, daemon.token());
    let (next, sent) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| {
                let mut connection = Connection::open(address, &token).unwrap();
                while !stop(sent.load(SeqCst)) {
                    let first = next.fetch_add(TOGETHER, SeqCst);
                    if let Some(rate) = rate {
                        let due = Duration::from_secs_f64(first as f64 / rate as f64);
                        std::thread::sleep(due.saturating_sub(began.elapsed()));
                    }
                    let events: Value = (first..first + TOGETHER).map(view).collect();
                    let (status, body) = connection.post("/batch", &events).unwrap();
                    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
                    sent.fetch_add(TOGETHER, SeqCst);
                }
            });
        }
    });
    sent.into_inner()
}

fn start(redis: Option<&RedisServer>, clickhouse: &ClickHouse, more: &str) -> Daemon {
    let redis = redis.map(|redis| format!("redis_url = '{}'\n", redis.url())).unwrap_or_default();
    let settings = format!(
        "{redis}clickhouse_url = '{}'\nworker.max_backoff = '1s'\n{more}",
        clickhouse.url()
    );
    let program = std::env::var_os(PROGRAM).map(std::path::PathBuf::from);
    let daemon = match program {
        Some(program) => Daemon::of_build(&program, &settings, &[]),
        None => Daemon::with_settings(&settings),
    };
    eventually(DEADLINE, "the tables exist", || {
        daemon.cli(&["migrate", "--dry-run"]).contains("up to date")
    });
    daemon
}

fn descriptors(daemon: &Daemon) -> usize {
    let dir = format!("/proc/{}/fd", daemon.pid().as_raw_nonzero());
    std::fs::read_dir(dir).unwrap().count()
}

/// Measures memory while `happens` runs; returns the maximum, in KiB.
fn most_while(daemon: &Daemon, happens: impl FnOnce()) -> u64 {
    let (done, began) = (AtomicBool::new(false), Instant::now());
    std::thread::scope(|scope| {
        let stopping = Stop(&done);
        let measuring = scope.spawn(|| {
            let (mut most, mut shown) = (0, 0);
            while !done.load(SeqCst) {
                let now = daemon.resident_kib();
                most = most.max(now);
                if began.elapsed().as_secs() >= shown {
                    shown += 10;
                    println!("{:>6.0?} {} MiB", began.elapsed(), now >> 10);
                }
                std::thread::sleep(INTERVAL);
            }
            most
        });
        happens();
        drop(stopping);
        measuring.join().unwrap()
    })
}

/// The queue holds waiting events, and the worker one batch, however long the outage lasts.
#[test]
fn events_waiting_for_clickhouse_are_not_held_in_memory() {
    let events = number(EVENTS).unwrap_or(FEW);
    // The first batch is a large one.
    let settings = format!(
        "queue.max_depth = {}\nlimits.queue_share = 100\nworker.batch_wait = '20s'",
        events * 2
    );
    for with_redis in [true, false] {
        let redis = with_redis.then(|| RedisServer::start(Kind::Valkey, &[]));
        let mut clickhouse = ClickHouse::own();
        let daemon = start(redis.as_ref(), &clickhouse, &settings);
        let idle = daemon.resident_kib() >> 10;
        clickhouse.kill9();
        let most = most_while(&daemon, || {
            send(&daemon, None, |sent| sent >= events);
            // The bytes of a batch are bounded, too.
            let large = WorkerSettings::default().batch_size as u64 / 2;
            eventually(DEADLINE, "the worker holds a large batch", || {
                daemon.queue()["inFlight"].as_u64() >= Some(large)
            });
            // It is encoded and sent repeatedly.
            std::thread::sleep(RETRIES);
        }) >> 10;
        let queue = daemon.queue();
        let waits = queue["waiting"].as_u64().unwrap() + queue["inFlight"].as_u64().unwrap();
        println!("{waits} events, with Redis: {with_redis}: idle {idle} MiB, at most {most} MiB");
        assert!(waits >= events as u64, "{queue}");
        assert!(most <= idle + OUTAGE_MIB, "{idle} MiB, then {most} MiB");
    }
}

/// Median of the measurements.
fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    *values.get(values.len() / 2).expect("measurements: the machine is too busy")
}

/// Takes long, and needs a machine with little other work.
#[test]
#[ignore = "run by scripts/memory.sh"]
fn steady_traffic_takes_no_more_memory_and_descriptors_over_time() {
    let seconds = number(SECONDS);
    let (growth, total) = match seconds {
        Some(seconds) => (GROWTH, seconds),
        None => (SHORT_GROWTH, SHORT),
    };
    let (redis, clickhouse) = (RedisServer::start(Kind::Valkey, &[]), ClickHouse::own());
    let (rate, settings) = if seconds.is_some() { (Some(RATE), "") } else { (None, SMALL) };
    let daemon = start(Some(&redis), &clickhouse, settings);
    let began = Instant::now();
    let (total, first) = (Duration::from_secs(total), Duration::from_secs((total / 4).min(60)));
    // From `first` on, and at the end: as long as memory takes to rise and fall with batches.
    let (mut early, mut late) = (Vec::new(), Vec::new());
    let mut most_open = [0; 2];
    let mut sent = 0;
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| send(&daemon, rate, |_| began.elapsed() >= total));
        let mut shown = Duration::ZERO;
        while !sending.is_finished() {
            let (at, now) = (began.elapsed(), daemon.resident_kib());
            if at >= shown {
                let waiting = &daemon.queue()["waiting"];
                let open = descriptors(&daemon);
                println!("{at:>6.0?} {now} KiB, {open} descriptors, {waiting} waiting");
                shown += first / 2;
            }
            if (first..2 * first).contains(&at) {
                early.push(now);
                most_open[0] = most_open[0].max(descriptors(&daemon));
            } else if (total - first..total).contains(&at) {
                late.push(now);
                most_open[1] = most_open[1].max(descriptors(&daemon));
            }
            std::thread::sleep(INTERVAL);
        }
        sent = sending.join().unwrap();
    });
    let took = began.elapsed();
    let (early, late) = (median(early), median(late));
    println!(
        "{sent} events in {took:.0?}: {early} KiB after {first:?}, {late} KiB at the end, medians of as \
         long; at most {most_open:?} descriptors"
    );
    assert!(late as f64 <= early as f64 * growth, "{early} KiB, then {late} KiB");
    assert!(most_open[1] <= most_open[0], "descriptors: {most_open:?}");
    drained(&daemon);
}
