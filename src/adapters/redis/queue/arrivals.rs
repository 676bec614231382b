//! Waits until there may be something to claim.
//!
//! The server reports when a list, a lease or the layout of the shards has changed since it was last
//! read (client tracking, Redis 6 and later). So waiting costs it nothing, and items that other
//! programs push are noticed at once. A server or proxy without this is polled. One connection serves
//! all shards of a server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, RedisError, Value, cmd, from_redis_value};
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use super::keys::{AllKeys, Keys};
use super::scripts::Scripts;
use super::shards::layouts::Layouts;
use super::unavailable;
use crate::redis::connection::{RedisFailure, RedisServer, is_broken};
use bklit_pipeline::queue::QueueError;

/// Interval of checks although the server reports changes: a report may be lost with a connection
/// whose end goes unnoticed. In a cluster, where each shard takes a command, it is longer.
const CHECK_EVERY: Duration = Duration::from_secs(20);
const CHECK_NODES_EVERY: Duration = Duration::from_secs(30);
/// Intervals of polling a server that reports nothing: at first, after a while without items, and
/// after a long while.
const MIN_POLL: Duration = Duration::from_millis(20);
const MAX_POLL: Duration = Duration::from_millis(250);
const IDLE_POLL: Duration = Duration::from_secs(5);
/// How long without items counts as a long while.
const IDLE_AFTER: Duration = Duration::from_secs(60);
/// The pause before a failed node is tried again while others work.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Notices items to claim.
pub(super) struct Arrivals {
    server: RedisServer,
    keys: Arc<AllKeys>,
    scripts: Arc<Scripts>,
    layouts: Arc<Layouts>,
    /// Notified of what this process pushes and releases.
    pushed: Arc<Notify>,
    changed: Arc<Notify>,
    /// One caller at a time waits; the others wait for it.
    nodes: Mutex<Nodes>,
}

/// The nodes that have shards.
#[derive(Default)]
struct Nodes {
    /// How many shards these are.
    served: u32,
    all: Vec<Node>,
}

/// A node and its shards.
struct Node {
    server: RedisServer,
    shards: Vec<Arc<Keys>>,
    watch: Option<Watch>,
    failed: Option<Instant>,
    /// Whether it has lost a shard to another node.
    is_outdated: bool,
}

/// A connection on which the server reports changes.
struct Watch {
    connection: MultiplexedConnection,
    ended: Arc<AtomicBool>,
    /// Whether it really does.
    is_reporting: bool,
    /// When it was last known that the server accepts writes.
    written: Instant,
}

/// What can be claimed.
#[derive(Default)]
struct Found {
    /// The shards that have something.
    ready: Vec<u32>,
    /// The time until the next of the others may, if known.
    next: Option<Duration>,
}

impl Arrivals {
    /// Connects when it is first used.
    pub(super) fn new(
        server: RedisServer,
        keys: Arc<AllKeys>,
        scripts: Arc<Scripts>,
        layouts: Arc<Layouts>,
        pushed: Arc<Notify>,
    ) -> Self {
        let (changed, nodes) = (Arc::default(), Mutex::default());
        Self { server, keys, scripts, layouts, pushed, changed, nodes }
    }

    /// Returns the shards that have something to claim, at once or when there may be some. Empty if
    /// that cannot be determined. Cancel-safe.
    pub(super) async fn ready(&self) -> Vec<u32> {
        let mut nodes = self.nodes.lock().await;
        let began = Instant::now();
        let mut pause = MIN_POLL;
        loop {
            let Ok(found) = self.look(&mut nodes).await else {
                *nodes = Nodes::default();
                // In a cluster, another node may have the keys by now.
                self.server.forget();
                // The next claim reports the error.
                tokio::time::sleep(MAX_POLL).await;
                return Vec::new();
            };
            if !found.ready.is_empty() {
                return found.ready;
            }
            let longest = nodes.longest_wait(pause);
            let wait = found.next.map_or(longest, |lease_end| lease_end.min(longest));
            tokio::select! {
                // Checks again: another consumer may have been faster.
                () = self.pushed.notified() => pause = MIN_POLL,
                () = self.changed.notified() => {}
                () = tokio::time::sleep(wait) => {
                    let most = if began.elapsed() < IDLE_AFTER { MAX_POLL } else { IDLE_POLL };
                    pause = (pause * 3 / 2).min(most);
                }
            }
        }
    }

    /// What can be claimed. A change after that is reported. Fails if no node answers.
    async fn look(&self, nodes: &mut Nodes) -> Result<Found, QueueError> {
        loop {
            let served = self.layouts.served();
            if nodes.served != served {
                *nodes = self.nodes(served).await?;
            }
            let every = nodes.check_every();
            let looks = nodes.all.iter_mut().map(|node| self.look_at(node, every));
            let (mut found, mut failure, mut works) = (Found::default(), None, false);
            for looked in join_all(looks).await {
                match looked {
                    Ok(one) => {
                        works = true;
                        found.ready.extend(one.ready);
                        found.next = found.next.into_iter().chain(one.next).min();
                    }
                    Err(error) => failure = Some(error),
                }
            }
            if let Some(failure) = failure.filter(|_| !works) {
                return Err(failure);
            }
            if nodes.all.iter().any(|node| node.is_outdated) {
                // They are grouped again at the next check.
                nodes.served = 0;
                return Ok(found);
            }
            // The layout may have been read just now.
            if self.layouts.served() == served || !found.ready.is_empty() {
                return Ok(found);
            }
        }
    }

    /// Groups the shards by the node that has them.
    async fn nodes(&self, served: u32) -> Result<Nodes, QueueError> {
        let mut names: Vec<String> = Vec::new();
        let mut all: Vec<Node> = Vec::new();
        for shard in 0..served {
            let keys = self.keys.of(shard);
            let server = self.server.clone().for_key(&keys.queue);
            let name = server.node_name().await.map_err(unavailable)?;
            match names.iter().position(|known| *known == name) {
                Some(known) => all[known].shards.push(keys),
                None => {
                    names.push(name);
                    all.push(Node::new(server, keys));
                }
            }
        }
        Ok(Nodes { served, all })
    }

    /// What can be claimed on a node; nothing for a while after it has failed.
    async fn look_at(&self, node: &mut Node, check_every: Duration) -> Result<Found, QueueError> {
        if node.failed.is_some_and(|failed| failed.elapsed() < RETRY_AFTER) {
            return Err(unavailable("it failed a moment ago"));
        }
        let found = self.try_look_at(node, check_every).await;
        node.failed = found.is_err().then(Instant::now);
        if let Err(failure) = &found {
            node.watch = None;
            node.is_outdated = failure.is_moved();
            node.server.forget();
        }
        found.map_err(unavailable)
    }

    async fn try_look_at(
        &self,
        node: &mut Node,
        check_every: Duration,
    ) -> Result<Found, RedisFailure> {
        let open = node.watch.take().filter(|watch| !watch.ended.load(Relaxed));
        let open = match open {
            Some(open) => open,
            None => self.connect(&node.server).await?,
        };
        let Watch { connection, written, .. } = node.watch.insert(open);
        if written.elapsed() >= check_every {
            *written = Instant::now();
            check_primary(connection, &node.shards).await?;
        }
        let filled = self.filled(connection, &node.shards).await?;
        let mut found = Found::default();
        for keys in filled {
            match self.ready_in(connection, &keys).await? {
                Some(Duration::ZERO) => found.ready.push(keys.shard),
                ready_in => found.next = found.next.into_iter().chain(ready_in).min(),
            }
        }
        Ok(found)
    }

    async fn connect(&self, server: &RedisServer) -> Result<Watch, RedisFailure> {
        let ended = Arc::new(AtomicBool::new(false));
        let sink = {
            let (changed, ended) = (Arc::clone(&self.changed), Arc::clone(&ended));
            move |push: PushInfo| {
                match push.kind {
                    PushKind::Invalidate => changed.notify_one(),
                    PushKind::Disconnection => {
                        ended.store(true, Relaxed);
                        changed.notify_one();
                    }
                    _ => {}
                }
                Ok(())
            }
        };
        let (mut connection, has_pushes) = server.connect(sink).await?;
        let is_reporting = has_pushes
            && match track(&mut connection).await.map_err(RedisFailure::from) {
                Ok(()) => true,
                Err(failure) if failure.is_response() => {
                    tracing::debug!(error = %failure, "Redis does not report changes; polling it");
                    false
                }
                Err(failure) => return Err(failure),
            };
        Ok(Watch { connection, ended, is_reporting, written: Instant::now() })
    }

    /// The shards that have items or batches. Reads the layout, too, where the first one is.
    async fn filled(
        &self,
        connection: &mut MultiplexedConnection,
        shards: &[Arc<Keys>],
    ) -> Result<Vec<Arc<Keys>>, RedisError> {
        let mut reads = redis::pipe();
        // A command for all shards is possible where they need not have one slot.
        let together = if self.server.is_cluster() { 1 } else { shards.len() };
        for shards in shards.chunks(together) {
            reads.cmd("EXISTS");
            shards.iter().for_each(|keys| {
                reads.arg(&keys.queue).arg(&keys.inflight);
            });
        }
        let first = shards.iter().find(|keys| keys.shard == 0);
        if let Some(keys) = first {
            reads.cmd("GET").arg(&keys.layout);
        }
        let mut values: Vec<Value> = reads.query_async(connection).await?;
        if first.is_some()
            && let Some(layout) = values.pop()
        {
            self.layouts.note(from_redis_value::<Option<String>>(layout)?.as_deref());
        }
        let mut filled = Vec::new();
        for (shards, exist) in shards.chunks(together).zip(values) {
            if from_redis_value::<u64>(exist)? > 0 {
                filled.extend(shards.iter().cloned());
            }
        }
        Ok(filled)
    }

    /// The time until something of a shard can be claimed, `None` if unknown.
    async fn ready_in(
        &self,
        connection: &mut MultiplexedConnection,
        keys: &Keys,
    ) -> Result<Option<Duration>, RedisError> {
        let Keys { queue, inflight, .. } = keys;
        let mut lengths = redis::pipe();
        lengths.cmd("LLEN").arg(queue).cmd("ZCARD").arg(inflight);
        match lengths.query_async(connection).await? {
            (1.., _) => return Ok(Some(Duration::ZERO)),
            (0u64, 0u64) => return Ok(None),
            _ => {}
        }
        let mut call = self.scripts.ready_in.key(queue);
        let millis: i64 = call.key(inflight).invoke_async(connection).await?;
        Ok(u64::try_from(millis).ok().map(Duration::from_millis))
    }
}

impl Node {
    fn new(server: RedisServer, keys: Arc<Keys>) -> Self {
        Self { server, shards: vec![keys], watch: None, failed: None, is_outdated: false }
    }
}

impl Nodes {
    fn check_every(&self) -> Duration {
        if self.all.len() > 1 { CHECK_NODES_EVERY } else { CHECK_EVERY }
    }

    /// How long to wait for reports; `poll` where a server sends none.
    fn longest_wait(&self, poll: Duration) -> Duration {
        let watches = || self.all.iter().filter_map(|node| node.watch.as_ref());
        let are_reporting = watches().all(|watch| watch.is_reporting);
        let longest = if are_reporting { self.check_every() } else { poll };
        let has_failed = self.all.iter().any(|node| node.watch.is_none());
        if has_failed { longest.min(RETRY_AFTER) } else { longest }
    }
}

/// Fails if the server has become a replica, which answers all reads. The write removes nothing.
async fn check_primary(
    connection: &mut MultiplexedConnection,
    shards: &[Arc<Keys>],
) -> Result<(), RedisError> {
    let Some(keys) = shards.first() else { return Ok(()) };
    let command = cmd("ZREM").arg(&keys.inflight).arg("").take();
    match command.query_async::<()>(connection).await {
        Err(error) if is_broken(&error) => Err(error),
        // A server that rejects writes for another reason is still the right one.
        _ => Ok(()),
    }
}

/// Asks for reports about keys read on this connection.
async fn track(connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
    cmd("CLIENT").arg("TRACKING").arg("ON").query_async(connection).await
}
