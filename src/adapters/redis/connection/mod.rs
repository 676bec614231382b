//! Connections of the Redis adapters: opened on demand, dropped when they fail, and reopened after
//! a growing pause.
//!
//! | file | contents |
//! | --- | --- |
//! | `address.rs` | URLs |
//! | `node.rs` | opening a connection: TLS, keepalive, RESP3 or RESP2 |
//! | `sentinel.rs`, `cluster.rs` | which server to connect to |
//! | `link.rs` | one connection at a time, replaced when it is lost |
//! | `links.rs` | links to all nodes of a cluster |
//! | `subscriber.rs` | subscriptions |

mod address;
mod cluster;
mod link;
mod links;
mod node;
mod sentinel;
mod subscriber;

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{ConnectionAddr, ErrorKind, PushInfo, RedisError};

use address::{Address, Servers};
use cluster::{Cluster, Redirect};
pub(super) use link::is_broken;
pub use link::{Connection, Link};
pub use links::Links;
use node::{Access, Opened, Sink};
use sentinel::Sentinels;
pub use subscriber::{Incoming, Subscriber};

/// Server address and timeouts.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// `redis://[user:password@]host[:port][/database]`, `rediss://` for TLS, `unix:///path`,
    /// `redis+sentinel://host[:port],…/name[/database]`, `redis+cluster://host[:port],…`.
    pub url: String,
    /// Root certificates (PEM) for TLS; `None` for the well-known ones.
    pub root_certificates: Option<Vec<u8>>,
    /// Time limit for connecting.
    pub connect_timeout: Duration,
    /// Time limit for a response.
    pub response_timeout: Duration,
}

/// A Redis (or Valkey) server, or several that act as one. Cheap to clone; does not connect by
/// itself.
#[derive(Clone)]
pub struct RedisServer {
    shared: Arc<Shared>,
    place: Place,
}

struct Shared {
    shown: String,
    access: Access,
    servers: Directory,
}

/// How to find the server to connect to.
enum Directory {
    One(ConnectionAddr),
    Sentinels(Sentinels),
    Cluster(Cluster),
}

/// Which node of a cluster is meant. Elsewhere there is only one.
#[derive(Clone)]
enum Place {
    /// The primary that has this slot.
    Slot(u16),
    Node(ConnectionAddr),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum RedisFailure {
    /// There is no connection.
    #[error("no connection to Redis at {address}: {reason}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// The reason.
        reason: String,
    },
    /// The server rejected the command, or the connection was lost before the response; then the
    /// command may have been executed.
    #[error("Redis: {0}")]
    Command(#[from] RedisError),
    /// The URL cannot be used.
    #[error("the URL {0}")]
    Url(String),
    /// The server belongs to a cluster, but the URL does not say so. The command was not executed.
    #[error(
        "Redis at {0} belongs to a cluster: write redis+cluster:// instead of redis:// in redis_url"
    )]
    IsCluster(String),
    /// The server does not belong to a cluster, but the URL says so.
    #[error(
        "Redis at {0} does not belong to a cluster: write redis:// instead of redis+cluster:// in \
         redis_url"
    )]
    NoCluster(String),
}

impl RedisFailure {
    /// Whether the server has responded, so that the failure concerns this command only.
    pub fn is_response(&self) -> bool {
        let Self::Command(error) = self else { return false };
        matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension) && !is_broken(error)
    }

    /// Whether the keys are on another node of the cluster by now. The command was not executed.
    pub fn is_moved(&self) -> bool {
        matches!(self, Self::Command(error) if error.code() == Some("MOVED"))
    }
}

/// The slot of a key in a cluster.
#[cfg(test)]
pub(super) fn slot_of(key: &str) -> u16 {
    cluster::slot(key.as_bytes())
}

impl std::fmt::Debug for RedisServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RedisServer({})", self.shared.shown)
    }
}

impl RedisServer {
    /// Reads the options.
    ///
    /// # Errors
    /// [`RedisFailure::Url`], or [`RedisFailure::Command`] if the certificates are invalid.
    pub fn new(options: &RedisOptions) -> Result<Self, RedisFailure> {
        let Address { servers, login, is_tls, shown } =
            Address::parse(&options.url).map_err(RedisFailure::Url)?;
        let roots = options.root_certificates.clone();
        let access = Access::new(login, roots, options.connect_timeout, options.response_timeout);
        let servers = match servers {
            Servers::One(address) => {
                access.check(&address)?;
                Directory::One(address)
            }
            Servers::Sentinels { addresses, name, login } => {
                addresses.iter().try_for_each(|address| access.check(address))?;
                Directory::Sentinels(Sentinels::new(addresses, name, login, &access, is_tls))
            }
            Servers::Cluster(seeds) => {
                seeds.iter().try_for_each(|address| access.check(address))?;
                Directory::Cluster(Cluster::new(seeds, is_tls))
            }
        };
        Ok(Self { shared: Arc::new(Shared { shown, access, servers }), place: Place::Slot(0) })
    }

    /// The address, without credentials.
    pub fn address(&self) -> String {
        match &self.place {
            Place::Node(address) => address.to_string(),
            Place::Slot(_) => self.shared.shown.clone(),
        }
    }

    /// Time limit for a response.
    pub fn response_timeout(&self) -> Duration {
        self.shared.access.response_timeout
    }

    /// Whether it is a cluster, where all keys of a script must have the same slot.
    pub fn is_cluster(&self) -> bool {
        matches!(self.shared.servers, Directory::Cluster(_))
    }

    /// Whether replicas are promoted when a primary fails. `None` if this is not known, as behind a
    /// plain URL; otherwise whether one may be promoted now.
    fn has_replicas(&self) -> Option<bool> {
        match (&self.shared.servers, &self.place) {
            (Directory::Sentinels(sentinels), _) => Some(sentinels.has_replicas()),
            (Directory::Cluster(cluster), Place::Slot(slot)) => Some(cluster.has_replicas(*slot)),
            _ => None,
        }
    }

    /// Asks Sentinels or cluster nodes whether `node` is the primary, and whether a replica may be
    /// promoted.
    ///
    /// # Errors
    /// If it is another one, or none of them answers.
    async fn replicas_of(&self, node: &ConnectionAddr) -> Result<bool, RedisFailure> {
        self.forget();
        if self.node().await? != *node {
            let reason = "it is not the primary any more".to_owned();
            return Err(RedisFailure::Unreachable { address: node.to_string(), reason });
        }
        Ok(self.has_replicas() == Some(true))
    }

    /// Whether it lacks RESP3, as far as is known.
    pub fn speaks_resp2(&self) -> bool {
        self.shared.access.speaks_resp2()
    }

    /// Whether it fails over to a replica automatically.
    pub fn fails_over(&self) -> bool {
        !matches!(self.shared.servers, Directory::One(_))
    }

    /// In a cluster, the node that has `key`; elsewhere the same server.
    #[must_use]
    pub fn for_key(self, key: &str) -> Self {
        let place = Place::Slot(cluster::slot(key.as_bytes()));
        Self { place, ..self }
    }

    fn at(&self, node: ConnectionAddr) -> Self {
        Self { shared: Arc::clone(&self.shared), place: Place::Node(node) }
    }

    /// The node that is used now, by which keys can be grouped. Without a cluster there is only
    /// one.
    pub(super) async fn node_name(&self) -> Result<String, RedisFailure> {
        if !self.is_cluster() {
            return Ok(String::new());
        }
        self.node().await.map(|node| node.to_string())
    }

    /// The node to connect to now.
    async fn node(&self) -> Result<ConnectionAddr, RedisFailure> {
        let Shared { access, servers, shown } = &*self.shared;
        let found = async {
            match (servers, &self.place) {
                (Directory::One(address), _) | (_, Place::Node(address)) => Ok(address.clone()),
                (Directory::Sentinels(sentinels), _) => sentinels.primary().await,
                (Directory::Cluster(cluster), Place::Slot(slot)) => {
                    cluster.owner(access, *slot).await
                }
            }
        };
        // Several nodes may have to be asked.
        let limit = 2 * access.connect_timeout;
        tokio::time::timeout(limit, found).await.unwrap_or_else(|_| {
            let reason = format!("no node has answered within {limit:?}");
            Err(RedisFailure::Unreachable { address: shown.clone(), reason })
        })
    }

    /// Opens a connection that passes pushes to `sink`, and whether there are any: not with RESP2.
    pub(super) async fn connect(
        &self,
        sink: impl Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static,
    ) -> Result<(MultiplexedConnection, bool), RedisFailure> {
        let (_, opened) = self.open(&(Arc::new(sink) as Sink)).await?;
        Ok((opened.connection, opened.has_pushes))
    }

    /// Opens a connection to the node, which is a primary.
    async fn open(&self, sink: &Sink) -> Result<(ConnectionAddr, Opened), RedisFailure> {
        let node = self.node().await?;
        let opened = async {
            let mut opened = self.shared.access.open(&node, sink).await?;
            if matches!(self.shared.servers, Directory::Sentinels(_)) {
                sentinel::check_primary(&node, &mut opened.connection).await?;
            }
            Ok(opened)
        };
        match opened.await {
            Ok(opened) => Ok((node, opened)),
            Err(failure) => {
                self.forget();
                Err(failure)
            }
        }
    }

    /// Looks for the node again before the next connection.
    pub(super) fn forget(&self) {
        if let Directory::Cluster(cluster) = &self.shared.servers {
            cluster.forget();
        }
    }

    /// Where an error of `from` says that the command has to be sent.
    fn redirect(&self, error: &RedisError, from: &ConnectionAddr) -> Option<Redirect> {
        match &self.shared.servers {
            Directory::Cluster(cluster) => cluster.redirect(error, from),
            _ => None,
        }
    }

    /// Converts an error to a failure.
    fn failure(&self, error: RedisError) -> RedisFailure {
        match error.code() {
            Some("MOVED" | "CROSSSLOT" | "ASK") if !self.is_cluster() => {
                RedisFailure::IsCluster(self.address())
            }
            _ => RedisFailure::Command(error),
        }
    }
}
