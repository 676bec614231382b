//! How fast the worker moves a backlog from Redis to ClickHouse, compared with a drain without any
//! guarantee and with inserting the same rows into the same server. See bench/README.md.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod careless;
#[path = "../shared/cpu.rs"]
mod cpu;
mod embedded;
#[path = "../track/load.rs"]
mod load;
mod raw;
#[path = "../shared/record.rs"]
mod record;
#[allow(dead_code, unused_imports)]
#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../shared/traffic.rs"]
mod traffic;
mod visible;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bklit_wire::time::UtcMillis;
use clap::Parser;
use cpu::Cpu;
use support::Daemon;
use support::servers::{ClickHouse, Kind, RedisServer};

const DEADLINE: Duration = Duration::from_secs(600);
/// The interval at which the queue is polled.
const POLL: Duration = Duration::from_millis(10);
/// Items per `LPUSH`.
const CHUNK: usize = 1_000;
/// Bytes per event that are recorded.
const BYTES: [&str; 3] = [
    "network of the drain, with Redis",
    "network of the drain, with ClickHouse",
    "disk of the drain, ClickHouse",
];

#[derive(Parser)]
struct Options {
    /// Events in the backlog
    #[arg(long, default_value_t = 500_000)]
    events: usize,
    /// Sessions that they belong to
    #[arg(long, default_value_t = 5_000)]
    sessions: usize,
    /// Half page views, a third custom events, and the rest ends of sessions
    #[arg(long)]
    mixed: bool,
    /// From SQLite into SQLite
    #[arg(long, conflicts_with_all = ["mixed", "workers", "processes", "shards"])]
    embedded: bool,
    /// How long until an event can be queried, at this many accepted per second
    #[arg(long, value_name = "RATE", conflicts_with_all = ["embedded", "mixed", "workers", "processes"])]
    visible: Option<f64>,
    /// Seconds of `--visible`
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Most events in a batch, and rows in an insert
    #[arg(long, default_value_t = 15_000)]
    batch: usize,
    /// Workers in a process [default: as many as the program starts by default]
    #[arg(long)]
    workers: Option<usize>,
    /// Processes
    #[arg(long, default_value_t = 1)]
    processes: usize,
    /// Lists that the backlog is spread over
    #[arg(long, default_value_t = 1)]
    shards: usize,
    /// How often to repeat everything
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// When the first event happened
    #[arg(skip = yesterday())]
    from: UtcMillis,
    #[command(flatten)]
    recording: record::Recording,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn yesterday() -> UtcMillis {
    UtcMillis::from_epoch_millis(UtcMillis::now().epoch_millis() - 24 * 60 * 60 * 1000)
}

fn main() {
    let options = Options::parse();
    match options.visible {
        Some(rate) => visible(&options, rate),
        None if options.embedded => embedded(&options),
        None => production(&options),
    }
}

fn visible(options: &Options, rate: f64) {
    let (mut events, mut sessions) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let seen = visible::observe(rate, Duration::from_secs(options.seconds));
        let [p50, p99, most] = [0.5, 0.99, 1.0].map(|part| visible::quantile(&seen.events, part));
        let last = visible::quantile(&seen.sessions, 1.0);
        println!(
            "{} events visible after p50 {p50:.0} ms, p99 {p99:.0} ms, most {most:.0} ms; \
             their sessions at most {last:.0} ms later",
            seen.events.len()
        );
        events.push(p99);
        sessions.push(last);
    }
    options.record("accepted to visible, p99", "ms", &events);
    options.record("a session's row after its event's, at most", "ms", &sessions);
}

fn embedded(options: &Options) {
    let (mut rates, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let (drained, inserted) = embedded::compare(options);
        let (worker, raw) = (options.rate(drained), options.rate(inserted));
        println!("worker {worker:>8.0}/s   raw {raw:>8.0}/s   ratio {:.3}", worker / raw);
        rates.push(worker);
        ratios.push(worker / raw);
    }
    println!("worker to prepared inserts: {}", Median(&ratios));
    options.record("embedded drain", "events/s", &rates);
    options.record("embedded drain to prepared inserts", "ratio", &ratios);
}

fn production(options: &Options) {
    let (mut rates, mut to_raw, mut to_careless) = (Vec::new(), Vec::new(), Vec::new());
    let mut cpu = Vec::new();
    let mut bytes = [const { Vec::new() }; 3];
    for _ in 0..options.rounds {
        let redis = RedisServer::start(Kind::Valkey, &[]);
        let clickhouse = ClickHouse::own();
        fill(&redis, options, options.shards);
        let Drained { took, cpu: worker_cpu, bytes: worker_bytes } =
            drain(options, &redis, &clickhouse);
        let worker = options.rate(took);
        fill(&redis, options, 1);
        let (took, careless_cpu) = careless::drain(&redis, &clickhouse, options.batch);
        let careless = options.rate(took);
        let batches = options.events.div_ceil(options.batch);
        let (took, raw_cpu) = raw::insert(&clickhouse, batches);
        let raw = options.rate(took);
        println!(
            "worker {worker:>8.0}/s   unsafe drain {careless:>8.0}/s   raw insert {raw:>8.0}/s   \
             worker to raw {:.3}, to unsafe {:.3}",
            worker / raw,
            worker / careless
        );
        let of_ten_thousand = |cpu: Cpu| cpu.per(options.events as f64 / 10_000.0);
        println!(
            "  CPU per 10,000: worker {}; unsafe {}; raw {}",
            of_ten_thousand(worker_cpu),
            of_ten_thousand(careless_cpu),
            of_ten_thousand(raw_cpu)
        );
        rates.push(worker);
        to_raw.push(worker / raw);
        to_careless.push(worker / careless);
        // Milliseconds per thousand are microseconds per event.
        let micros = |cpu: Cpu| cpu.per(options.events as f64 / 1_000.0).0;
        cpu.push([worker_cpu, careless_cpu, raw_cpu].map(micros));
        bytes.iter_mut().zip(worker_bytes).for_each(|(all, one)| all.push(one));
    }
    println!("worker to raw insert: {}", Median(&to_raw));
    println!("worker to unsafe drain: {}", Median(&to_careless));
    options.record("drain", "events/s", &rates);
    options.record("drain to raw insert", "ratio", &to_raw);
    options.record("drain to unsafe drain", "ratio", &to_careless);
    // What does the work: the program, or the bench itself.
    let drains =
        [("the drain", cpu::SERVER), ("the unsafe drain", cpu::BENCH), ("raw inserts", cpu::BENCH)];
    for (nth, (drain, worker)) in drains.into_iter().enumerate() {
        for (name, part) in
            [("worker", worker), ("Redis", cpu::REDIS), ("ClickHouse", cpu::CLICKHOUSE)]
        {
            let micros: Vec<_> = cpu.iter().map(|round| round[nth][part]).collect();
            options.record(&format!("processor time of {drain}, {name}"), "µs/event", &micros);
        }
    }
    for (what, values) in BYTES.into_iter().zip(&bytes) {
        options.record(what, "bytes/event", values);
    }
}

impl Options {
    /// Events per second.
    fn rate(&self, took: Duration) -> f64 {
        self.events as f64 / took.as_secs_f64()
    }

    fn record(&self, figure: &str, unit: &str, values: &[f64]) {
        self.recording.add(figure, unit, values);
    }
}

/// Prints the median, and the least and greatest value.
struct Median<'v>(&'v [f64]);

impl std::fmt::Display for Median<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut values = self.0.to_vec();
        values.sort_by(f64::total_cmp);
        let [least, .., most] = values.as_slice() else {
            return write!(f, "{:.3}", values[0]);
        };
        write!(f, "{:.3} ({least:.3} to {most:.3})", values[values.len() / 2])
    }
}

/// The cost of storing the backlog.
struct Drained {
    took: Duration,
    cpu: Cpu,
    /// For each event, as named by [`BYTES`].
    bytes: [f64; 3],
}

/// Measures from the first claim until everything is stored and acknowledged.
fn drain(options: &Options, redis: &RedisServer, clickhouse: &ClickHouse) -> Drained {
    let workers = options.workers.map_or(String::new(), |number| format!("workers = {number}"));
    let settings = format!(
        "roles = ['worker']\nredis_url = '{}'\nclickhouse_url = '{}'\n[worker]\n\
         batch_size = {}\n{workers}",
        redis.url(),
        clickhouse.url(),
        options.batch
    );
    let mut queue = Queue::connect(redis, options.shards);
    redis.cli(&["CONFIG", "RESETSTAT"]);
    let network = traffic::loopback();
    let daemons: Vec<_> =
        (0..options.processes).map(|_| Daemon::with_settings(&settings)).collect();
    let waiting = queue.depth();
    let cpu = Cpu::now();
    let began = Instant::now();
    while !queue.is_empty() {
        assert!(began.elapsed() < DEADLINE, "the backlog is not stored");
        std::thread::sleep(POLL);
    }
    let (took, cpu) = (began.elapsed(), cpu.since());
    let network = traffic::loopback() - network;
    let to_redis = traffic::of_redis(redis);
    let on_disk = "SELECT sum(bytes_on_disk) FROM system.parts \
                   WHERE active AND database = 'analytics'";
    let on_disk: f64 = clickhouse.query(on_disk).parse().unwrap();
    let stored = "SELECT (SELECT uniqExact(id) + count() FROM analytics.page_view_event) + \
                  (SELECT uniqExact(id) + count() FROM analytics.tracked_event)";
    let ends = (0..options.events).filter(|n| options.kind(*n) == "session_end").count();
    assert_eq!(clickhouse.query(stored), (2 * (options.events - ends)).to_string());
    drop(daemons);
    // Events claimed before the clock started are not counted.
    let whole = options.events as f64 / waiting.max(1) as f64;
    let bytes = [to_redis, network - to_redis, on_disk].map(|all| all / options.events as f64);
    Drained { took: took.mul_f64(whole), cpu: cpu.per(1.0 / whole), bytes }
}

/// A connection on which the state of the queue is read.
struct Queue {
    stream: BufReader<TcpStream>,
    lists: Vec<String>,
}

impl Queue {
    fn connect(redis: &RedisServer, shards: usize) -> Self {
        let stream = BufReader::new(TcpStream::connect(("127.0.0.1", redis.port())).unwrap());
        Self { stream, lists: (0..shards).map(list).collect() }
    }

    /// The sum of a command's results for all lists, or for keys with this suffix.
    fn sum(&mut self, command: &str, end: &str) -> usize {
        let Self { stream, lists } = self;
        let mut answer = |list: &String| -> usize {
            stream.get_mut().write_all(format!("{command} {list}{end}\r\n").as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_line(&mut answer).unwrap();
            answer.trim().trim_start_matches(':').parse().unwrap()
        };
        lists.iter().map(&mut answer).sum()
    }

    fn depth(&mut self) -> usize {
        self.sum("LLEN", "")
    }

    fn is_empty(&mut self) -> bool {
        self.depth() == 0 && self.sum("ZCARD", ":inflight") == 0
    }
}

/// The name of a list of the queue.
fn list(shard: usize) -> String {
    if shard == 0 { "analytics:queue".to_owned() } else { format!("{{analytics:queue:{shard}}}") }
}

/// Pushes events to the lists, as a producer of the existing system does to the first one.
fn fill(redis: &RedisServer, options: &Options, shards: usize) {
    if shards > 1 {
        let layout = format!(r#"{{"epoch":1,"shards":{shards},"before":[1]}}"#);
        redis.cli(&["SET", "analytics:queue:shards", &layout]);
    }
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", redis.port())).unwrap());
    let numbers: Vec<_> = (0..options.events).collect();
    for (nth, chunk) in numbers.chunks(CHUNK).enumerate() {
        let list = list(nth % shards);
        let (count, length) = (chunk.len() + 2, list.len());
        let mut command = format!("*{count}\r\n$5\r\nLPUSH\r\n${length}\r\n{list}\r\n");
        for n in chunk {
            let member = options.member(*n);
            command += &format!("${}\r\n{member}\r\n", member.len());
        }
        stream.get_mut().write_all(command.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_line(&mut answer).unwrap();
        assert!(answer.starts_with(':'), "{answer}");
    }
}

impl Options {
    fn kind(&self, n: usize) -> &'static str {
        match n % 6 {
            3 | 4 if self.mixed => "event",
            5 if self.mixed => "session_end",
            _ => "pageview",
        }
    }

    fn member(&self, n: usize) -> String {
        // As at a thousand events a second.
        let at = |late: i64| {
            UtcMillis::from_epoch_millis(self.from.epoch_millis() + n as i64 + late).to_string()
        };
        let (timestamp, queued_at) = (at(0), at(5));
        let session = format!("0198a6f0-c5a8-7c3d-9e4f-{:012x}", n % self.sessions);
        let payload = match self.kind(n) {
            "event" => serde_json::json!({
                "projectId": "default", "trackingId": format!("button-{}", n % 20),
                "eventType": "click", "timestamp": timestamp, "sessionId": session,
                "metadata": { "x": n % 1000, "label": "Sign up" },
            }),
            "session_end" => serde_json::json!({
                "projectId": "default", "timestamp": timestamp, "sessionId": session,
            }),
            _ => serde_json::json!({
                "url": format!("https://www.example.com/docs/page-{}?utm_source=newsletter", n % 500),
                "projectId": "default", "timestamp": timestamp, "sessionId": session,
                "userAgent": "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
                "referrer": "https://www.google.com/",
                "title": "Getting started",
                "language": "en-US",
                "utmSource": "newsletter",
                "landingPage": "https://www.example.com/",
                "isNewVisitor": true,
            }),
        };
        let kind = self.kind(n);
        // In the order in which the existing system writes them.
        format!(
            r#"{{"id":"evt_0198a6f0c5a87c3d9e4f{n:012x}","type":"{kind}","payload":{payload},"queuedAt":"{queued_at}","projectId":"default"}}"#
        )
    }
}
