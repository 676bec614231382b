//! Three primaries, each with a replica.

use super::{
    DEADLINE, Fault, Progress, SOME, Topology, answers, eventually, replica_is_noticed, replicated,
};
use crate::support::servers::{RedisCluster, RedisServer};

const QUEUE: &str = "analytics:queue";

impl Topology for RedisCluster {
    const FAULTS: &'static [Fault] =
        &[Fault::ReplicaKilled, Fault::ReplicaHangs, Fault::FailOver, Fault::SlotMoved];

    fn start() -> Self {
        let mut cluster = Self::start(&[("appendfsync", "always")]);
        for primary in 0..cluster.nodes.len() {
            cluster.add_replica_of(primary);
        }
        cluster.is_whole();
        cluster
    }

    fn url(&self) -> String {
        self.url()
    }

    fn primary(&self) -> &RedisServer {
        self.owner(QUEUE)
    }

    fn log(&self) -> String {
        self.nodes.iter().map(RedisServer::log).collect::<Vec<_>>().join("\n")
    }

    fn fail(&mut self, fault: Fault, progress: &Progress) {
        let primary = self.owner(QUEUE).port();
        if fault == Fault::SlotMoved {
            let moving = self.begin_move(QUEUE);
            answers(&progress.kept, SOME);
            moving.move_keys();
            answers(&progress.kept, SOME);
            moving.finish();
        } else {
            self.fail_node(fault, primary, progress);
        }
        self.is_whole();
        replicated(self.owner(QUEUE));
        replica_is_noticed();
    }
}

impl RedisCluster {
    /// A fault of the node that has the queue, or of its replica.
    fn fail_node(&mut self, fault: Fault, primary: u16, progress: &Progress) {
        let replica = self.replica_of(primary);
        let of_replica = matches!(fault, Fault::ReplicaKilled | Fault::ReplicaHangs);
        let hit = if of_replica { replica } else { primary };
        let place = self.nodes.iter().position(|node| node.port() == hit).unwrap();
        match fault {
            Fault::RedisKilled | Fault::ReplicaKilled => self.nodes[place].kill9(),
            Fault::RedisHangs | Fault::ReplicaHangs => self.nodes[place].freeze(),
            _ => {}
        }
        if !of_replica {
            let replica = self.nodes.iter().find(|node| node.port() == replica).unwrap();
            eventually(DEADLINE, "the replica is promoted", || {
                // It may be given up after some seconds.
                if fault == Fault::FailOver {
                    let _ = replica.try_cli(&["CLUSTER", "FAILOVER"]);
                }
                replica.try_cli(&["ROLE"]).is_ok_and(|role| role.starts_with("master"))
            });
        }
        answers(&progress.kept, SOME);
        match fault {
            Fault::RedisKilled | Fault::ReplicaKilled => self.nodes[place].restart(),
            Fault::RedisHangs | Fault::ReplicaHangs => self.nodes[place].thaw(),
            _ => {}
        }
    }
}
