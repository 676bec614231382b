//! How fast the worker moves a backlog from Redis to ClickHouse, compared with inserting the same rows
//! into the same server with the client library. See bench/README.md.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod cpu;
mod raw;
#[allow(dead_code, unused_imports)]
#[path = "../../tests/support/mod.rs"]
mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use clap::Parser;
use cpu::Cpu;
use support::servers::{ClickHouse, Kind, RedisServer};
use support::{Daemon, eventually};

const DEADLINE: Duration = Duration::from_secs(600);
const TABLE: &str = "analytics.page_view_event";
/// Items per `LPUSH`.
const CHUNK: usize = 1_000;

#[derive(Parser)]
struct Options {
    /// Page views in the backlog
    #[arg(long, default_value_t = 200_000)]
    events: usize,
    /// Most events in a batch, and rows in an insert
    #[arg(long, default_value_t = 10_000)]
    batch: usize,
    /// Workers in the process
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// How often to repeat both
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    let mut ratios = Vec::new();
    for _ in 0..options.rounds {
        let redis = RedisServer::start(Kind::Valkey, &[]);
        let clickhouse = ClickHouse::own();
        let (took, worker_cpu) = drain(&options, &redis, &clickhouse);
        let worker = options.events as f64 / took.as_secs_f64();
        let (took, raw_cpu) = raw::insert(&clickhouse, TABLE, options.events, options.batch);
        let raw = options.events as f64 / took.as_secs_f64();
        println!("worker {worker:>8.0}/s   raw insert {raw:>8.0}/s   ratio {:.3}", worker / raw);
        let of_a_batch = |cpu: Cpu| cpu.per(options.events as f64 / options.batch as f64);
        println!(
            "  CPU of a batch: worker {}; raw {}",
            of_a_batch(worker_cpu),
            of_a_batch(raw_cpu)
        );
        ratios.push(worker / raw);
    }
    ratios.sort_by(f64::total_cmp);
    println!("worker to raw insert: {:.3}", ratios[ratios.len() / 2]);
}

/// Measures from the first claim until everything is stored and acknowledged.
fn drain(options: &Options, redis: &RedisServer, clickhouse: &ClickHouse) -> (Duration, Cpu) {
    fill(redis, options.events);
    let daemon = Daemon::with_settings(&format!(
        "roles = ['worker']\nredis_url = '{}'\nclickhouse_url = '{}'\n[worker]\n\
         batch_size = {}\nworkers = {}",
        redis.url(),
        clickhouse.url(),
        options.batch,
        options.workers
    ));
    let depth = || redis.cli(&["LLEN", "analytics:queue"]).parse::<usize>().unwrap();
    let waiting = depth();
    let cpu = Cpu::now();
    let began = Instant::now();
    eventually(DEADLINE, "the backlog is stored", || {
        depth() == 0 && redis.cli(&["ZCARD", "analytics:queue:inflight"]) == "0"
    });
    let (took, cpu) = (began.elapsed(), cpu.since());
    let stored = clickhouse.query(&format!("SELECT uniqExact(id), count() FROM {TABLE}"));
    assert_eq!(stored, format!("{0}\t{0}", options.events));
    drop(daemon);
    // Events claimed before the clock started are not counted.
    let whole = options.events as f64 / waiting.max(1) as f64;
    (took.mul_f64(whole), cpu.per(1.0 / whole))
}

/// Pushes page views to the list, as a producer of the existing system does.
fn fill(redis: &RedisServer, events: usize) {
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", redis.port())).unwrap());
    let numbers: Vec<_> = (0..events).collect();
    for chunk in numbers.chunks(CHUNK) {
        let mut command =
            format!("*{}\r\n$5\r\nLPUSH\r\n$15\r\nanalytics:queue\r\n", chunk.len() + 2);
        for n in chunk {
            let member = member(*n);
            command += &format!("${}\r\n{member}\r\n", member.len());
        }
        stream.get_mut().write_all(command.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_line(&mut answer).unwrap();
        assert!(answer.starts_with(':'), "{answer}");
    }
}

fn member(n: usize) -> String {
    // As at a thousand events a second.
    let (session, minute, second) = (n / 5, n / 60_000 % 60, n / 1_000 % 60);
    serde_json::json!({
        "id": format!("evt_0198a6f0c5a87c3d9e4f{n:012x}"),
        "type": "pageview",
        "payload": {
            "url": format!("https://www.example.com/docs/page-{}?utm_source=newsletter", n % 500),
            "projectId": "default",
            "timestamp": format!("2026-01-31T12:{minute:02}:{second:02}.000Z"),
            "sessionId": format!("0198a6f0-c5a8-7c3d-9e4f-{session:012x}"),
            "userAgent": "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
            "referrer": "https://www.google.com/",
            "title": "Getting started",
            "language": "en-US",
            "utmSource": "newsletter",
            "landingPage": "https://www.example.com/",
            "isNewVisitor": true,
        },
        "queuedAt": format!("2026-01-31T12:{minute:02}:{second:02}.005Z"),
        "projectId": "default",
    })
    .to_string()
}
