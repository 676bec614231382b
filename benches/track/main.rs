//! How fast `POST /track` is with the embedded queue or Redis, compared with a minimal hyper server
//! that reads the body and responds; in one run, alternating, with the same load. See
//! bench/README.md.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod bare;
#[path = "../shared/cpu.rs"]
mod cpu;
mod load;
#[path = "../shared/record.rs"]
mod record;
mod summary;
#[allow(dead_code, unused_imports)]
#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../shared/traffic.rs"]
mod traffic;

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use cpu::Cpu;
use load::Load;
use summary::{Bytes, Run};
use support::command::PROGRAM;
use support::servers::{Kind as ServerKind, RedisServer};
use support::{Daemon, eventually};

/// How long the worker may take to store the events that a run left in the queue.
const DRAIN_DEADLINE: Duration = Duration::from_secs(300);
/// The magic number of tmpfs, on which an fsync costs nothing.
const TMPFS: i64 = 0x0102_1994;

#[derive(Parser)]
struct Options {
    /// Concurrent connections, each with one request at a time
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Seconds of each run
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Runs of each kind
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Threads of the load
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Events of a batch
    #[arg(long, default_value_t = 100)]
    batch: usize,
    /// Accept into Valkey instead, with a process that only ingests
    #[arg(long)]
    redis: bool,
    /// Another build of the program to compare with
    #[arg(long, value_name = "PROGRAM")]
    against: Option<PathBuf>,
    /// Kinds of runs [default: all]
    #[arg(long, value_delimiter = ',')]
    only: Vec<Kind>,
    /// Settings for the program, as in its config file
    #[arg(long, value_name = "TOML", default_value = "")]
    settings: String,
    #[command(flatten)]
    recording: record::Recording,
    /// Run the minimal server; used by the bench itself
    #[arg(long, hide = true)]
    serve_bare: bool,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Bare,
    Track,
    Other,
    Watched,
    Batch,
    Half,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare hyper",
            Self::Track => "POST /track",
            Self::Other => "POST /track, the other build",
            Self::Watched => "POST /track, console and logs",
            Self::Batch => "POST /batch",
            Self::Half => "POST /track, half the rate",
        }
    }
}

/// A program and what it accepts into.
struct Target {
    daemon: Daemon,
    redis: Option<RedisServer>,
    /// Events accepted.
    accepted: u64,
}

impl Target {
    fn start(program: &Path, options: &Options) -> Self {
        let redis = options.redis.then(|| RedisServer::start(ServerKind::Valkey, &[]));
        let settings = match &redis {
            Some(redis) => format!(
                "roles = ['ingestion']\nredis_url = '{}'\n{}\n[queue]\nmax_depth = 100000000",
                redis.url(),
                options.settings
            ),
            None => options.settings.clone(),
        };
        let daemon = Daemon::of_build(program, &settings, &[]);
        refuse_memory(&daemon);
        Self { daemon, redis, accepted: 0 }
    }

    /// Empties the queue for the next run; with Redis, checks that all accepted events are in it.
    fn emptied(&mut self, accepted: u64) {
        self.accepted += accepted;
        match &self.redis {
            Some(redis) => {
                assert_eq!(redis.cli(&["LLEN", "analytics:queue"]), accepted.to_string());
                redis.cli(&["DEL", "analytics:queue"]);
                redis.cli(&["CONFIG", "RESETSTAT"]);
            }
            None => await_drained(&self.daemon),
        }
    }

    /// The cost of each event in Redis and the network since the previous run.
    fn bytes(&self, accepted: u64, network: f64) -> Option<Bytes> {
        let redis = self.redis.as_ref()?;
        let memory = redis.cli(&["MEMORY", "USAGE", "analytics:queue", "SAMPLES", "0"]);
        let to_redis = traffic::of_redis(redis);
        let per_event = |all: f64| all / accepted as f64;
        Some(Bytes {
            memory: per_event(memory.parse().ok()?),
            to_redis: per_event(to_redis),
            to_clients: per_event(network - to_redis),
        })
    }

    /// Events per round trip to Redis.
    fn grouped(&self, accepted: u64) -> Option<f64> {
        let stats = self.redis.as_ref()?.cli(&["INFO", "commandstats"]);
        let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="))?;
        let calls: f64 = calls.split(',').next()?.parse().ok()?;
        Some(accepted as f64 / calls)
    }

    fn check(&self) {
        let accepted = self.accepted;
        if self.redis.is_some() {
            println!("{accepted} accepted page views were in the list");
            return;
        }
        let stored = self.daemon.scalar("SELECT count() FROM page_view_event");
        println!("stored {stored} of {accepted} accepted page views");
        assert_eq!(stored, serde_json::json!(accepted));
    }
}

fn main() {
    let options = Options::parse();
    if options.serve_bare {
        return bare::serve();
    }
    let bare = bare::Bare::start();
    let mut own = Target::start(Path::new(PROGRAM), &options);
    let mut other = options.against.as_ref().map(|program| Target::start(program, &options));
    let kinds: Vec<_> = Kind::value_variants()
        .iter()
        .copied()
        .filter(|kind| options.only.is_empty() || options.only.contains(kind))
        .filter(|kind| *kind != Kind::Other || other.is_some())
        .collect();
    println!(
        "{} connections, {} threads of load, {} s a run, data dir {}",
        options.connections,
        options.threads,
        options.seconds,
        own.daemon.data_dir().display()
    );
    let mut runs: Vec<Run> = Vec::new();
    for round in 0..options.rounds {
        for turn in 0..kinds.len() {
            // The order of the kinds rotates.
            let kind = kinds[(round + turn) % kinds.len()];
            let best = runs.iter().filter(|run| run.kind == Kind::Track);
            let best = best.map(|run| run.tally.rate()).fold(0.0, f64::max);
            if kind == Kind::Half && best == 0.0 {
                continue;
            }
            let target = match (kind, &mut other) {
                (Kind::Bare, _) => None,
                (Kind::Other, Some(other)) => Some(other),
                _ => Some(&mut own),
            };
            runs.push(run(kind, &options, best, bare.addr, target));
        }
    }
    summary::print(&kinds, &runs);
    summary::record(&options, &kinds, &runs);
    own.check();
    other.iter().for_each(Target::check);
}

fn run(
    kind: Kind,
    options: &Options,
    best: f64,
    bare: SocketAddr,
    target: Option<&mut Target>,
) -> Run {
    let address = target.as_ref().map_or(bare, |target| target.daemon.addr);
    let load = Load {
        connections: options.connections,
        time: Duration::from_secs(options.seconds),
        threads: options.threads,
        token: target.as_ref().map_or_else(String::new, |target| target.daemon.token()),
        events: if kind == Kind::Batch { options.batch } else { 1 },
        rate: (kind == Kind::Half).then_some(best / 2.0),
    };
    // The console's and that of `logs --follow`.
    let streams = if kind == Kind::Watched { 2 } else { 0 };
    let consoles: Vec<_> = (0..streams).map(|_| Console::attach(address)).collect();
    let (cpu, network) = (Cpu::now(), traffic::loopback());
    let tally = load.run(address);
    let accepted = tally.answered_in_all * tally.events as u64;
    let cpu = cpu.since().per(accepted as f64 / 1000.0);
    let network = traffic::loopback() - network;
    print!("{:<30} {tally}  CPU per 1,000 events: {cpu}", kind.name());
    let mut bytes = None;
    if let Some(target) = target {
        bytes = target.bytes(accepted, network);
        let grouped = target.grouped(accepted);
        grouped.iter().for_each(|events| print!("; {events:.1} events a round trip"));
        target.emptied(accepted);
    }
    let read: u64 = consoles.into_iter().map(Console::detach).sum();
    if read > 0 {
        print!("; {} MB of lines read", read / 1_000_000);
    }
    println!();
    assert_eq!(tally.refused, 0, "some events were not accepted");
    Run { kind, tally, cpu, bytes }
}

/// Waits until the worker has stored the events of the previous run.
fn await_drained(daemon: &Daemon) {
    eventually(DRAIN_DEADLINE, "the queue is empty", || {
        let metrics = daemon.get("/metrics").text();
        let zero = |name: &str| metrics.lines().any(|line| line == format!("{name} 0"));
        zero("bklit_queue_depth") && zero("bklit_queue_in_flight")
    });
}

fn refuse_memory(daemon: &Daemon) {
    let disk = rustix::fs::statfs(daemon.data_dir()).unwrap();
    assert!(
        disk.f_type as i64 != TMPFS,
        "the data dir is in memory, where an fsync costs nothing; set TMPDIR to a real disk"
    );
}

/// A reader of the stream for consoles.
struct Console {
    stream: TcpStream,
    detached: Arc<AtomicBool>,
    bytes: Arc<AtomicU64>,
    reader: JoinHandle<()>,
}

impl Console {
    fn attach(addr: SocketAddr) -> Self {
        use std::io::Write as _;
        let mut stream = TcpStream::connect(addr).unwrap();
        write!(stream, "GET /api/debug-stream HTTP/1.1\r\nHost: {addr}\r\n\r\n").unwrap();
        let mut first = [0; 15];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200 OK");
        let detached = Arc::new(AtomicBool::new(false));
        let bytes = Arc::new(AtomicU64::new(0));
        let reader = {
            let (mut stream, detached) = (stream.try_clone().unwrap(), Arc::clone(&detached));
            let bytes = Arc::clone(&bytes);
            std::thread::spawn(move || {
                let mut buffer = vec![0; 256 * 1024];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    bytes.fetch_add(count as u64, Relaxed);
                }
                assert!(detached.load(Relaxed), "the console's stream broke off");
            })
        };
        Self { stream, detached, bytes, reader }
    }

    /// Stops reading; returns the number of bytes read.
    fn detach(self) -> u64 {
        self.detached.store(true, Relaxed);
        self.stream.shutdown(std::net::Shutdown::Both).unwrap();
        self.reader.join().unwrap();
        self.bytes.load(Relaxed)
    }
}
