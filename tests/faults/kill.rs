//! kill -9 of the whole process under load, again and again, on one data dir.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bklit_tui::pipeline::store::sqlite::SqliteStore;
use bklit_tui::pipeline::store::{QueryLimits, Store};

use super::load::Connection;
use super::oracle::{Sent, Stored, violations};
use rustix::process::Signal;

use crate::support::{Daemon, eventually};

const KILLS: usize = 12;
const SENDERS: usize = 8;
const DEADLINE: Duration = Duration::from_secs(60);

/// Sends one page view after the other until the connection breaks.
fn send_until_cut(
    address: SocketAddr,
    token: &str,
    name: &str,
    answered: &AtomicUsize,
) -> Vec<Sent> {
    let mut sent = Vec::new();
    let Ok(mut connection) = Connection::open(address, token) else { return sent };
    for n in 0.. {
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

/// Loads the daemon from all sides and kills it once `after` requests were answered.
fn load_and_kill(daemon: &mut Daemon, round: usize, after: usize) -> Vec<Sent> {
    let (address, token) = (daemon.addr, daemon.token());
    let answered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let (answered, token) = (&answered, &token);
                let name = format!("{round}/{sender}");
                scope.spawn(move || send_until_cut(address, token, &name, answered))
            })
            .collect();
        eventually(DEADLINE, "the load is answered", || answered.load(SeqCst) >= after);
        daemon.kill9();
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
    })
}

fn stored(daemon: &Daemon) -> Vec<Stored> {
    let store = SqliteStore::open(&daemon.data_dir().join("store.db")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let limits = QueryLimits { rows: 1_000_000, time: DEADLINE };
    let query = store.query("SELECT id, url, title FROM page_view_event", limits);
    let result = runtime.block_on(query).unwrap();
    assert!(!result.truncated);
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    result
        .rows
        .iter()
        .map(|row| Stored { id: text(&row[0]), url: text(&row[1]), title: text(&row[2]) })
        .collect()
}

#[test]
fn kill_9_under_load_loses_nothing_and_stores_nothing_twice() {
    let mut daemon = Daemon::start();
    let mut sent = Vec::new();
    let mut random = fastrand::Rng::new();
    for round in 0..KILLS {
        // From the first answers to well into the worker's batches.
        let after = random.usize(1..1_500);
        sent.extend(load_and_kill(&mut daemon, round, after));
        daemon = daemon.restart();
    }
    eventually(DEADLINE, "everything is stored", || {
        let queue = &daemon.get("/health").json()["queue"];
        queue["depth"] == 0 && queue["inFlight"] == 0
    });
    daemon.signal(Signal::TERM);
    assert!(daemon.wait_exit(DEADLINE).success(), "{}", daemon.stderr());
    let stored = stored(&daemon);
    assert_eq!(violations(&sent, &stored), Vec::<String>::new());
    assert!(stored.len() >= KILLS, "the load reached the store");
    println!("{KILLS} kills, {} requests, {} stored", sent.len(), stored.len());
}
