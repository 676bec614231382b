//! Load from several senders, and its results.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use serde_json::Value;

use super::connection::{Answer, Connection};
use super::oracle::{Sent, Stored};
use super::traffic::{Mix, Traffic};
use crate::support::{Daemon, eventually};

/// How long anything may take under load.
pub const DEADLINE: Duration = Duration::from_secs(180);
const SENDERS: usize = 8;
/// Every fourth sender sends this many events per request, the others one.
const TOGETHER: usize = 5;

fn together(sender: usize) -> usize {
    if sender % 4 == 3 { TOGETHER } else { 1 }
}

/// Whether a sender of sessions chooses the ids of its events, and repeats requests without a
/// response.
fn repeats(sender: usize, mix: Mix) -> bool {
    mix == Mix::Sessions && sender % 4 == 2
}

/// Ends the load even if the action under it fails.
pub struct Stop<'a>(pub &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Sends page views from all senders while `happens` runs, which receives the number of responses.
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
                let traffic = Traffic::new(format!("{name}/{sender}"), Mix::Views, false);
                let connection = move || Connection::open(address, token);
                scope.spawn(move || send(connection, traffic, together(sender), answered, stop))
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
    connection: impl FnOnce() -> std::io::Result<Connection>,
    mut traffic: Traffic,
    together: usize,
    answered: &AtomicUsize,
    stop: &AtomicBool,
) -> Vec<Sent> {
    let mut sent: Vec<Sent> = Vec::new();
    let Ok(mut connection) = connection() else { return sent };
    while !stop.load(SeqCst) {
        let events = traffic.next(together);
        let Ok(answers) = connection.send(&events) else {
            sent.extend(events);
            break;
        };
        for (event, answer) in events.into_iter().zip(answers) {
            match answer {
                Answer::Kept(id) => sent.push(Sent { answered: Some(id), ..event }),
                Answer::Refused(status, why) => panic!("{status} {why}"),
            }
        }
        answered.fetch_add(together, SeqCst);
    }
    sent
}

/// A daemon that receives load; after a restart, its address may be different.
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

    /// It listens on another address now.
    pub fn moved(&self, daemon: &Daemon) {
        *self.address.lock().unwrap() = daemon.addr;
    }
}

/// The progress of a steady load.
#[derive(Default)]
pub struct Progress {
    /// Answered 200.
    pub kept: AtomicUsize,
    /// Answered 503.
    pub refused: AtomicUsize,
    /// Without a response.
    pub cut: AtomicUsize,
}

/// The composition of a steady load.
#[derive(Clone, Copy)]
pub struct Steady<'a> {
    /// The start of all URLs and ids.
    pub name: &'a str,
    pub mix: Mix,
    /// Between two requests of a sender.
    pub pause: Duration,
}

/// Sends page views to all targets while `happens` runs; see [`steady_mix`].
pub fn steady_load(
    targets: &[Target],
    name: &str,
    pause: Duration,
    happens: impl FnOnce(&Progress),
) -> Vec<Sent> {
    steady_mix(targets, Steady { name, mix: Mix::Views, pause }, happens)
}

/// Sends events to all targets while `happens` runs; senders whose connection breaks open a new
/// one. An event that was refused temporarily counts as one without a response: it is not
/// guaranteed to be stored, but may be.
pub fn steady_mix(
    targets: &[Target],
    load: Steady<'_>,
    happens: impl FnOnce(&Progress),
) -> Vec<Sent> {
    let (progress, stop) = (Progress::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let (progress, stop) = (&progress, &stop);
                let target = &targets[sender % targets.len()];
                scope.spawn(move || send_steadily(target, sender, load, progress, stop))
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
    sender: usize,
    load: Steady<'_>,
    progress: &Progress,
    stop: &AtomicBool,
) -> Vec<Sent> {
    let repeats = repeats(sender, load.mix);
    let mut traffic = Traffic::new(format!("{}/{sender}", load.name), load.mix, repeats);
    let (mut sent, mut connection, mut unanswered) = (Vec::<Sent>::new(), None, Vec::new());
    while !stop.load(SeqCst) {
        std::thread::sleep(load.pause);
        let address = *target.address.lock().unwrap();
        let Some(open) = connection
            .take_if(|open: &mut Connection| open.address == address)
            .or_else(|| Connection::open(address, &target.token).ok())
        else {
            continue;
        };
        let open = connection.insert(open);
        let events = match std::mem::take(&mut unanswered) {
            events if events.is_empty() => traffic.next(together(sender)),
            events => events,
        };
        // Events to be repeated are kept here, the others are not needed any more.
        let not_answered = if repeats { &mut unanswered } else { &mut sent };
        let Ok(answers) = open.send(&events) else {
            connection = None;
            progress.cut.fetch_add(events.len(), SeqCst);
            not_answered.extend(events);
            continue;
        };
        for (event, answer) in events.into_iter().zip(answers) {
            match answer {
                Answer::Kept(id) => {
                    target.kept.fetch_add(1, SeqCst);
                    progress.kept.fetch_add(1, SeqCst);
                    sent.push(Sent { answered: Some(id), ..event });
                }
                Answer::Refused(status, why) => {
                    assert_eq!(status, 503, "{why}");
                    progress.refused.fetch_add(1, SeqCst);
                    if repeats { &mut unanswered } else { &mut sent }.push(event);
                }
            }
        }
    }
    sent.extend(unanswered);
    sent
}

/// Waits until this many more were answered.
#[track_caller]
pub fn answers(answered: &AtomicUsize, more: usize) {
    let enough = answered.load(SeqCst) + more;
    eventually(DEADLINE, "the load is answered", || answered.load(SeqCst) >= enough);
}

/// Waits until all accepted events have left the queue.
#[track_caller]
pub fn drained(daemon: &Daemon) {
    eventually(DEADLINE, "everything is stored", || {
        let queue = daemon.queue();
        queue["waiting"] == 0 && queue["inFlight"] == 0 && queue["spooled"] == 0
    });
}

/// All events in the daemon's store.
#[track_caller]
pub fn stored(daemon: &Daemon) -> Vec<Stored> {
    // Creating them may have been interrupted, and is tried again.
    eventually(DEADLINE, "all tables exist", || {
        daemon.run(&["sql", "SELECT count() FROM tracked_event"]).code == Some(0)
    });
    stored_by(|sql| {
        let lines = daemon.cli(&["sql", "--json", "--limit", "1000000", sql]);
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    })
}

/// All events that queries find.
pub fn stored_by(rows: impl Fn(&str) -> Vec<Value>) -> Vec<Stored> {
    let stored = |row: &Value, of: &Value| {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        Stored { id: text(&row["id"]), url: text(&of["url"]), title: text(&of["title"]) }
    };
    let mut all: Vec<_> = rows("SELECT id, url, title FROM page_view_event")
        .iter()
        .map(|view| stored(view, view))
        .collect();
    all.extend(rows("SELECT id, metadata FROM tracked_event").iter().map(|custom| {
        let metadata = custom["metadata"].as_str().expect("metadata");
        stored(custom, &serde_json::from_str(metadata).unwrap())
    }));
    all
}
