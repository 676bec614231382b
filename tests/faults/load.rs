//! Load, by the smallest client that can tell an answer from a cut connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use super::oracle::{Sent, Stored};
use crate::support::{Daemon, eventually};

/// How long anything may take under load.
pub const DEADLINE: Duration = Duration::from_secs(60);
const SENDERS: usize = 8;

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
                scope.spawn(move || send(address, token, &name, answered, stop))
            })
            .collect();
        let stopping = Stop(&stop);
        happens(daemon, &answered);
        drop(stopping);
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
    })
}

/// Sends one page view after the other until the connection breaks.
fn send(
    address: SocketAddr,
    token: &str,
    name: &str,
    answered: &AtomicUsize,
    stop: &AtomicBool,
) -> Vec<Sent> {
    let mut sent = Vec::new();
    let Ok(mut connection) = Connection::open(address, token) else { return sent };
    for n in 0.. {
        if stop.load(SeqCst) {
            break;
        }
        let url = format!("https://example.com/{name}/{n}");
        let title = format!("„{name}“ \u{1b}[31m 🦀 {n}");
        let answer = connection.track(&url, &title);
        sent.push(Sent { url, title, answered: answer.ok() });
        if sent.last().is_some_and(|last| last.answered.is_none()) {
            break;
        }
        answered.fetch_add(1, SeqCst);
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
        let health = daemon.get("/health").json();
        let queue = &health["queue"];
        queue["depth"] == 0 && queue["inFlight"] == 0 && health["spooled"] == 0
    });
}

/// All page views in the daemon's store.
#[track_caller]
pub fn stored(daemon: &Daemon) -> Vec<Stored> {
    let all = "SELECT id, url, title FROM page_view_event";
    let lines = daemon.cli(&["sql", "--json", "--limit", "1000000", all]);
    let row = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        Stored { id: text("id"), url: text("url"), title: text("title") }
    };
    lines.lines().map(row).collect()
}

/// A keep-alive connection that tracks page views.
struct Connection {
    stream: BufReader<TcpStream>,
    token: String,
}

impl Connection {
    fn open(address: SocketAddr, token: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { stream: BufReader::new(stream), token: token.to_owned() })
    }

    /// The event id of a 200. An error leaves open whether the event was accepted.
    fn track(&mut self, url: &str, title: &str) -> io::Result<String> {
        let body = serde_json::json!({ "url": url, "title": title, "projectId": "default" });
        let body = body.to_string();
        let request = format!(
            "POST /track HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
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
        assert!(status.starts_with("HTTP/1.1 200"), "{status}{}", String::from_utf8_lossy(&body));
        let answer: serde_json::Value = serde_json::from_slice(&body)?;
        Ok(answer["eventId"].as_str().expect("an eventId").to_owned())
    }
}
