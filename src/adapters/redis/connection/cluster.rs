//! A Redis Cluster: which node has which of the 16,384 slots.
//!
//! The client library's own cluster connection is not used: it repeats a command whose connection
//! was lost, so that a push might be added twice, and it does not say which connection a command
//! took, on which its fsync has to be awaited (`WAITAOF`).

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{ConnectionAddr, RedisError, Value, cmd, from_redis_value};

use super::RedisFailure;
use super::address::tcp;
use super::node::{Access, Sink};
use bklit_net::server_url::Host;
use tokio::time::Instant;

/// How long one node may take to answer before the next one is asked as well.
const HEAD_START: Duration = Duration::from_millis(20);
/// After this many nodes, all others are queried at once.
const MAX_HEAD_STARTS: u32 = 10;
/// How long the list of nodes is used for queries to all of them.
const NODES_KNOWN: Duration = Duration::from_secs(60);

const SLOTS: u16 = 16_384;
const PORT: u16 = 6379;

/// The nodes of a cluster, as far as they are known. Shared by all connections to it.
#[derive(Clone)]
pub(super) struct Cluster {
    seeds: Vec<ConnectionAddr>,
    is_tls: bool,
    known: Arc<Mutex<Known>>,
    /// How often the nodes were queried; each time, a different one is queried first.
    asked: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Known {
    /// Later entries count.
    ranges: Vec<Range>,
    /// All nodes, replicas included.
    nodes: Vec<ConnectionAddr>,
    /// When the cluster was last queried, even without success.
    asked: Option<Instant>,
}

/// A range of slots, and the node that serves it.
struct Range {
    first: u16,
    last: u16,
    primary: ConnectionAddr,
    has_replicas: bool,
}

/// Where a command has to be sent instead.
pub(super) enum Redirect {
    /// To another node from now on, which is noted.
    Moved,
    /// To this node, once, because the slot is being moved there.
    Ask(ConnectionAddr),
}

/// The slot of a key: that of its hash tag, the text between the first `{` and the next `}`.
pub(super) fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM, which clusters hash keys with.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc: u16, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

impl Cluster {
    pub(super) fn new(seeds: Vec<ConnectionAddr>, is_tls: bool) -> Self {
        Self { seeds, is_tls, known: Arc::default(), asked: Arc::default() }
    }

    /// The primary that has a slot.
    pub(super) async fn owner(
        &self,
        access: &Access,
        slot: u16,
    ) -> Result<ConnectionAddr, RedisFailure> {
        if let Some((owner, _)) = self.known_owner(slot) {
            return Ok(owner);
        }
        self.refresh(access).await?;
        self.known_owner(slot).map(|(owner, _)| owner).ok_or_else(|| {
            let reason = format!("no node of the cluster has the slot {slot}");
            RedisFailure::Unreachable { address: self.seeds[0].to_string(), reason }
        })
    }

    /// All primaries.
    pub(super) async fn primaries(
        &self,
        access: &Access,
    ) -> Result<Vec<ConnectionAddr>, RedisFailure> {
        self.refresh(access).await?;
        let mut primaries: Vec<ConnectionAddr> = Vec::new();
        for Range { primary, .. } in &self.known().ranges {
            if !primaries.contains(primary) {
                primaries.push(primary.clone());
            }
        }
        Ok(primaries)
    }

    /// All nodes, replicas included; new ones are noticed within [`NODES_KNOWN`].
    pub(super) async fn nodes(&self, access: &Access) -> Vec<ConnectionAddr> {
        let is_due = self.known().asked.is_none_or(|at| at.elapsed() >= NODES_KNOWN);
        if is_due {
            // Those last seen are better than none.
            let _ = self.refresh(access).await;
        }
        self.known().nodes.clone()
    }

    /// Forgets which node serves which slot, because one cannot be reached and another may have taken
    /// over.
    pub(super) fn forget(&self) {
        self.known().ranges.clear();
    }

    /// Where an error says that the command has to be sent, answered by `from`.
    pub(super) fn redirect(&self, error: &RedisError, from: &ConnectionAddr) -> Option<Redirect> {
        let (address, slot) = error.redirect_node()?;
        let (host, port) = address.rsplit_once(':')?;
        let to = self.address(host, port.parse().ok()?, from)?;
        if error.code() == Some("ASK") {
            return Some(Redirect::Ask(to));
        }
        let mut known = self.known();
        let is_primary = |range: &&Range| range.primary == to;
        let has_replicas =
            known.ranges.iter().find(is_primary).is_none_or(|range| range.has_replicas);
        known.ranges.retain(|range| (range.first, range.last) != (slot, slot));
        known.ranges.push(Range { first: slot, last: slot, primary: to, has_replicas });
        Some(Redirect::Moved)
    }

    /// Whether the primary that has a slot has replicas, one of which may be promoted. A primary
    /// about which nothing is known is assumed to have some.
    pub(super) fn has_replicas(&self, slot: u16) -> bool {
        self.known_owner(slot).is_none_or(|(_, has_replicas)| has_replicas)
    }

    fn known_owner(&self, slot: u16) -> Option<(ConnectionAddr, bool)> {
        let known = self.known();
        let mut ranges = known.ranges.iter().rev();
        let range = ranges.find(|range| (range.first..=range.last).contains(&slot))?;
        Some((range.primary.clone(), range.has_replicas))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queries all nodes, each with a short head start, until one answers. The first one varies: a
    /// node may be cut off from the others, and know only an earlier state.
    async fn refresh(&self, access: &Access) -> Result<(), RedisFailure> {
        let mut candidates = self.seeds.clone();
        {
            let mut known = self.known();
            known.asked = Some(Instant::now());
            let others = known.nodes.iter().filter(|node| !self.seeds.contains(node));
            candidates.extend(others.cloned());
        }
        let first = self.asked.fetch_add(1, Relaxed) % candidates.len().max(1);
        candidates.rotate_left(first);
        let ignore: Sink = Arc::new(|_| Ok(()));
        let mut asking: FuturesUnordered<_> = candidates
            .iter()
            .zip((0..MAX_HEAD_STARTS).chain(std::iter::repeat(MAX_HEAD_STARTS)))
            .map(|(node, before)| {
                let ignore = &ignore;
                Box::pin(async move {
                    tokio::time::sleep(HEAD_START * before).await;
                    let mut connection = access.open(node, ignore).await?.connection;
                    self.ask(node, &mut connection).await
                })
            })
            .collect();
        let mut failure = None;
        while let Some(asked) = asking.next().await {
            match asked {
                Ok(found) => {
                    *self.known() = found;
                    return Ok(());
                }
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| RedisFailure::Unreachable {
            address: "the cluster".to_owned(),
            reason: "no node is known".to_owned(),
        }))
    }

    async fn ask(
        &self,
        node: &ConnectionAddr,
        connection: &mut MultiplexedConnection,
    ) -> Result<Known, RedisFailure> {
        let shards = cmd("CLUSTER").arg("SLOTS").query_async(connection).await;
        let shards: Vec<Vec<Value>> = shards.map_err(|error: RedisError| {
            match error.to_string().contains("cluster support disabled") {
                true => RedisFailure::NoCluster(node.to_string()),
                false => error.into(),
            }
        })?;
        let mut found = Known { asked: Some(Instant::now()), ..Known::default() };
        for shard in shards {
            let mut fields = shard.into_iter();
            let mut number = || from_redis_value::<u16>(fields.next().unwrap_or(Value::Nil));
            let (Ok(first), Ok(last)) = (number(), number()) else { continue };
            let nodes: Vec<_> = fields.filter_map(|field| self.parse_node(field, node)).collect();
            let Some(primary) = nodes.first().cloned() else { continue };
            let has_replicas = nodes.len() > 1;
            found.ranges.push(Range { first, last, primary, has_replicas });
            for node in nodes {
                if !found.nodes.contains(&node) {
                    found.nodes.push(node);
                }
            }
        }
        if found.ranges.is_empty() {
            // It was reset, or has not joined the others yet.
            let reason = "it knows no node with slots".to_owned();
            return Err(RedisFailure::Unreachable { address: node.to_string(), reason });
        }
        Ok(found)
    }

    fn parse_node(&self, field: Value, from: &ConnectionAddr) -> Option<ConnectionAddr> {
        let mut fields = from_redis_value::<Vec<Value>>(field).ok()?.into_iter();
        let host: Option<String> = from_redis_value(fields.next()?).ok()?;
        let port = from_redis_value(fields.next()?).ok()?;
        self.address(&host.unwrap_or_default(), port, from)
    }

    /// A node that does not know its own name has the one under which it was queried.
    fn address(&self, host: &str, port: u16, from: &ConnectionAddr) -> Option<ConnectionAddr> {
        let host = match (host, from) {
            ("" | "?", ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. }) => host,
            _ => host,
        };
        tcp(&Host { name: host.to_owned(), port: Some(port) }, PORT, self.is_tls).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_with_the_same_tag_have_the_same_slot() {
        // From the specification of Redis Cluster.
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot(b"foo{{bar}}zap"), slot(b"{bar"));
        assert_eq!(slot(b"{analytics:queue}:failed"), slot(b"analytics:queue"));
    }
}
