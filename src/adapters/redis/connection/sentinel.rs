//! Sentinels: which server is the primary now.
//!
//! The client library's own Sentinel support is not used: it has no limit on how long it may take, and
//! speaks one protocol only.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{ConnectionAddr, RedisConnectionInfo, Value, cmd};
use tokio::time::Instant;

use super::RedisFailure;
use super::address::tcp;
use super::node::{Access, Sink};
use bklit_net::server_url::Host;

const PORT: u16 = 6379;

/// How long the other Sentinels may take to answer once the first has.
const OTHERS_ANSWER: Duration = Duration::from_millis(200);

/// What a Sentinel knows about a server.
struct Answer {
    primary: ConnectionAddr,
    /// The number of the last failover.
    epoch: u64,
    has_replicas: bool,
}

/// The Sentinels of a server.
#[derive(Clone)]
pub(super) struct Sentinels {
    addresses: Vec<ConnectionAddr>,
    name: String,
    access: Access,
    is_tls: bool,
    /// Whether there may be a replica that works, connected to the primary or not: it may be
    /// promoted. There is none only if most of the Sentinels say so.
    has_replicas: Arc<AtomicBool>,
}

impl Sentinels {
    pub(super) fn new(
        addresses: Vec<ConnectionAddr>,
        name: String,
        login: RedisConnectionInfo,
        access: &Access,
        is_tls: bool,
    ) -> Self {
        let access = access.with_login(login);
        Self { addresses, name, access, is_tls, has_replicas: Arc::default() }
    }

    pub(super) fn has_replicas(&self) -> bool {
        self.has_replicas.load(Relaxed)
    }

    /// The primary, according to the Sentinel that knows of the latest failover. All are asked at the
    /// same time: some may be on the machine that has just failed, or cut off from the others.
    pub(super) async fn primary(&self) -> Result<ConnectionAddr, RedisFailure> {
        let mut asking: FuturesUnordered<_> =
            self.addresses.iter().map(|address| Box::pin(self.ask(address))).collect();
        let (mut answers, mut failure, mut deadline) = (Vec::new(), None, None);
        loop {
            let asked = match deadline {
                None => asking.next().await,
                Some(deadline) => {
                    tokio::time::timeout_at(deadline, asking.next()).await.unwrap_or_default()
                }
            };
            match asked {
                None => break,
                Some(Err(error)) => failure = Some(error),
                Some(Ok(answer)) => {
                    deadline.get_or_insert_with(|| Instant::now() + OTHERS_ANSWER);
                    answers.push(answer);
                }
            }
        }
        // One that is cut off also sees no replicas.
        let without = answers.iter().filter(|answer| !answer.has_replicas).count();
        self.has_replicas.store(without <= self.addresses.len() / 2, Relaxed);
        let latest = answers.into_iter().max_by_key(|answer| answer.epoch);
        latest
            .map(|answer| answer.primary)
            .ok_or_else(|| failure.unwrap_or_else(|| self.unreachable("no Sentinel is named")))
    }

    async fn ask(&self, sentinel: &ConnectionAddr) -> Result<Answer, RedisFailure> {
        let ignore: Sink = Arc::new(|_| Ok(()));
        let mut connection = self.access.open(sentinel, &ignore).await?.connection;
        let command = cmd("SENTINEL").arg("MASTER").arg(&self.name).take();
        let fields: HashMap<String, String> = command
            .query_async(&mut connection)
            .await
            .map_err(|error| self.unreachable(&format!("the Sentinel {sentinel}: {error}")))?;
        let field = |name: &str| fields.get(name).map_or("", String::as_str);
        let flags = field("flags");
        if flags.contains("down") || !flags.contains("master") {
            return Err(self.unreachable(&format!("the Sentinel {sentinel} says it is {flags}")));
        }
        let command = cmd("SENTINEL").arg("REPLICAS").arg(&self.name).take();
        // Before Redis 5, it has another name, and no append-only file can be awaited.
        let replicas: Vec<HashMap<String, String>> =
            command.query_async(&mut connection).await.unwrap_or_default();
        let is_up = |replica: &HashMap<String, String>| {
            let flags = replica.get("flags").map_or("", String::as_str);
            !flags.contains("down") && !flags.contains("disconnected")
        };
        let host = Host { name: field("ip").to_owned(), port: field("port").parse().ok() };
        let primary =
            tcp(&host, PORT, self.is_tls).map_err(|problem| self.unreachable(&problem))?;
        let epoch = field("config-epoch").parse().unwrap_or(0);
        Ok(Answer { primary, epoch, has_replicas: replicas.iter().any(is_up) })
    }

    fn unreachable(&self, reason: &str) -> RedisFailure {
        RedisFailure::Unreachable { address: self.name.clone(), reason: reason.to_owned() }
    }
}

/// Fails if a server is not a primary: Sentinels learn late that a server was demoted.
pub(super) async fn check_primary(
    address: &ConnectionAddr,
    connection: &mut MultiplexedConnection,
) -> Result<(), RedisFailure> {
    let role: Result<Vec<Value>, _> = cmd("ROLE").query_async(connection).await;
    match role {
        Ok(role) if matches!(role.first(), Some(Value::BulkString(name)) if name != b"master") => {
            let reason = "it is not the primary".to_owned();
            Err(RedisFailure::Unreachable { address: address.to_string(), reason })
        }
        Err(error) if error.code().is_none() => Err(error.into()),
        // Without the permission for ROLE, the first write shows it.
        _ => Ok(()),
    }
}
