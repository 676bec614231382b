//! The number of shards changes under load: up and down, by processes that are killed and started with
//! another number, one after the other, while clients repeat events until they are answered, and then
//! once more, to any of the processes.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::load::{DEADLINE, answers, drained, stored};
use super::oracle::{Kind as EventKind, Sent, violations};
use crate::support::servers::{ClickHouse, Kind, RedisCluster, RedisServer};
use crate::support::{Daemon, eventually, request};

const SENDERS: usize = 6;
const PROJECTS: usize = 12;
/// Events answered before the next change.
const SOME: usize = 120;

fn settings(redis_url: &str, clickhouse: &ClickHouse, shards: u32) -> String {
    format!(
        "redis_url = '{redis_url}'\nclickhouse_url = '{}'\n[queue]\nshards = {shards}\n\
         durability = 'always'\n[worker]\nlease = '2s'\nbatch_wait = '5ms'\n\
         max_backoff = '500ms'",
        clickhouse.url()
    )
}

/// Starts the daemon again with another number of shards; it is killed if `crashes`.
fn with_shards(mut daemon: Daemon, settings: &str, crashes: bool) -> Daemon {
    if crashes {
        daemon.kill9();
    } else {
        daemon.signal(Signal::TERM);
        assert!(daemon.wait_exit(DEADLINE).success(), "{}", daemon.stderr());
    }
    std::fs::write(daemon.data_dir().with_file_name("bklit.toml"), settings).unwrap();
    daemon.restart()
}

/// Where events are sent.
struct Targets {
    addresses: Mutex<[SocketAddr; 2]>,
    token: String,
    answered: AtomicUsize,
    stop: AtomicBool,
}

impl Targets {
    /// Sends an event to one of the processes; returns whether it was accepted.
    fn send(&self, target: usize, event: &Value) -> bool {
        let address = self.addresses.lock().unwrap()[target % 2];
        let authorization = format!("Bearer {}", self.token);
        let headers =
            [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        let answer = request(address, "POST", "/track", &headers, event.to_string().as_bytes());
        let Ok(answer) = answer else { return false };
        assert!([200, 503].contains(&answer.status), "{} {}", answer.status, answer.text());
        answer.status == 200
    }

    /// Sends events of all projects, repeating each until one of the processes has accepted it.
    fn send_all(&self, sender: usize) -> Vec<Sent> {
        let mut sent = Vec::new();
        while !self.stop.load(SeqCst) {
            let n = sent.len();
            let (url, id) = (format!("https://a.example/{sender}/{n}"), format!("{sender}-{n}"));
            let (title, project) = (format!("„{n}“"), format!("project-{}", n % PROJECTS));
            let event = json!({ "url": url, "title": title, "projectId": project, "eventId": id });
            let mut tries = 0;
            while !self.send(sender + tries, &event) {
                tries += 1;
                assert!(tries < 10_000, "{id} is not accepted");
                std::thread::sleep(Duration::from_millis(5));
            }
            // Its response may have been lost, too.
            if n % 2 == 0 {
                self.send(sender + n / 2, &event);
            }
            let (kind, id) = (EventKind::View, Some(id));
            sent.push(Sent { kind, url, title, session: None, answered: id.clone(), id });
            self.answered.fetch_add(1, SeqCst);
        }
        sent
    }
}

/// Changes the number for one of two processes after the other, under load.
fn changes(redis_url: &str, name: &str, first: &[u32]) {
    let clickhouse = ClickHouse::own();
    let start = |shards| Daemon::with_settings(&settings(redis_url, &clickhouse, shards));
    let mut daemons = [start(1), start(1)].map(Some);
    let address = |daemon: &Option<Daemon>| daemon.as_ref().unwrap().addr;
    let projects: Vec<_> = (0..PROJECTS).map(|n| format!("--project=project-{n}")).collect();
    let mut create = vec!["token", "create", "--name", name, "--quiet"];
    create.extend(projects.iter().map(String::as_str));
    let token = daemons[0].as_ref().unwrap().cli(&create);
    let targets = Targets {
        addresses: Mutex::new(daemons.each_ref().map(address)),
        token: token.trim().to_owned(),
        answered: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
    };
    let sent = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let targets = &targets;
                scope.spawn(move || targets.send_all(sender))
            })
            .collect();
        let stop = Stop(&targets.stop);
        for (n, shards) in first.iter().enumerate() {
            for (which, place) in daemons.iter_mut().enumerate() {
                answers(&targets.answered, SOME);
                let settings = settings(redis_url, &clickhouse, *shards);
                let daemon = place.take().unwrap();
                let daemon = with_shards(daemon, &settings, (n + which) % 2 == 0);
                targets.addresses.lock().unwrap()[which] = daemon.addr;
                *place = Some(daemon);
            }
        }
        answers(&targets.answered, SOME);
        drop(stop);
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect::<Vec<_>>()
    });
    let daemon = daemons[0].as_ref().unwrap();
    daemons.iter().flatten().for_each(drained);
    eventually(DEADLINE, "nothing is in flight", || daemon.queue()["inFlight"] == 0);
    assert_eq!(violations(&sent, &stored(daemon)), Vec::<String>::new());
    assert!(sent.len() >= 2 * SOME * first.len(), "{}", sent.len());
}

/// Ends the load even if the action under it fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn other_numbers_of_shards_lose_and_repeat_nothing() {
    let redis = RedisServer::start(Kind::Valkey, &[("appendfsync", "always")]);
    changes(&redis.url(), "shards", &[4, 2, 7, 1, 3]);
}

#[test]
fn other_numbers_of_shards_in_a_cluster_lose_and_repeat_nothing() {
    let cluster = RedisCluster::start(&[("appendfsync", "always")]);
    changes(&cluster.url(), "shards in a cluster", &[6, 1, 3]);
}
