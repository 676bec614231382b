//! All settings: those of the program itself, and those that its parts own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bklit_alerts::AlertSettings;
use bklit_console::settings::ConsoleSettings;
use bklit_pipeline::http::HttpSettings;
use bklit_pipeline::queue::QueueSettings;
use bklit_pipeline::roles::Roles;
use bklit_pipeline::verify::VerifySettings;
use bklit_pipeline::websocket::WebSocketSettings;
use bklit_pipeline::worker::WorkerSettings;
use bklit_wire::setting::{self, Sensitive};
use serde::{Deserialize, Serialize};

/// All settings, checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where queue, store, tokens and logs are kept.
    pub data_dir: PathBuf,
    /// Where to accept events.
    pub listen: SocketAddr,
    /// Run the pipeline without the console.
    #[serde(deserialize_with = "setting::boolean")]
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
    #[serde(deserialize_with = "setting::boolean")]
    pub dual_write: bool,
    /// Bklit's Postgres, for its tokens and event definitions; may have a password in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_url: Option<Sensitive>,
    /// The root certificates (PEM) that servers' ones must lead to, instead of the well-known ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ca_file: Option<PathBuf>,
    /// How long a stop may take before it is forced.
    #[serde(with = "bklit_wire::duration")]
    pub shutdown_timeout: Duration,
    /// How long a stop waits, accepting events and answering `/ready` with 503, before it begins.
    #[serde(with = "bklit_wire::duration")]
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
