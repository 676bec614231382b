//! Several Valkeys that act as one: a cluster, and a primary with a replica and Sentinels.

use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::process::Process;
use super::redis::{Kind, RedisServer};
use super::{free_port, provided};
use crate::support::{DEADLINE, eventually};

/// Primaries of a cluster.
const PRIMARIES: usize = 3;

/// How long a cluster may take to recover from the failure of a node.
const GROUP_DEADLINE: Duration = Duration::from_secs(120);

/// Three primaries with a third of the slots each.
pub struct RedisCluster {
    /// The nodes.
    pub nodes: Vec<RedisServer>,
    config: Vec<(String, String)>,
}

impl RedisCluster {
    /// Starts the nodes, and waits until they agree.
    pub fn start(config: &[(&str, &str)]) -> Self {
        let mut all = vec![
            ("cluster-enabled", "yes"),
            ("cluster-config-file", "nodes.conf"),
            ("cluster-node-timeout", "2000"),
        ];
        all.extend(config);
        let nodes = (0..PRIMARIES).map(|_| RedisServer::start(Kind::Valkey, &all)).collect();
        let config = all.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        let cluster = Self { nodes, config };
        for (node, slots) in cluster.nodes.iter().zip([(0, 5460), (5461, 10922), (10923, 16383)]) {
            let (first, last) = (slots.0.to_string(), slots.1.to_string());
            node.cli(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
            let seed = cluster.nodes[0].port().to_string();
            node.cli(&["CLUSTER", "MEET", "127.0.0.1", &seed]);
        }
        eventually(DEADLINE, "the nodes agree", || {
            cluster.nodes.iter().all(|node| {
                let info = node.cli(&["CLUSTER", "INFO"]);
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
            })
        });
        cluster
    }

    /// `redis+cluster://…` with two of the nodes.
    pub fn url(&self) -> String {
        let [one, two, ..] = self.nodes.as_slice() else { unreachable!("three nodes") };
        format!("redis+cluster://127.0.0.1:{},127.0.0.1:{}", one.port(), two.port())
    }

    /// Runs a command that concerns `key` on the node that has it.
    pub fn cli(&self, key: &str, arguments: &[&str]) -> String {
        self.owner(key).cli(arguments)
    }

    /// The slot of a key.
    pub fn slot(&self, key: &str) -> String {
        let slot = |node: &RedisServer| node.try_cli(&["CLUSTER", "KEYSLOT", key]).ok();
        self.nodes.iter().find_map(slot).expect("a node that works")
    }

    /// The node that has a key.
    pub fn owner(&self, key: &str) -> &RedisServer {
        let slot: u32 = self.slot(key).parse().unwrap();
        self.nodes.iter().find(|node| has_slot(node, slot)).expect("an owner of the slot")
    }

    /// Adds a replica of the node that has a key; see [`RedisCluster::add_replica_of`].
    pub fn add_replica(&mut self, key: &str) -> usize {
        let owner = self.owner(key).port();
        let owner = self.nodes.iter().position(|node| node.port() == owner);
        self.add_replica_of(owner.expect("one of the nodes"))
    }

    /// Adds a replica of a node, and waits until all nodes know that it is up to date. Returns its place
    /// among the nodes.
    pub fn add_replica_of(&mut self, primary: usize) -> usize {
        let config: Vec<_> = self.config.iter().map(|(key, value)| (&**key, &**value)).collect();
        let replica = RedisServer::start(Kind::Valkey, &config);
        let primary = &self.nodes[primary];
        replica.cli(&["CLUSTER", "MEET", "127.0.0.1", &primary.port().to_string()]);
        let id = primary.cli(&["CLUSTER", "MYID"]);
        eventually(DEADLINE, "the replica knows the node", || {
            replica.try_cli(&["CLUSTER", "REPLICATE", &id]).is_ok()
        });
        eventually(DEADLINE, "the replica is up to date", || {
            let port = replica.port().to_string();
            let is_known = |node: &RedisServer| {
                node.cli(&["CLUSTER", "SLOTS"]).lines().any(|line| line == port)
            };
            is_in_sync(&replica) && self.nodes.iter().all(is_known)
        });
        self.nodes.push(replica);
        self.nodes.len() - 1
    }

    /// The port of the replica of the primary at this port.
    pub fn replica_of(&self, primary: u16) -> u16 {
        let primary = format!("master_port:{primary}\r");
        let follows = |node: &&RedisServer| {
            node.try_cli(&["INFO", "replication"]).is_ok_and(|info| info.contains(&primary))
        };
        self.nodes.iter().find(follows).expect("a replica").port()
    }

    /// Waits until all nodes agree, all slots are served, and every other node is a replica that is up
    /// to date.
    pub fn is_whole(&self) {
        let is_ready = |node: &RedisServer| {
            let info = node.try_cli(&["CLUSTER", "INFO"]).unwrap_or_default();
            let all = format!("cluster_known_nodes:{}\r", self.nodes.len());
            let nodes = node.try_cli(&["CLUSTER", "NODES"]).unwrap_or_default();
            info.contains("cluster_state:ok")
                && info.contains(&all)
                && !nodes.contains("fail")
                && (is_primary(node) || is_in_sync(node))
        };
        let primaries = || self.nodes.iter().filter(|node| is_primary(node)).count();
        eventually(GROUP_DEADLINE, "the cluster is whole", || {
            self.nodes.iter().all(is_ready) && primaries() == PRIMARIES
        });
    }

    /// Begins to move the slot of a key to another node.
    pub fn begin_move(&self, key: &str) -> SlotMove<'_> {
        let (slot, from) = (self.slot(key), self.owner(key));
        let is_other = |node: &&RedisServer| node.port() != from.port() && is_primary(node);
        let to = self.nodes.iter().find(is_other).expect("another primary");
        let id = |node: &RedisServer| node.cli(&["CLUSTER", "MYID"]);
        to.cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(from)]);
        from.cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(to)]);
        SlotMove { cluster: self, slot, from, to }
    }
}

/// Whether a node, as far as it knows, has a slot.
fn has_slot(node: &RedisServer, slot: u32) -> bool {
    let nodes = node.try_cli(&["CLUSTER", "NODES"]).unwrap_or_default();
    let Some(own) = nodes.lines().find(|line| line.contains("myself,master")) else { return false };
    own.split(' ').skip(8).any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let bounds = (first.parse::<u32>(), last.parse::<u32>());
        matches!(bounds, (Ok(first), Ok(last)) if (first..=last).contains(&slot))
    })
}

fn is_primary(node: &RedisServer) -> bool {
    node.try_cli(&["ROLE"]).is_ok_and(|role| role.starts_with("master"))
}

fn is_in_sync(replica: &RedisServer) -> bool {
    let info = replica.try_cli(&["INFO", "replication"]).unwrap_or_default();
    info.contains("master_link_status:up")
}

/// A slot that is being moved.
pub struct SlotMove<'a> {
    cluster: &'a RedisCluster,
    slot: String,
    from: &'a RedisServer,
    to: &'a RedisServer,
}

impl SlotMove<'_> {
    /// Moves all keys that the slot has now.
    pub fn move_keys(&self) {
        let port = self.to.port().to_string();
        loop {
            let keys = self.from.cli(&["CLUSTER", "GETKEYSINSLOT", &self.slot, "100"]);
            if keys.is_empty() {
                return;
            }
            let mut migrate = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            migrate.extend(keys.lines());
            self.from.cli(&migrate);
        }
    }

    /// Moves what is left, and the slot itself.
    pub fn finish(self) {
        self.move_keys();
        let id = self.to.cli(&["CLUSTER", "MYID"]);
        let set = |node: &RedisServer| {
            node.try_cli(&["CLUSTER", "SETSLOT", &self.slot, "NODE", &id]).is_ok()
        };
        // The new owner first; it waits for its replica. While keys are written to the old one, that
        // refuses.
        eventually(DEADLINE, "the new node takes the slot", || set(self.to));
        eventually(DEADLINE, "the old node gives up the slot", || {
            self.move_keys();
            set(self.from)
        });
        // Replicas follow their primaries.
        for node in self.cluster.nodes.iter().filter(|node| is_primary(node)) {
            eventually(DEADLINE, "the other nodes know it", || set(node));
        }
    }
}

/// A primary and a replica, watched by three Sentinels.
pub struct Sentinels {
    /// The primary and the replica, in the order in which they were started.
    pub servers: [RedisServer; 2],
    sentinels: Vec<Sentinel>,
}

struct Sentinel {
    _process: Process,
    port: u16,
    _dir: TempDir,
}

impl Sentinels {
    /// Starts them, and waits until the Sentinels know each other and the replica.
    pub fn start(config: &[(&str, &str)]) -> Self {
        Self::failing_over_after(Duration::from_secs(1), config)
    }

    /// The same with Sentinels that replace a primary that does not answer for so long.
    pub fn failing_over_after(silence: Duration, config: &[(&str, &str)]) -> Self {
        let primary = RedisServer::start(Kind::Valkey, config);
        let port = primary.port().to_string();
        let replica_of = format!("127.0.0.1 {port}");
        let mut of_replica = vec![("replicaof", replica_of.as_str())];
        of_replica.extend(config);
        let replica = RedisServer::start(Kind::Valkey, &of_replica);
        let sentinels = (0..3).map(|_| Sentinel::start(&port, silence)).collect();
        let all = Self { servers: [primary, replica], sentinels };
        eventually(DEADLINE, "the Sentinels know everything", || {
            all.sentinels.iter().all(|sentinel| {
                let known = sentinel.ask(&["SENTINEL", "MASTER", "main"]);
                let has = |name: &str, value: &str| known.contains(&format!("\n{name}\n{value}\n"));
                has("num-slaves", "1") && has("num-other-sentinels", "2") && has("flags", "master")
            })
        });
        all
    }

    /// `redis+sentinel://…` with all Sentinels.
    pub fn url(&self) -> String {
        let hosts = self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port));
        format!("redis+sentinel://{}/main", hosts.collect::<Vec<_>>().join(","))
    }

    /// Which of the servers the Sentinels call the primary.
    pub fn primary(&self) -> usize {
        self.named_by(&self.sentinels[0])
    }

    /// Whether all Sentinels call this one the primary.
    pub fn all_name(&self, server: usize) -> bool {
        self.sentinels.iter().all(|sentinel| self.named_by(sentinel) == server)
    }

    fn named_by(&self, sentinel: &Sentinel) -> usize {
        let known = sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"]);
        let is_named = |server: &RedisServer| known.contains(&format!("\n{}\n", server.port()));
        self.servers.iter().position(is_named).expect("one of the servers")
    }

    /// The logs of all of them.
    pub fn log(&self) -> String {
        let of_sentinel = |sentinel: &Sentinel| {
            std::fs::read_to_string(sentinel._dir.path().join("log")).unwrap_or_default()
        };
        let servers = self.servers.iter().map(RedisServer::log);
        servers.chain(self.sentinels.iter().map(of_sentinel)).collect::<Vec<_>>().join("\n")
    }

    /// Asks for a failover although the primary works. False if it is refused for now.
    pub fn fail_over(&self) -> bool {
        try_ask(self.sentinels[0].port, &["SENTINEL", "FAILOVER", "main"]).is_some()
    }
}

impl Sentinel {
    fn start(primary: &str, silence: Duration) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the Sentinel");
        for _ in 0..20 {
            let (port, mut process) = (free_port(), Process::default());
            let text = format!(
                "bind 127.0.0.1\nport {port}\ndir \"{0}\"\nlogfile \"{0}/log\"\n\
                 sentinel monitor main 127.0.0.1 {primary} 2\n\
                 sentinel down-after-milliseconds main {1}\n\
                 sentinel failover-timeout main 5000\n",
                dir.path().display(),
                silence.as_millis()
            );
            let file = dir.path().join("sentinel.conf");
            std::fs::write(&file, text).expect("write sentinel.conf");
            let mut command = Command::new(provided("BKLIT_TEST_VALKEY"));
            command.arg(&file).arg("--sentinel").stdin(Stdio::null()).stdout(Stdio::null());
            let is_up = |id: u32| {
                try_ask(port, &["INFO"])
                    .is_some_and(|info| info.contains(&format!("process_id:{id}\r")))
            };
            if process.launch(&mut command, is_up) {
                return Self { _process: process, port, _dir: dir };
            }
        }
        panic!("a Sentinel did not start");
    }

    fn ask(&self, command: &[&str]) -> String {
        try_ask(self.port, command).expect("an answer of the Sentinel")
    }
}

fn try_ask(port: u16, command: &[&str]) -> Option<String> {
    let mut cli = Command::new(provided("BKLIT_TEST_REDIS_CLI"));
    let output = cli.args(["-e", "-p", &port.to_string()]).args(command).output();
    let output = output.expect("run redis-cli");
    output.status.success().then(|| String::from_utf8(output.stdout).expect("text"))
}
