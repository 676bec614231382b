//! A primary and a replica with three Sentinels.

use std::time::Duration;

use super::{
    DEADLINE, Fault, Progress, SOME, Topology, answers, eventually, replica_is_noticed, replicated,
};
use crate::support::servers::{RedisServer, Sentinels};

/// A server that is merely slow on a busy machine must not be replaced: the other one may not be up
/// to date yet.
const SILENCE: Duration = Duration::from_secs(4);

impl Topology for Sentinels {
    const FAULTS: &'static [Fault] = &[Fault::ReplicaKilled, Fault::ReplicaHangs, Fault::FailOver];

    fn start() -> Self {
        Self::failing_over_after(SILENCE, &[("appendfsync", "always")])
    }

    fn url(&self) -> String {
        self.url()
    }

    fn primary(&self) -> &RedisServer {
        &self.servers[self.primary()]
    }

    fn log(&self) -> String {
        self.log()
    }

    fn fail(&mut self, fault: Fault, progress: &Progress) {
        let primary = self.primary();
        let hit = match fault {
            Fault::ReplicaKilled | Fault::ReplicaHangs => 1 - primary,
            _ => primary,
        };
        match fault {
            Fault::RedisKilled | Fault::ReplicaKilled => self.servers[hit].kill9(),
            Fault::RedisHangs | Fault::ReplicaHangs => self.servers[hit].freeze(),
            _ => eventually(DEADLINE, "a failover begins", || {
                self.fail_over() || self.primary() != primary
            }),
        }
        if hit == primary {
            // All Sentinels: otherwise a server that comes back may seem to be the primary again.
            eventually(DEADLINE, "the replica is promoted", || self.all_name(1 - primary));
        }
        answers(&progress.kept, SOME);
        match fault {
            Fault::RedisKilled | Fault::ReplicaKilled => self.servers[hit].restart(),
            Fault::RedisHangs | Fault::ReplicaHangs => self.servers[hit].thaw(),
            _ => {}
        }
        self.is_whole();
    }
}

impl Sentinels {
    /// Waits until all agree on a primary, and the other server is its replica and up to date. Sentinel
    /// makes it one, but may pause for half a minute on a busy machine.
    fn is_whole(&self) {
        eventually(DEADLINE, "the replica is up to date", || {
            let primary = self.primary();
            let replica = &self.servers[1 - primary];
            let port = self.servers[primary].port().to_string();
            let role = self.servers[primary].try_cli(&["ROLE"]).unwrap_or_default();
            if !self.all_name(primary) || !role.starts_with("master") {
                return false;
            }
            let info = replica.try_cli(&["INFO", "replication"]).unwrap_or_default();
            let follows = info.contains(&format!("master_port:{port}\r"));
            if !follows {
                let _ = replica.try_cli(&["REPLICAOF", "127.0.0.1", &port]);
            }
            follows && info.contains("master_link_status:up")
        });
        replicated(Topology::primary(self));
        replica_is_noticed();
    }
}
