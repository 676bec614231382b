//! All settings: the program's own, and those that each part defines.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bklit_alerts::AlertSettings;
use bklit_console_core::settings::ConsoleSettings;
use bklit_pipeline::auth::AuthSettings;
use bklit_pipeline::http::HttpSettings;
use bklit_pipeline::intake::filters::FilterSettings;
use bklit_pipeline::intake::{GeoSettings, IntakeSettings, PrivacySettings};
use bklit_pipeline::queue::QueueSettings;
use bklit_pipeline::refused::RefusedSettings;
use bklit_pipeline::roles::Roles;
use bklit_pipeline::throttle::LimitSettings;
use bklit_pipeline::verify::VerifySettings;
use bklit_pipeline::websocket::WebSocketSettings;
use bklit_pipeline::worker::WorkerSettings;
use bklit_wire::diagnostic::Diagnostic;
use bklit_wire::setting::{self, Sensitive};
use serde::{Deserialize, Serialize};

/// All settings, checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Directory of queue, store, tokens and logs.
    pub data_dir: PathBuf,
    /// Address of the HTTP server.
    #[serde(deserialize_with = "setting::address")]
    pub listen: SocketAddr,
    /// Run the pipeline without the console.
    #[serde(deserialize_with = "setting::boolean")]
    pub no_ui: bool,
    /// Which parts of the pipeline this process runs.
    pub roles: Roles,
    /// The Redis server of a production pipeline; the URL may contain a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_url: Option<Sensitive>,
    /// The ClickHouse server of a production pipeline; the URL may contain a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clickhouse_url: Option<Sensitive>,
    /// ClickHouse user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clickhouse_username: Option<String>,
    /// That user's password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clickhouse_password: Option<Sensitive>,
    /// ClickHouse database with the tables.
    pub clickhouse_database: String,
    /// Also insert each event directly, past the queue, and compare both paths.
    #[serde(deserialize_with = "setting::boolean")]
    pub dual_write: bool,
    /// Bklit's Postgres, with its tokens and event definitions; the URL may contain a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_url: Option<Sensitive>,
    /// Root certificates (PEM) to trust instead of Mozilla's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ca_file: Option<PathBuf>,
    /// The certificate (PEM, with its chain) of the HTTP and the WebSocket server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,
    /// That certificate's private key (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    /// How long shutdown may take before it is forced.
    #[serde(with = "bklit_wire::duration")]
    pub shutdown_timeout: Duration,
    /// How long to keep accepting events before shutdown, with `/ready` answering 503.
    #[serde(with = "bklit_wire::duration")]
    pub shutdown_delay: Duration,
    /// What the program logs about itself: a `tracing` filter such as `info` or `debug`.
    pub log: String,
    /// Debug lines per second above which they are sampled.
    pub debug_lines_per_second: u64,
    /// Debug lines kept for consoles opened later: this process's, or with Redis those of all
    /// processes.
    pub debug_history: usize,
    /// The HTTP server.
    pub http: HttpSettings,
    /// Which events are accepted.
    pub intake: IntakeSettings,
    /// The WebSocket server.
    pub websocket: WebSocketSettings,
    /// Which events are dropped or marked.
    pub filters: FilterSettings,
    /// What is kept about visitors.
    pub privacy: PrivacySettings,
    /// How visitors are located.
    pub geo: GeoSettings,
    /// How tokens are checked.
    pub auth: AuthSettings,
    /// Limits by project, token and address.
    pub limits: LimitSettings,
    /// What is kept about refused events.
    pub refused: RefusedSettings,
    /// The queue.
    pub queue: QueueSettings,
    /// The worker.
    pub worker: WorkerSettings,
    /// The comparison of both paths.
    pub verify: VerifySettings,
    /// The console.
    pub console: ConsoleSettings,
    /// Alerts.
    pub alerts: AlertSettings,
    /// File to record to; set only by a flag.
    #[serde(skip)]
    pub record: Option<String>,
    /// What to report about where the settings are from.
    #[serde(skip)]
    pub notes: Vec<Diagnostic>,
}

impl Settings {
    /// The scheme of the HTTP server's URL.
    pub fn http_scheme(&self) -> &'static str {
        if self.tls_cert.is_some() && self.http.tls { "https" } else { "http" }
    }
}
