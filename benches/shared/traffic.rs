//! Bytes that processes exchange.

use crate::support::servers::RedisServer;

/// Bytes sent over the loopback device since the system started, with TCP/IP headers. All processes
/// of the machine are counted.
pub fn loopback() -> f64 {
    let devices = std::fs::read_to_string("/proc/net/dev").unwrap();
    let counts = devices.lines().find_map(|line| line.trim().strip_prefix("lo:")).unwrap();
    counts.split_whitespace().next().unwrap().parse().unwrap()
}

/// Bytes received and sent by Redis since its statistics were reset.
pub fn of_redis(redis: &RedisServer) -> f64 {
    let stats = redis.cli(&["INFO", "stats"]);
    let count = |name: &str| {
        let line = stats.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse::<f64>().unwrap()
    };
    count("total_net_input_bytes:") + count("total_net_output_bytes:")
}
