//! Real servers for tests. `scripts/servers.sh` fetches them; `scripts/test.sh` runs it and exports
//! their paths. A test whose server is missing fails, because a skipped test would look like a
//! passed one. Plain `cargo test` shows it as ignored; see `scripts/test-runner.sh`.

mod clickhouse;
mod postgres;
mod process;
mod redis;
mod redis_groups;
mod tests;

use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;

pub use clickhouse::{ClickHouse, Database};
pub use postgres::{Postgres, PostgresDatabase};
pub use redis::{Kind, RedisServer};
pub use redis_groups::{RedisCluster, Sentinels};

/// The settings of a daemon on these two.
pub fn settings_on(redis: &RedisServer, clickhouse: &ClickHouse) -> String {
    format!("redis_url = '{}'\nclickhouse_url = '{}'\n", redis.url(), clickhouse.url())
}

/// The path in `variable`, which `scripts/test.sh` exports.
pub fn provided(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable).map(PathBuf::from);
    match path {
        Some(path) if path.exists() => path,
        Some(path) => panic!(
            "{variable}: {} does not exist; run scripts/test.sh, which provides the servers",
            path.display()
        ),
        None => {
            report_missing(variable);
            panic!("{variable} is not set; run scripts/test.sh, which provides the servers")
        }
    }
}

/// Reports to `scripts/test-runner.sh` that this test fails because a server is missing.
fn report_missing(variable: &str) {
    let thread = std::thread::current();
    // The test harness names the thread after the test.
    let Some(test) = thread.name().filter(|name| name.contains("::")) else { return };
    let Some(path) = std::env::var_os("BKLIT_TEST_MISSING") else { return };
    let file = std::fs::OpenOptions::new().append(true).open(path);
    file.and_then(|mut file| file.write_all(format!("{test} {variable}\n").as_bytes()))
        .expect("write the file that scripts/test-runner.sh created");
}

/// A free port outside the kernel's ephemeral range: while a server is down, no `port 0` may get its
/// port.
pub fn free_port() -> u16 {
    for _ in 0..1_000 {
        let port = fastrand::u16(10_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between 10000 and 32000");
}
