//! The settings and their defaults.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use etcetera::BaseStrategy;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Ascii, Colors, Roles, Scheme};
use crate::pipeline::queue::redis::{DEFAULT_PREFIX, Durability};

/// All settings, checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where queue, store, tokens and logs are kept.
    pub data_dir: PathBuf,
    /// Where to accept events.
    pub listen: SocketAddr,
    /// Run the pipeline without the console.
    #[serde(deserialize_with = "flexible::boolean")]
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
    #[serde(deserialize_with = "flexible::boolean")]
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
    /// Debug lines of this process that are kept for consoles that are opened later.
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
    #[serde(deserialize_with = "flexible::list")]
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
    /// Events waiting above which the console warns.
    pub alarm_depth: u64,
    /// The list in Redis, and what the names of its helpers begin with.
    pub redis_prefix: String,
    /// When an event counts as kept in Redis.
    pub durability: Durability,
}

/// Text that is not shown where settings are.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Sensitive(String);

impl Sensitive {
    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Sensitive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_string(SecretText).map(Self)
    }
}

/// Takes text. What is refused is not repeated in the error, as serde would.
struct SecretText;

impl SecretText {
    fn refuse<T, E: serde::de::Error>() -> Result<T, E> {
        Err(E::custom("must be text: put the value in quotes"))
    }
}

impl Visitor<'_> for SecretText {
    type Value = String;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("text in quotes")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<String, E> {
        Self::refuse()
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<String, E> {
        Self::refuse()
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<String, E> {
        Self::refuse()
    }

    fn visit_i128<E: serde::de::Error>(self, _: i128) -> Result<String, E> {
        Self::refuse()
    }

    fn visit_u128<E: serde::de::Error>(self, _: u128) -> Result<String, E> {
        Self::refuse()
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<String, E> {
        Self::refuse()
    }
}

impl std::fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
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
    #[serde(deserialize_with = "flexible::boolean")]
    pub read_only: bool,
    /// Nothing but ASCII on the screen.
    pub ascii: Ascii,
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

/// When to raise alerts, and what else to do then.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertSettings {
    /// More errors in a minute are an alert; 0 for none.
    pub errors_per_minute: u64,
    /// So long without an accepted event is an alert; 0 for none.
    #[serde(with = "humantime_serde")]
    pub no_events: Duration,
    /// Whether the terminal's bell rings.
    pub bell: bool,
    /// What to run, by `sh -c`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data_dir: default_data_dir(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 3001)),
            no_ui: false,
            roles: Roles::ALL,
            redis_url: None,
            clickhouse_url: None,
            clickhouse_username: None,
            clickhouse_password: None,
            clickhouse_database: "analytics".to_owned(),
            dual_write: false,
            database_url: None,
            tls_ca_file: None,
            shutdown_timeout: Duration::from_secs(10),
            shutdown_delay: Duration::ZERO,
            log: "info".to_owned(),
            debug_lines_per_second: 5_000,
            debug_history: 10_000,
            http: HttpSettings {
                max_body_bytes: 64 * 1024,
                max_connections: 1024,
                header_timeout: Duration::from_secs(10),
                body_timeout: Duration::from_secs(10),
                trust_forwarded: false,
            },
            websocket: WebSocketSettings {
                listen: None,
                allowed_origins: Vec::new(),
                max_connections: 1024,
                ping_interval: Duration::from_secs(30),
                auth_timeout: Duration::from_secs(30),
                session_grace: Duration::from_secs(10),
            },
            queue: QueueSettings {
                max_depth: 1_000_000,
                alarm_depth: 1_000,
                redis_prefix: DEFAULT_PREFIX.to_owned(),
                durability: Durability::Everysec,
            },
            worker: WorkerSettings {
                workers: 1,
                batch_size: 5_000,
                batch_wait: Duration::from_millis(50),
                lease: Duration::from_secs(30),
                max_backoff: Duration::from_secs(10),
                session_timeout: Duration::from_secs(30 * 60),
            },
            verify: VerifySettings { settle: Duration::from_secs(60) },
            console: ConsoleSettings {
                max_lines: 100_000,
                max_bytes: 256 * 1024 * 1024,
                fps: 15,
                utc: false,
                read_only: false,
                ascii: Ascii::Auto,
                theme: Scheme::Dark,
                colors: Colors::Auto,
                record_max_bytes: 1 << 30,
                filters: BTreeMap::new(),
                keys: BTreeMap::new(),
            },
            alerts: AlertSettings {
                errors_per_minute: 60,
                no_events: Duration::ZERO,
                bell: true,
                command: None,
            },
            record: None,
        }
    }
}

/// `$XDG_DATA_HOME/bklit-tui`, mostly `~/.local/share/bklit-tui`.
fn default_data_dir() -> PathBuf {
    etcetera::choose_base_strategy()
        .map_or_else(|_| PathBuf::from("bklit-tui-data"), |base| base.data_dir().join("bklit-tui"))
}

/// Values that come as text from the environment and typed from a file.
mod flexible {
    use serde::{Deserialize, Deserializer, de::Error as _};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum BooleanOrText {
        Boolean(bool),
        Text(String),
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum ListOrText {
        List(Vec<String>),
        Text(String),
    }

    /// A list, or text with commas between its members.
    pub fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
        Ok(match ListOrText::deserialize(deserializer)? {
            ListOrText::List(list) => list,
            ListOrText::Text(text) => {
                let members = text.split(',').map(str::trim).filter(|member| !member.is_empty());
                members.map(str::to_owned).collect()
            }
        })
    }

    pub fn boolean<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
        match BooleanOrText::deserialize(deserializer)? {
            BooleanOrText::Boolean(value) => Ok(value),
            BooleanOrText::Text(text) => match text.as_str() {
                "1" | "true" | "yes" | "on" => Ok(true),
                "0" | "false" | "no" | "off" => Ok(false),
                other => Err(D::Error::custom(format!("`{other}` is neither true nor false"))),
            },
        }
    }
}
