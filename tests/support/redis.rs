//! What tests of the Redis adapters share.

use std::time::Duration;

use bklit_tui::pipeline::redis::{RedisOptions, RedisServer};

/// Options with timeouts for tests: long enough for a busy machine, short enough to fail.
pub fn options(url: &str) -> RedisOptions {
    RedisOptions {
        url: url.to_owned(),
        root_certificates: None,
        connect_timeout: Duration::from_secs(2),
        response_timeout: Duration::from_secs(5),
    }
}

/// The adapters' way to a server that a test has started.
pub fn server_at(server: &super::servers::RedisServer) -> RedisServer {
    RedisServer::new(&options(&server.url())).unwrap()
}
