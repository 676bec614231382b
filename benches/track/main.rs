//! How fast `POST /track` is with the embedded queue or Redis, compared with a minimal hyper server
//! that reads the body and responds; in one run, alternating, with the same load. See
//! bench/README.md.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod bare;
mod load;
#[allow(dead_code, unused_imports)]
#[path = "../../tests/support/mod.rs"]
mod support;

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use clap::Parser;
use load::{Load, Tally};
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
    /// Accept into Valkey instead, with a process that only ingests
    #[arg(long)]
    redis: bool,
    /// Settings for the program, as in its config file
    #[arg(long, value_name = "TOML", default_value = "")]
    settings: String,
    /// Run the minimal server; used by the bench itself
    #[arg(long, hide = true)]
    serve_bare: bool,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bare,
    Track,
    Watched,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Bare, Self::Track, Self::Watched];

    fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare hyper",
            Self::Track => "POST /track",
            Self::Watched => "POST /track, console attached",
        }
    }
}

fn main() {
    let options = Options::parse();
    if options.serve_bare {
        return bare::serve();
    }
    let bare = bare::Bare::start();
    let redis = options.redis.then(|| RedisServer::start(ServerKind::Valkey, &[]));
    let daemon = match &redis {
        Some(redis) => Daemon::with_settings(&format!(
            "roles = ['ingestion']\nredis_url = '{}'\n{}\n[queue]\nmax_depth = 100000000",
            redis.url(),
            options.settings
        )),
        None => Daemon::with_settings(&options.settings),
    };
    refuse_memory(&daemon);
    let load = Load {
        connections: options.connections,
        time: Duration::from_secs(options.seconds),
        threads: options.threads,
        token: daemon.token(),
    };
    println!(
        "{} connections, {} threads of load, {} s a run, data dir {}",
        options.connections,
        options.threads,
        options.seconds,
        daemon.data_dir().display()
    );
    let mut results: [Vec<Tally>; 3] = [const { Vec::new() }; 3];
    let mut accepted = 0;
    for round in 0..options.rounds {
        for turn in 0..Kind::ALL.len() {
            // The order of the kinds rotates.
            let kind = Kind::ALL[(round + turn) % Kind::ALL.len()];
            let result = run(kind, &load, bare.addr, &daemon);
            if kind != Kind::Bare {
                accepted += result.answered_in_all;
                match &redis {
                    Some(redis) => taken_out(redis, result.answered_in_all),
                    None => await_drained(&daemon),
                }
            }
            results[kind as usize].push(result);
        }
    }
    summary(&results);
    if redis.is_some() {
        println!("{accepted} accepted page views were in the list");
        return;
    }
    let stored = daemon.scalar("SELECT count() FROM page_view_event");
    println!("stored {stored} of {accepted} accepted page views");
    assert_eq!(stored, serde_json::json!(accepted));
}

fn run(kind: Kind, load: &Load, bare: SocketAddr, daemon: &Daemon) -> Tally {
    let console = (kind == Kind::Watched).then(|| Console::attach(daemon.addr));
    let result = load.run(if kind == Kind::Bare { bare } else { daemon.addr });
    print!("{:<30} {result}", kind.name());
    if let Some(console) = console {
        print!("  {} MB of lines read", console.detach() / 1_000_000);
    }
    println!();
    assert_eq!(result.refused, 0, "some responses were not 200");
    result
}

/// The medians and their ratios.
fn summary(results: &[Vec<Tally>; 3]) {
    let median = |kind: Kind| {
        let mut rates: Vec<_> = results[kind as usize].iter().map(Tally::rate).collect();
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    };
    println!();
    for kind in Kind::ALL {
        println!("{:<30} median {:>9.0}/s", kind.name(), median(kind));
    }
    println!("/track to bare hyper:        {:.3}", median(Kind::Track) / median(Kind::Bare));
    println!("console attached to without: {:.3}", median(Kind::Watched) / median(Kind::Track));
}

/// Waits until the worker has stored the events of the previous run.
fn await_drained(daemon: &Daemon) {
    eventually(DRAIN_DEADLINE, "the queue is empty", || {
        let metrics = daemon.get("/metrics").text();
        let zero = |name: &str| metrics.lines().any(|line| line == format!("{name} 0"));
        zero("bklit_queue_depth") && zero("bklit_queue_in_flight")
    });
}

/// Checks that all accepted events are in the list, and empties it for the next run.
fn taken_out(redis: &RedisServer, answered: u64) {
    assert_eq!(redis.cli(&["LLEN", "analytics:queue"]), answered.to_string());
    redis.cli(&["DEL", "analytics:queue"]);
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
