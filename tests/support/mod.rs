//! Helpers for tests: the real program as a daemon and as a command, HTTP over plain
//! sockets, real servers, and waiting with a deadline.

pub mod browser;
pub mod command;
mod daemon;
pub mod events;
mod http;
pub mod proxy;
pub mod pty;
pub mod redis;
pub mod redis_proxy;
pub mod servers;
pub mod site;
pub mod tls;

use std::io::Write as _;
use std::time::{Duration, Instant};

pub use command::Cli;
pub use daemon::Daemon;
pub use http::{Response, Stream, request};

/// How long a quick operation may take; generous, because machines under load are slow.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Compressed with gzip, as small as it gets.
pub fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// The memory of a process that is in RAM, in KiB.
pub fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Waits until `condition` holds; fails after `deadline`.
#[track_caller]
pub fn eventually(deadline: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < deadline, "after {deadline:?} still not: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
