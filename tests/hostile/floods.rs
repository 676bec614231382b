//! What hostile clients send.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::http::client::{post, request, send_until_closed};
use crate::support::gzip;

/// The server under attack, and a token of its pages, which everybody can read.
pub struct Target {
    pub address: SocketAddr,
    pub token: Arc<str>,
}

/// A kind of flood.
pub struct Flood {
    pub name: &'static str,
    clients: u64,
    /// Between two requests of a client.
    pause: Duration,
    /// The request with this number.
    request: fn(&str, u64) -> Vec<u8>,
}

/// All kinds.
pub const FLOODS: &[Flood] = &[
    Flood {
        name: "unknown tokens",
        clients: 8,
        pause: Duration::ZERO,
        request: |_, n| {
            let bearer = format!("Bearer bk_live_{n:064x}");
            post("/track", &[("Authorization", &bearer)], VIEW)
        },
    },
    Flood {
        name: "session ends without tokens",
        clients: 8,
        pause: Duration::ZERO,
        request: |_, n| {
            let body = format!(r#"{{"projectId":"default","sessionId":"unknown-{n}"}}"#);
            post("/session-end", &[], body)
        },
    },
    Flood {
        name: "timestamps of all months",
        clients: 8,
        pause: Duration::from_millis(40),
        request: |token, n| {
            let (year, month) = (1970 + n / 12 % 136, n % 12 + 1);
            let body = format!(
                r#"{{"url":"https://shop.example/old","projectId":"default","timestamp":"{year}-{month:02}-15T12:00:00Z"}}"#
            );
            post("/track", &[("Authorization", &format!("Bearer {token}"))], body)
        },
    },
    Flood {
        name: "1,100 idle connections",
        clients: 1100,
        pause: Duration::from_secs(2),
        request: |_, _| request("GET", "/x", &[]).into_bytes(),
    },
    Flood {
        name: "gzip bombs of 50 MB",
        clients: 4,
        pause: Duration::ZERO,
        request: |token, _| {
            let bearer = format!("Bearer {token}");
            let headers = [("Authorization", bearer.as_str()), ("Content-Encoding", "gzip")];
            post("/track", &headers, bomb())
        },
    },
];

const VIEW: &str = r#"{"url":"https://shop.example/hostile","projectId":"default"}"#;

/// Compressed once; below the bound of a request's body.
fn bomb() -> &'static [u8] {
    static BOMB: LazyLock<Vec<u8>> = LazyLock::new(|| gzip(&vec![0; 50_000_000]));
    &BOMB
}

impl Flood {
    /// Starts its clients, which count their requests in `sent`.
    pub fn start(&self, target: &Target, sent: &Arc<AtomicU64>, attackers: &mut JoinSet<()>) {
        bomb();
        for client in 0..self.clients {
            let (address, token) = (target.address, Arc::clone(&target.token));
            let (pause, request, clients) = (self.pause, self.request, self.clients);
            let sent = Arc::clone(sent);
            attackers.spawn(async move {
                let mut numbers = (0..).map(|n| n * clients + client);
                loop {
                    let next = || request(&token, numbers.next().unwrap_or_default());
                    let answered = || {
                        sent.fetch_add(1, Relaxed);
                    };
                    send_until_closed(address, pause, next, answered).await;
                    // Closed or refused: it reconnects.
                    sleep(Duration::from_millis(10)).await;
                }
            });
        }
    }
}
