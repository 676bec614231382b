//! The settings.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::values::{self, Sensitive};
use super::{Ascii, Colors, Roles, Scheme};
use crate::pipeline::queue::Durability;

/// All settings, checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where queue, store, tokens and logs are kept.
    pub data_dir: PathBuf,
    /// Where to accept events.
    pub listen: SocketAddr,
    /// Run the pipeline without the console.
    #[serde(deserialize_with = "values::boolean")]
    pub no_ui: bool,
    /// Which parts of the pipeline this process runs.
    pub roles: Roles,
    /// The Redis server of a production pipeline; may have a password in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_url: Option<Sensitive>,
    /// The ClickHouse server of a production pipeline; may have a password in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clickhouse_url: Option<Sensitive>,
    /// As whom to ask ClickHouse.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clickhouse_username: Option<String>,
    /// That user's password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clickhouse_password: Option<Sensitive>,
    /// ClickHouse's database with the tables.
    pub clickhouse_database: String,
    /// Also insert each event past the queue, and compare.
    #[serde(deserialize_with = "values::boolean")]
    pub dual_write: bool,
    /// Bklit's Postgres, for its tokens and event definitions; may have a password in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_url: Option<Sensitive>,
    /// The root certificates (PEM) that servers' ones must lead to, instead of the well-known ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ca_file: Option<PathBuf>,
    /// How long a stop may take before it is forced.
    #[serde(with = "humantime_serde")]
    pub shutdown_timeout: Duration,
    /// How long a stop waits, accepting events and answering `/ready` with 503, before it begins.
    #[serde(with = "humantime_serde")]
    pub shutdown_delay: Duration,
    /// What the program logs about itself: a `tracing` filter such as `info` or `debug`.
    pub log: String,
    /// Debug lines a second above which they are sampled.
    pub debug_lines_per_second: u64,
    /// Debug lines that are kept for consoles that are opened later: of this process, and in Redis
    /// of all of them.
    pub debug_history: usize,
    /// The HTTP server.
    pub http: HttpSettings,
    /// The WebSocket server.
    pub websocket: WebSocketSettings,
    /// The queue.
    pub queue: QueueSettings,
    /// The worker.
    pub worker: WorkerSettings,
    /// The comparison of both ways.
    pub verify: VerifySettings,
    /// The console.
    pub console: ConsoleSettings,
    /// Alerts.
    pub alerts: AlertSettings,
    /// A file to record to; only by a flag.
    #[serde(skip)]
    pub record: Option<String>,
}

/// How events are compared while `dual_write` is on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifySettings {
    /// How long an event may take to be stored on both ways before they are compared.
    #[serde(with = "humantime_serde")]
    pub settle: Duration,
}

/// Bounds of the HTTP server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSettings {
    /// The largest request body.
    pub max_body_bytes: usize,
    /// Connections at once; more wait to be accepted.
    pub max_connections: usize,
    /// How long a client may take to send a request's head.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// How long a client may take to send a request's body.
    #[serde(with = "humantime_serde")]
    pub body_timeout: Duration,
    /// Whether a proxy in front sets `X-Forwarded-For` and the headers with the visitor's place.
    pub trust_forwarded: bool,
}

/// The WebSocket server: where it is, who gets in, its bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebSocketSettings {
    /// Where to listen; without it at [`WebSocketSettings::DEFAULT_LISTEN`], if that is free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Pages of these origins may open dashboards without a token.
    #[serde(deserialize_with = "values::list")]
    pub allowed_origins: Vec<String>,
    /// Sockets at once; more wait to be accepted.
    pub max_connections: usize,
    /// How often a peer is asked whether it is still there.
    #[serde(with = "humantime_serde")]
    pub ping_interval: Duration,
    /// How long a browser's socket may stay open without a token.
    #[serde(with = "humantime_serde")]
    pub auth_timeout: Duration,
    /// How long a session goes on without a socket before it ends.
    #[serde(with = "humantime_serde")]
    pub session_grace: Duration,
}

impl WebSocketSettings {
    /// Where the server is when nobody says where.
    pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
}

/// Bounds of the queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueSettings {
    /// Events that may wait; above, requests are answered 503.
    pub max_depth: u64,
    /// Failed events from which on requests are answered 503, until some are retried or deleted.
    pub max_failed: u64,
    /// Events waiting above which the console warns.
    pub alarm_depth: u64,
    /// The list in Redis, and what the names of its helpers begin with.
    pub redis_prefix: String,
    /// When an event counts as kept in Redis.
    pub durability: Durability,
}

/// How the worker batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerSettings {
    /// Workers in this process, each with batches of its own.
    pub workers: usize,
    /// The most events in a batch.
    pub batch_size: usize,
    /// How long the first event of a batch waits for company.
    #[serde(with = "humantime_serde")]
    pub batch_wait: Duration,
    /// How long a batch belongs to a worker that does not renew it.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// The longest pause between tries while the store fails.
    #[serde(with = "humantime_serde")]
    pub max_backoff: Duration,
    /// Without an event for so long a session has ended.
    #[serde(with = "humantime_serde")]
    pub session_timeout: Duration,
}

/// The console.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsoleSettings {
    /// Lines kept for scrolling back.
    pub max_lines: usize,
    /// Bytes those lines may take.
    pub max_bytes: usize,
    /// Frames a second at most.
    pub fps: u32,
    /// Times in UTC instead of the local zone.
    pub utc: bool,
    /// Whether the console changes nothing: failed events are neither retried nor deleted.
    #[serde(deserialize_with = "values::boolean")]
    pub read_only: bool,
    /// Nothing but ASCII on the screen.
    pub ascii: Ascii,
    /// Whether the mouse scrolls and selects in the console; the terminal's own selecting needs
    /// Shift then.
    pub mouse: bool,
    /// Which colours go together.
    pub theme: Scheme,
    /// How many colours there are.
    pub colors: Colors,
    /// The most bytes a recording has.
    pub record_max_bytes: u64,
    /// Saved filters: names, and what they filter by.
    pub filters: BTreeMap<String, String>,
    /// Keys of the user's own, by actions.
    pub keys: BTreeMap<String, KeyNames>,
}

/// A key, or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum KeyNames {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl KeyNames {
    /// All of them.
    pub fn all(&self) -> &[String] {
        match self {
            Self::One(key) => std::slice::from_ref(key),
            Self::Several(keys) => keys,
        }
    }
}

/// When to raise alerts, and what else to do then; by default never.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertSettings {
    /// More errors in a minute are an alert; 0 for none.
    pub errors_per_minute: u64,
    /// So long without an accepted event is an alert; 0 for none.
    #[serde(with = "humantime_serde")]
    pub no_events: Duration,
    /// Whether a process without a console raises them too.
    pub daemon: bool,
    /// Whether the terminal's bell rings.
    pub bell: bool,
    /// What to run, by `sh -c`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}
