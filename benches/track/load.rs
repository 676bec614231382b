//! The load: persistent connections, each with one request at a time, as fast as possible or at a
//! given rate.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bklit_wire::time::UtcMillis;
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How long each run warms up before it is measured.
const WARM_UP: Duration = Duration::from_millis(500);

/// The request body: a page view as a browser's script sends it, now.
const BODY: &str = r#"{"url":"https://www.example.com/docs/getting-started?utm_source=newsletter","projectId":"default","timestamp":"NOW","sessionId":"SESSION","userAgent":"Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0","referrer":"https://www.google.com/","title":"Getting started","language":"en-US","utmSource":"newsletter","landingPage":"https://www.example.com/","isNewVisitor":true}"#;

/// How much load to generate, for how long.
#[derive(Clone)]
pub struct Load {
    pub connections: usize,
    pub time: Duration,
    pub threads: usize,
    pub token: String,
    /// Events of a request: one to `/track`, more to `/batch`.
    pub events: usize,
    /// Requests per second; `None` for as many as possible.
    pub rate: Option<f64>,
}

/// The result of a run.
pub struct Tally {
    /// Responses with 200 during the measurement.
    pub answered: u64,
    /// Responses with 200 in the whole run.
    pub answered_in_all: u64,
    /// Other responses.
    pub refused: u64,
    /// Events of each request.
    pub events: usize,
    time: Duration,
    micros: Histogram<u64>,
}

impl Tally {
    /// Events per second.
    pub fn rate(&self) -> f64 {
        (self.answered * self.events as u64) as f64 / self.time.as_secs_f64()
    }

    /// The time from sending a request to the whole response, in milliseconds.
    pub fn millis(&self, quantile: f64) -> f64 {
        self.micros.value_at_quantile(quantile) as f64 / 1000.0
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99) = (self.millis(0.5), self.millis(0.99));
        write!(f, "{:>9.0}/s  p50 {p50:>7.2} ms  p99 {p99:>7.2} ms", self.rate())
    }
}

impl Load {
    /// Runs it against the server at `addr`.
    pub fn run(&self, addr: SocketAddr) -> Tally {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(self.threads)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(self.run_on_all(addr))
    }

    /// Each connection is a visitor with its own session.
    fn request(&self, addr: SocketAddr, visitor: usize) -> Vec<u8> {
        let view = BODY
            .replace("SESSION", &format!("0198a6f0-c5a8-7c3d-9e4f-{visitor:012x}"))
            .replace("NOW", &UtcMillis::now().to_string());
        let (path, body) = match self.events {
            1 => ("/track", view),
            many => {
                let item = view.replacen('{', r#"{"type":"pageview","#, 1);
                ("/batch", format!("[{}]", vec![item; many].join(",")))
            }
        };
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {addr}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        request.into_bytes()
    }

    async fn run_on_all(&self, addr: SocketAddr) -> Tally {
        let from = Instant::now() + WARM_UP;
        let mut connections = JoinSet::new();
        for visitor in 0..self.connections {
            let connection = Connection::open(addr, self.request(addr, visitor)).await;
            let pace = self.rate.map(|rate| Pace {
                next: Instant::now() + Duration::from_secs_f64(visitor as f64 / rate),
                every: Duration::from_secs_f64(self.connections as f64 / rate),
            });
            connections.spawn(connection.run(self.events, pace, from, from + self.time));
        }
        let mut total = Tally::new(self.events, self.time);
        while let Some(result) = connections.join_next().await {
            total.add(&result.unwrap());
        }
        total
    }
}

impl Tally {
    fn new(events: usize, time: Duration) -> Self {
        let micros = Histogram::new_with_bounds(1, 60_000_000, 3).unwrap();
        Self { answered: 0, answered_in_all: 0, refused: 0, events, time, micros }
    }

    fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.answered_in_all += other.answered_in_all;
        self.refused += other.refused;
        self.micros.add(&other.micros).unwrap();
    }
}

/// When a connection sends its requests.
struct Pace {
    next: Instant,
    every: Duration,
}

impl Pace {
    /// Waits until the next request is due; returns since when it has been due. A request that is
    /// late because the previous one took too long has been waiting since then.
    async fn wait(&mut self) -> Instant {
        let due = self.next;
        self.next += self.every;
        let early = due.saturating_duration_since(Instant::now());
        if early.is_zero() {
            return due;
        }
        tokio::time::sleep(early).await;
        // The timer's own delay is not the server's.
        Instant::now()
    }
}

struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(addr: SocketAddr, request: Vec<u8>) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, request, buffer: Vec::with_capacity(64 * 1024) }
    }

    async fn run(
        mut self,
        events: usize,
        mut pace: Option<Pace>,
        from: Instant,
        until: Instant,
    ) -> Tally {
        let mut result = Tally::new(events, until - from);
        loop {
            let start = match &mut pace {
                Some(pace) => pace.wait().await,
                None => Instant::now(),
            };
            if start >= until {
                return result;
            }
            self.stream.write_all(&self.request).await.unwrap();
            let accepted = self.read_answer().await;
            if !accepted {
                result.refused += 1;
                continue;
            }
            result.answered_in_all += 1;
            let end = Instant::now();
            if start >= from && end <= until {
                result.answered += 1;
                result.micros.saturating_record((end - start).as_micros().max(1) as u64);
            }
        }
    }

    /// Reads one complete response; returns whether it was 200 and, of a batch, all its events were
    /// accepted.
    async fn read_answer(&mut self) -> bool {
        self.buffer.clear();
        loop {
            if let Some(length) = answer_length(&self.buffer)
                && self.buffer.len() >= length
            {
                assert_eq!(self.buffer.len(), length, "more data than one response");
                let is_refused = |found: &[u8]| found == b"\"error\"";
                return self.buffer.starts_with(b"HTTP/1.1 200 ")
                    && !self.buffer.windows(7).any(is_refused);
            }
            let count = self.stream.read_buf(&mut self.buffer).await.unwrap();
            assert!(count > 0, "the server closed the connection");
        }
    }
}

/// The length of head and body, once the head is whole.
fn answer_length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let length = bytes[..head].split(|&byte| byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(15)?;
        name.eq_ignore_ascii_case(b"content-length:").then_some(value)
    });
    let length = std::str::from_utf8(length.expect("a response without content-length")).unwrap();
    Some(head + length.trim().parse::<usize>().unwrap())
}
