//! Load, by the smallest client that can tell an answer from a cut connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use serde_json::Value;

use super::oracle::{Sent, Stored};
use crate::support::{Daemon, eventually};

/// How long anything may take under load.
pub const DEADLINE: Duration = Duration::from_secs(60);
const SENDERS: usize = 8;
/// Every fourth sender sends so many page views in one request, the others one.
const TOGETHER: usize = 5;

fn together(sender: usize) -> usize {
    if sender % 4 == 3 { TOGETHER } else { 1 }
}

/// Ends the load also when what happens under it fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Sends page views from all sides while `happens` does; it is told how many were answered.
pub fn under_load(
    daemon: &mut Daemon,
    name: &str,
    happens: impl FnOnce(&mut Daemon, &AtomicUsize),
) -> Vec<Sent> {
    let (address, token) = (daemon.addr, daemon.token());
    let (answered, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let (answered, stop, token) = (&answered, &stop, &token);
                let name = format!("{name}/{sender}");
                let connection = move || Connection::open(address, token);
                scope.spawn(move || send(connection, &name, together(sender), answered, stop))
            })
            .collect();
        let stopping = Stop(&stop);
        happens(daemon, &answered);
        drop(stopping);
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
    })
}

/// Sends one request after the other until the connection breaks.
fn send(
    connection: impl FnOnce() -> io::Result<Connection>,
    name: &str,
    together: usize,
    answered: &AtomicUsize,
    stop: &AtomicBool,
) -> Vec<Sent> {
    let mut sent: Vec<Sent> = Vec::new();
    let Ok(mut connection) = connection() else { return sent };
    while !stop.load(SeqCst) {
        let views = next_views(name, sent.len(), together);
        let Ok(answers) = connection.send(&views) else {
            sent.extend(views);
            break;
        };
        for (view, answer) in views.into_iter().zip(answers) {
            match answer {
                Answer::Kept(id) => sent.push(Sent { answered: Some(id), ..view }),
                Answer::Refused(status, why) => panic!("{status} {why}"),
            }
        }
        answered.fetch_add(together, SeqCst);
    }
    sent
}

/// Page views that nobody has sent before.
fn next_views(name: &str, first: usize, count: usize) -> Vec<Sent> {
    let view = |n| Sent {
        url: format!("https://example.com/{name}/{n}"),
        title: format!("„{name}“ \u{1b}[31m 🦀 {n}"),
        answered: None,
    };
    (first..first + count).map(view).collect()
}

/// A daemon that load goes to; when it comes back, it may be at another address.
pub struct Target {
    address: Mutex<SocketAddr>,
    token: String,
    /// Answered 200.
    pub kept: AtomicUsize,
}

impl Target {
    /// This daemon, with a token that it knows.
    pub fn of(daemon: &Daemon, token: &str) -> Self {
        let (address, kept) = (Mutex::new(daemon.addr), AtomicUsize::new(0));
        Self { address, token: token.to_owned(), kept }
    }

    /// It listens somewhere else now.
    pub fn moved(&self, daemon: &Daemon) {
        *self.address.lock().unwrap() = daemon.addr;
    }
}

/// How far a steady load has come.
#[derive(Default)]
pub struct Progress {
    /// Answered 200.
    pub kept: AtomicUsize,
    /// Answered 503.
    pub refused: AtomicUsize,
    /// Not answered.
    pub cut: AtomicUsize,
}

/// Sends page views to all targets while `happens` does, each sender with a `pause` between two;
/// senders whose connection breaks open another. An event that was refused for now counts as one
/// without an answer: it is not promised, and may be kept all the same.
pub fn steady_load(
    targets: &[Target],
    name: &str,
    pause: Duration,
    happens: impl FnOnce(&Progress),
) -> Vec<Sent> {
    let (progress, stop) = (Progress::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let (progress, stop) = (&progress, &stop);
                let target = &targets[sender % targets.len()];
                let name = format!("{name}/{sender}");
                let together = together(sender);
                scope.spawn(move || send_steadily(target, &name, together, pause, progress, stop))
            })
            .collect();
        let stopping = Stop(&stop);
        happens(&progress);
        drop(stopping);
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
    })
}

fn send_steadily(
    target: &Target,
    name: &str,
    together: usize,
    pause: Duration,
    progress: &Progress,
    stop: &AtomicBool,
) -> Vec<Sent> {
    let (mut sent, mut connection) = (Vec::<Sent>::new(), None);
    while !stop.load(SeqCst) {
        std::thread::sleep(pause);
        let address = *target.address.lock().unwrap();
        let Some(open) = connection
            .take_if(|open: &mut Connection| open.address == address)
            .or_else(|| Connection::open(address, &target.token).ok())
        else {
            continue;
        };
        let open = connection.insert(open);
        let views = next_views(name, sent.len(), together);
        let Ok(answers) = open.send(&views) else {
            connection = None;
            sent.extend(views);
            progress.cut.fetch_add(together, SeqCst);
            continue;
        };
        for (view, answer) in views.into_iter().zip(answers) {
            let (answered, count) = match answer {
                Answer::Kept(id) => {
                    target.kept.fetch_add(1, SeqCst);
                    (Some(id), &progress.kept)
                }
                Answer::Refused(status, why) => {
                    assert_eq!(status, 503, "{why}");
                    (None, &progress.refused)
                }
            };
            sent.push(Sent { answered, ..view });
            count.fetch_add(1, SeqCst);
        }
    }
    sent
}

/// Waits until so many more were answered.
#[track_caller]
pub fn answers(answered: &AtomicUsize, more: usize) {
    let enough = answered.load(SeqCst) + more;
    eventually(DEADLINE, "the load is answered", || answered.load(SeqCst) >= enough);
}

/// Waits until all that was accepted has left the queue.
#[track_caller]
pub fn drained(daemon: &Daemon) {
    eventually(DEADLINE, "everything is stored", || {
        let queue = daemon.queue();
        queue["waiting"] == 0 && queue["inFlight"] == 0 && queue["spooled"] == 0
    });
}

/// All page views in the daemon's store.
#[track_caller]
pub fn stored(daemon: &Daemon) -> Vec<Stored> {
    let all = "SELECT id, url, title FROM page_view_event";
    let lines = daemon.cli(&["sql", "--json", "--limit", "1000000", all]);
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        Stored { id: text("id"), url: text("url"), title: text("title") }
    };
    lines.lines().map(row).collect()
}

/// A keep-alive connection that tracks page views.
struct Connection {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
    token: String,
}

/// What a daemon says to an event.
enum Answer {
    /// 200 with this event id.
    Kept(String),
    /// Another status, and the body.
    Refused(u16, String),
}

impl Connection {
    fn open(address: SocketAddr, token: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { stream: BufReader::new(stream), address, token: token.to_owned() })
    }

    /// Sends a page view, or several together. An error leaves open which were accepted.
    fn send(&mut self, views: &[Sent]) -> io::Result<Vec<Answer>> {
        let json = |view: &Sent| {
            serde_json::json!({ "type": "pageview", "url": view.url, "title": view.title,
                "projectId": "default" })
        };
        let kept = |answer: &Value| {
            Answer::Kept(answer["eventId"].as_str().expect("an eventId").to_owned())
        };
        if let [view] = views {
            let (status, body) = self.post("/track", &json(view))?;
            let answer = match status {
                200 => kept(&serde_json::from_slice(&body)?),
                status => Answer::Refused(status, String::from_utf8_lossy(&body).into_owned()),
            };
            return Ok(vec![answer]);
        }
        let (status, body) = self.post("/batch", &views.iter().map(json).collect())?;
        let answer: Value = serde_json::from_slice(&body)?;
        let Some(results) = answer["results"].as_array() else {
            let refused = || Answer::Refused(status, answer["error"].to_string());
            return Ok(views.iter().map(|_| refused()).collect());
        };
        assert_eq!(results.len(), views.len());
        let answer = |result: &Value| match result["status"].as_u64() {
            Some(200) => kept(result),
            status => Answer::Refused(status.unwrap_or(0) as u16, result["error"].to_string()),
        };
        Ok(results.iter().map(answer).collect())
    }

    /// Sends a request; returns the status and the body.
    fn post(&mut self, path: &str, body: &Value) -> io::Result<(u16, Vec<u8>)> {
        let body = body.to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        let mut length = 0;
        self.stream.read_line(&mut line)?;
        let status = line.clone();
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        Ok((status.ok_or_else(|| io::Error::other("no status"))?, body))
    }
}
