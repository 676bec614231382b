//! Real servers for tests. `scripts/servers.sh` fetches them; `scripts/test.sh`
//! runs it and exports where they are. A test that needs one of them and can't
//! have it fails: a skipped test would look like a passed one. Only plain `cargo test`
//! shows it as ignored; see `scripts/test-runner.sh`.

mod clickhouse;
mod postgres;
mod process;
mod redis;
mod tests;

use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;

pub use clickhouse::{ClickHouse, Database};
pub use postgres::{Postgres, PostgresDatabase};
pub use redis::{Kind, RedisServer};

/// The path in `variable`, which `scripts/test.sh` exports.
pub fn provided(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable).map(PathBuf::from);
    match path {
        Some(path) if path.exists() => path,
        Some(path) => panic!(
            "{variable} names {}, which does not exist; run scripts/test.sh, it provides the servers",
            path.display()
        ),
        None => {
            report_missing(variable);
            panic!("{variable} is not set; run scripts/test.sh, it provides the servers")
        }
    }
}

/// Tells `scripts/test-runner.sh` that this test fails for want of a server.
fn report_missing(variable: &str) {
    let thread = std::thread::current();
    // The harness names a test's thread by the test.
    let Some(test) = thread.name().filter(|name| name.contains("::")) else { return };
    let Some(path) = std::env::var_os("BKLIT_TEST_MISSING") else { return };
    let file = std::fs::OpenOptions::new().append(true).open(path);
    file.and_then(|mut file| file.write_all(format!("{test} {variable}\n").as_bytes()))
        .expect("write the file that scripts/test-runner.sh made");
}

/// A port that nothing listens on, outside the range the kernel hands out itself:
/// while a server is down, nobody's `port 0` may get its port.
fn free_port() -> u16 {
    for _ in 0..1_000 {
        let port = fastrand::u16(10_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between 10000 and 32000");
}
