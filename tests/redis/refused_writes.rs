//! The server rejects commands inside scripts: each command of each operation is denied on each
//! kind of key in turn, each key has a wrong type, memory is full, the server is a replica or lacks
//! replicas. In all cases no event is lost or duplicated, and nothing counts as done.

use std::collections::BTreeSet;
use std::time::Duration;

use ::redis::{Commands, Connection, cmd};
use bklit_adapters::redis::connection::RedisServer as Server;
use bklit_adapters::redis::queue::{DEFAULT_PREFIX as QUEUE, RedisQueue, RedisQueueOptions};
use bklit_pipeline::queue::{Claim, NewItem, Order, Queue, QueueError, Rejected};
use bklit_wire::event::QueuedEvent;
use bklit_wire::queue::Edit;

use crate::support::redis::{LEASE, event, item, options, queue_at};
use crate::support::servers::{Kind, RedisServer};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Operation {
    Push,
    PushOwnId,
    PushInOrder,
    PushMany,
    PushManyOwnIds,
    Settle,
    ClaimFew,
    ClaimMany,
    TakeOver,
    Renew,
    Release,
    Acknowledge,
    Retry,
    RetryEdited,
    DeleteFailed,
    DeleteWaiting,
}

use Operation::*;

const OPERATIONS: [Operation; 16] = [
    Push,
    PushOwnId,
    PushInOrder,
    PushMany,
    PushManyOwnIds,
    Settle,
    ClaimFew,
    ClaimMany,
    TakeOver,
    Renew,
    Release,
    Acknowledge,
    Retry,
    RetryEdited,
    DeleteFailed,
    DeleteWaiting,
];

/// Patterns of the keys; `?` stands for a character of a batch id.
const KEYS: [&str; 9] = [
    "analytics:queue",
    "analytics:queue:failed",
    "analytics:queue:inflight",
    "analytics:queue:batch:????????????????????????????????",
    META,
    "analytics:queue:series:*",
    "analytics:queue:ids:*",
    "analytics:queue:seen:*",
    "analytics:queue:fence",
];
const META: &str = "analytics:queue:batch:*:meta";

/// Commands that an operation can do without.
const DISPENSABLE: [(Operation, &str); 3] =
    [(ClaimMany, "sort"), (ClaimMany, "ltrim"), (ClaimMany, "memory|usage")];

#[derive(Clone, Debug)]
enum Fault {
    Denied { command: String, keys: &'static str },
    WrongType { keys: &'static str },
    Memory,
    Replica,
    TooFewReplicas,
}

/// A queue with waiting, claimed and failed events.
struct World {
    admin: Connection,
    queue: RedisQueue,
    /// With `h0`, `h1` and `h2`.
    held: Claim,
    /// The ids of the failed `f0` and the waiting `w1`.
    failed: String,
    failed_body: String,
    waiting: String,
    /// Keys that were renamed.
    aside: Vec<String>,
}

/// Where events are, sorted by id.
#[derive(Debug, PartialEq, Eq)]
struct Places {
    all: Vec<String>,
    failed: Vec<String>,
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}{n}")).collect()
}

fn events(ids: &[String]) -> Vec<QueuedEvent> {
    ids.iter().map(|id| event(id)).collect()
}

fn id_of(body: &str) -> String {
    QueuedEvent::from_json(body).unwrap_or_else(|error| panic!("{body}: {error}")).id
}

impl World {
    async fn new(server: &RedisServer, operation: Operation) -> Self {
        let mut admin = ::redis::Client::open(server.url()).unwrap().get_connection().unwrap();
        cmd("FLUSHALL").exec(&mut admin).unwrap();
        allow(&mut admin, &[]);
        let url = server.url().replace("redis://", "redis://app:a@");
        // So that remembering an id always moves those remembered before.
        let options_of_queue = RedisQueueOptions {
            durable_claims: false,
            max_client_ids: 1,
            ..RedisQueueOptions::default()
        };
        let queue = RedisQueue::new(Server::new(&options(&url)).unwrap(), &options_of_queue);
        let put = async |ids: &[String]| {
            assert_eq!(queue.push_in_order(&events(ids)).await.unwrap(), ids.len());
        };
        put(&names("h", 3)).await;
        let held = queue.claim(3, LEASE).await.unwrap().unwrap();
        put(&names("f", 2)).await;
        let bad = queue.claim(2, LEASE).await.unwrap().unwrap();
        let reject = |seq| Rejected { seq, reason: "bad".into() };
        queue.acknowledge(&bad.id, &[reject(0), reject(1)]).await.unwrap();
        if operation == TakeOver {
            put(&names("l", 2)).await;
            queue.claim(2, Duration::ZERO).await.unwrap().unwrap();
        }
        // A plain push, so that a series exists.
        queue.push(item("w0")).await.unwrap();
        let waiting = if operation == ClaimMany { 150 } else { 5 };
        put(&names("w", waiting)[1..]).await;
        let failed = queue.failed(None, 2).await.unwrap().items.remove(1);
        let second = queue.waiting(Order::OldestFirst, None, 2).await.unwrap().items.remove(1);
        assert_eq!(id_of(&second.body), "w1");
        let (failed, failed_body) = (failed.id, failed.body);
        Self { admin, queue, held, failed, failed_body, waiting: second.id, aside: Vec::new() }
    }

    async fn run(&self, operation: Operation) -> Result<(), QueueError> {
        let queue = &self.queue;
        let one = |changed: u64| assert_eq!(changed, 1);
        match operation {
            Push => queue.push(item("new")).await.map(|_| ()),
            PushOwnId => {
                let new = NewItem { event: event("new").into(), client_id: true };
                queue.push(new).await.map(|_| ())
            }
            PushInOrder => queue.push_in_order(&[event("new")]).await.map(|_| ()),
            PushMany | PushManyOwnIds => {
                let client_id = operation == PushManyOwnIds;
                let new = |id| NewItem { event: event(id).into(), client_id };
                let results = queue.push_many(vec![new("new"), new("newer")]).await;
                results.into_iter().collect::<Result<Vec<_>, _>>().map(|_| ())
            }
            Settle => queue.settle("another:1").await.map(|added| assert!(!added)),
            ClaimFew => queue.claim(3, LEASE).await.map(|claim| assert!(claim.is_some())),
            ClaimMany => queue.claim(120, LEASE).await.map(|claim| assert!(claim.is_some())),
            TakeOver => queue.claim(10, LEASE).await.map(|claim| assert!(claim.is_some())),
            Renew => queue.renew(&self.held.id, LEASE).await,
            Release => queue.release(&self.held.id).await,
            Acknowledge => {
                let rejected = [Rejected { seq: 1, reason: "worse".into() }];
                queue.acknowledge(&self.held.id, &rejected).await
            }
            Retry => queue.retry_failed(std::slice::from_ref(&self.failed)).await.map(one),
            RetryEdited => {
                let body = self.failed_body.replace("\"pageview\"", "  \"pageview\"");
                let edit = Edit { id: self.failed.clone(), body };
                queue.retry_edited(&[edit]).await.map(|edited| one(edited.changed))
            }
            DeleteFailed => queue.delete_failed(std::slice::from_ref(&self.failed)).await.map(one),
            DeleteWaiting => {
                queue.delete_waiting(std::slice::from_ref(&self.waiting)).await.map(one)
            }
        }
    }

    /// Continues after an error, as the program does.
    async fn run_again(&self, operation: Operation, error: QueueError) {
        if let QueueError::InDoubt { ticket, .. } = error
            && self.queue.settle(&ticket).await.unwrap()
        {
            return;
        }
        self.run(operation).await.unwrap();
    }

    fn begin(&mut self, fault: &Fault) {
        match fault {
            Fault::Denied { command, keys } => {
                let others: Vec<_> = KEYS.iter().filter(|key| key != &keys).collect();
                let allowed: String = others.iter().map(|keys| format!(" ~{keys}")).collect();
                let elsewhere = format!("(+{command}{allowed})");
                allow(&mut self.admin, &[&format!("-{command}"), &elsewhere]);
            }
            Fault::WrongType { keys } => {
                self.aside = self.admin.keys(keys).unwrap();
                for key in &self.aside {
                    let () = self.admin.rename(key, format!("aside:{key}")).unwrap();
                    let () = match *keys == META {
                        true => self.admin.set(key, "x").unwrap(),
                        false => self.admin.hset(key, "x", "x").unwrap(),
                    };
                }
            }
            Fault::Memory => self.config("maxmemory", "1"),
            Fault::TooFewReplicas => self.config("min-replicas-to-write", "1"),
            Fault::Replica => {
                cmd("REPLICAOF").arg("127.0.0.1").arg(1).exec(&mut self.admin).unwrap();
            }
        }
    }

    fn end(&mut self, fault: &Fault) {
        match fault {
            Fault::Denied { .. } => allow(&mut self.admin, &[]),
            Fault::WrongType { .. } => {
                for key in std::mem::take(&mut self.aside) {
                    let () = self.admin.rename(format!("aside:{key}"), key).unwrap();
                }
            }
            Fault::Memory => self.config("maxmemory", "0"),
            Fault::TooFewReplicas => self.config("min-replicas-to-write", "0"),
            Fault::Replica => {
                cmd("REPLICAOF").arg("NO").arg("ONE").exec(&mut self.admin).unwrap();
            }
        }
    }

    fn config(&mut self, name: &str, value: &str) {
        cmd("CONFIG").arg("SET").arg(name).arg(value).exec(&mut self.admin).unwrap();
    }

    /// Reads the keys directly.
    fn places(&mut self) -> Places {
        let admin = &mut self.admin;
        let bodies: Vec<String> = admin.lrange(QUEUE, 0, -1).unwrap();
        let mut all: Vec<_> = bodies.iter().map(|body| id_of(body)).collect();
        let batches: BTreeSet<String> = admin.zrange(KEYS[2], 0, -1).unwrap();
        let lists: Vec<String> = admin.keys(KEYS[3]).unwrap();
        for list in lists {
            let id = list.rsplit(':').next().unwrap();
            assert!(batches.contains(id), "an unregistered batch: {id}");
            let bodies: Vec<String> = admin.lrange(&list, 0, -1).unwrap();
            all.extend(bodies.iter().map(|body| id_of(body)));
        }
        let records: Vec<String> = admin.lrange(KEYS[1], 0, -1).unwrap();
        let body = |record: &String| -> String {
            let record: serde_json::Value = serde_json::from_str(record)
                .unwrap_or_else(|error| panic!("{record} in the failed list: {error}"));
            id_of(record["body"].as_str().unwrap())
        };
        let mut failed: Vec<_> = records.iter().map(body).collect();
        all.extend(failed.iter().cloned());
        all.sort();
        failed.sort();
        Places { all, failed }
    }

    /// The commands that the operation runs on the server.
    async fn commands_of(&mut self, operation: Operation) -> BTreeSet<String> {
        cmd("CONFIG").arg("RESETSTAT").exec(&mut self.admin).unwrap();
        self.run(operation).await.unwrap();
        let stats: String = cmd("INFO").arg("commandstats").query(&mut self.admin).unwrap();
        let names = stats.lines().filter_map(|line| line.strip_prefix("cmdstat_"));
        let names = names.filter_map(|line| Some(line.split_once(':')?.0.to_owned()));
        let own =
            ["config", "client", "hello", "eval", "script", "info", "time", "auth", "command"];
        names.filter(|name| !own.iter().any(|own| name.starts_with(own))).collect()
    }
}

/// Grants the queue's user everything except what the rules deny.
fn allow(admin: &mut Connection, rules: &[&str]) {
    let all = ["reset", "on", ">a", "~*", "&*", "+@all"];
    cmd("ACL").arg("SETUSER").arg("app").arg(&all).arg(rules).exec(admin).unwrap();
}

/// The expected state after the operation.
fn expected(operation: Operation, before: &Places) -> Places {
    let (mut all, mut failed) = (before.all.clone(), before.failed.clone());
    let without = |ids: &mut Vec<String>, gone: &[&str]| {
        ids.retain(|id| !gone.contains(&id.as_str()));
    };
    match operation {
        Push | PushOwnId | PushInOrder => all.push("new".to_owned()),
        PushMany | PushManyOwnIds => all.extend(["new".to_owned(), "newer".to_owned()]),
        Acknowledge => {
            without(&mut all, &["h0", "h2"]);
            failed.push("h1".to_owned());
        }
        Retry | RetryEdited => without(&mut failed, &["f0"]),
        DeleteFailed => {
            without(&mut all, &["f0"]);
            without(&mut failed, &["f0"]);
        }
        DeleteWaiting => without(&mut all, &["w1"]),
        Settle | ClaimFew | ClaimMany | TakeOver | Renew | Release => {}
    }
    all.sort();
    failed.sort();
    Places { all, failed }
}

/// Runs the operation with the fault, then without; returns whether it was rejected.
async fn survives(server: &RedisServer, operation: Operation, fault: &Fault) -> bool {
    let mut world = World::new(server, operation).await;
    let before = world.places();
    let after = expected(operation, &before);
    world.begin(fault);
    let outcome = world.run(operation).await;
    world.end(fault);
    let refused = outcome.is_err();
    if let Err(error) = outcome {
        assert_eq!(world.places(), before, "{operation:?} changed something: {fault:?}: {error}");
        world.run_again(operation, error).await;
    }
    assert_eq!(world.places(), after, "{operation:?}, refused: {refused}, {fault:?}");
    refused
}

async fn rejected_commands_leave_no_partial_changes(kind: Kind) {
    let server = RedisServer::start(kind, &[("maxmemory-policy", "noeviction")]);
    for operation in OPERATIONS {
        let mut world = World::new(&server, operation).await;
        let commands = world.commands_of(operation).await;
        let listed = cmd("COMMAND").arg("LIST").arg("FILTERBY").arg("ACLCAT").arg("write").take();
        let writes: BTreeSet<String> = listed.query(&mut world.admin).unwrap();
        assert!(commands.iter().any(|command| writes.contains(command)), "{commands:?}");
        for command in commands {
            let mut refused = 0;
            for keys in KEYS {
                let fault = Fault::Denied { command: command.clone(), keys };
                refused += usize::from(survives(&server, operation, &fault).await);
            }
            let needed = !DISPENSABLE.contains(&(operation, &command));
            let is_write = writes.contains(&command);
            assert!(!(needed && is_write) || refused > 0, "{operation:?} without {command}");
        }
        for keys in KEYS {
            survives(&server, operation, &Fault::WrongType { keys }).await;
        }
        let refused = survives(&server, operation, &Fault::Memory).await;
        let adds = matches!(
            operation,
            Push | PushOwnId | PushInOrder | PushMany | PushManyOwnIds | Settle
        );
        assert_eq!(refused, adds, "{operation:?} without memory: consumers go on");
        for fault in [Fault::Replica, Fault::TooFewReplicas] {
            assert!(survives(&server, operation, &fault).await, "{operation:?}: {fault:?}");
        }
    }
}

#[tokio::test]
async fn commands_rejected_by_valkey_leave_no_partial_changes() {
    rejected_commands_leave_no_partial_changes(Kind::Valkey).await;
}

#[tokio::test]
async fn commands_rejected_by_redis_leave_no_partial_changes() {
    rejected_commands_leave_no_partial_changes(Kind::Redis).await;
}

#[tokio::test]
async fn a_push_into_a_closed_series_is_not_reported_as_queued() {
    for kind in Kind::ALL {
        let server = RedisServer::start(kind, &[]);
        let queue = queue_at(&server);
        queue.push(item("a")).await.unwrap();
        let series = server.cli(&["KEYS", "*:series:*"]);
        server.cli(&["SET", &series, "closed"]);
        let pushed = queue.push(item("b")).await;
        assert!(matches!(&pushed, Err(QueueError::Unavailable(_))), "{pushed:?}");
        assert_eq!(server.cli(&["LLEN", QUEUE]), "1");
        // The next push starts a new series.
        queue.push(item("b")).await.unwrap();
        assert_eq!(server.cli(&["LLEN", QUEUE]), "2");
    }
}
