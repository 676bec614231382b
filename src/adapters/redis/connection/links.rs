//! Links to all nodes of a cluster, for keys in different slots. Elsewhere there is one link.

use std::sync::Arc;

use redis::{ConnectionAddr, FromRedisValue, ScriptInvocation};
use tokio::sync::Mutex;

use super::{Directory, Link, RedisFailure, RedisServer};

/// Nodes to which links are kept. A cluster has at most about a thousand.
const MAX_NODES: usize = 1_024;

/// Attempts to find the node that has a key, while keys are being moved.
const TRIES: usize = 3;

/// One link to each node that is used.
pub struct Links {
    server: RedisServer,
    links: Mutex<Vec<(ConnectionAddr, Arc<Link>)>>,
}

impl Links {
    /// Connects when it is first used.
    pub fn new(server: RedisServer) -> Self {
        Self { server, links: Mutex::default() }
    }

    /// The link to the node that has `key`.
    ///
    /// # Errors
    /// If no node of the cluster answers.
    pub async fn of(&self, key: &str) -> Result<Arc<Link>, RedisFailure> {
        let server = self.server.clone().for_key(key);
        match self.server.shared.servers {
            Directory::Cluster(_) => Ok(self.to(server.node().await?).await),
            _ => Ok(self.single().await),
        }
    }

    /// A link to each primary.
    ///
    /// # Errors
    /// If no node of the cluster answers.
    pub async fn primaries(&self) -> Result<Vec<Arc<Link>>, RedisFailure> {
        let Directory::Cluster(cluster) = &self.server.shared.servers else {
            return Ok(vec![self.single().await]);
        };
        let mut links = Vec::new();
        for node in cluster.primaries(&self.server.shared.access).await? {
            links.push(self.to(node).await);
        }
        Ok(links)
    }

    /// Groups keys by the node that has them.
    ///
    /// # Errors
    /// If no node of the cluster answers.
    pub async fn group<'a>(
        &self,
        keys: &'a [String],
    ) -> Result<Vec<(Arc<Link>, Vec<&'a str>)>, RedisFailure> {
        let mut groups: Vec<(Arc<Link>, Vec<&str>)> = Vec::new();
        for key in keys {
            let link = self.of(key).await?;
            match groups.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &link)) {
                Some((_, keys)) => keys.push(key),
                None => groups.push((link, vec![key])),
            }
        }
        Ok(groups)
    }

    /// A link to each node but `own`, replicas included; none without a cluster.
    pub(super) async fn others(&self, own: &ConnectionAddr) -> Vec<Arc<Link>> {
        let Directory::Cluster(cluster) = &self.server.shared.servers else { return Vec::new() };
        let access = &self.server.shared.access;
        let mut links = Vec::new();
        for node in cluster.nodes(access).await.into_iter().filter(|node| node != own) {
            links.push(self.to(node).await);
        }
        links
    }

    /// Runs a script on the node that has its keys, of which `key` is one.
    ///
    /// # Errors
    /// As [`super::Connection::script`].
    pub async fn script<T: FromRedisValue>(
        &self,
        key: &str,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, RedisFailure> {
        let mut tries = 1;
        loop {
            let link = self.of(key).await?;
            let response = link.connection().await?.script(call).await;
            match response {
                Err(RedisFailure::Command(error))
                    if error.code() == Some("MOVED") && tries < TRIES =>
                {
                    tries += 1;
                }
                response => return response,
            }
        }
    }

    async fn to(&self, node: ConnectionAddr) -> Arc<Link> {
        let mut links = self.links.lock().await;
        if let Some((_, link)) = links.iter().find(|(known, _)| *known == node) {
            return Arc::clone(link);
        }
        if links.len() >= MAX_NODES {
            links.clear();
        }
        let link = Arc::new(Link::new(self.server.at(node.clone())));
        links.push((node, Arc::clone(&link)));
        link
    }

    /// The only link without a cluster; the address of the server may change, as with Sentinel.
    async fn single(&self) -> Arc<Link> {
        let mut links = self.links.lock().await;
        if let Some((_, link)) = links.first() {
            return Arc::clone(link);
        }
        let link = Arc::new(Link::new(self.server.clone()));
        links.push((ConnectionAddr::Unix(std::path::PathBuf::new()), Arc::clone(&link)));
        link
    }
}
