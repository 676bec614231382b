//! The settings' defaults.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use etcetera::BaseStrategy;

use super::{
    AlertSettings, Ascii, Colors, ConsoleSettings, HttpSettings, QueueSettings, Roles, Scheme,
    Settings, VerifySettings, WebSocketSettings, WorkerSettings,
};
use crate::pipeline::queue::{DEFAULT_MAX_FAILED, DEFAULT_PREFIX, Durability};

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
            http: HttpSettings::default(),
            websocket: WebSocketSettings::default(),
            queue: QueueSettings::default(),
            worker: WorkerSettings::default(),
            verify: VerifySettings::default(),
            console: ConsoleSettings::default(),
            alerts: AlertSettings {
                errors_per_minute: 60,
                daemon: true,
                bell: true,
                ..AlertSettings::default()
            },
            record: None,
        }
    }
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            max_body_bytes: 64 * 1024,
            max_connections: 1024,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            trust_forwarded: false,
        }
    }
}

impl Default for WebSocketSettings {
    fn default() -> Self {
        Self {
            listen: None,
            allowed_origins: Vec::new(),
            max_connections: 1024,
            ping_interval: Duration::from_secs(30),
            auth_timeout: Duration::from_secs(30),
            session_grace: Duration::from_secs(10),
        }
    }
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            max_depth: 1_000_000,
            max_failed: DEFAULT_MAX_FAILED,
            alarm_depth: 1_000,
            redis_prefix: DEFAULT_PREFIX.to_owned(),
            durability: Durability::Everysec,
        }
    }
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            workers: 1,
            batch_size: 5_000,
            batch_wait: Duration::from_millis(50),
            lease: Duration::from_secs(30),
            max_backoff: Duration::from_secs(10),
            session_timeout: Duration::from_secs(30 * 60),
        }
    }
}

impl Default for VerifySettings {
    fn default() -> Self {
        Self { settle: Duration::from_secs(60) }
    }
}

impl Default for ConsoleSettings {
    fn default() -> Self {
        Self {
            max_lines: 100_000,
            max_bytes: 256 * 1024 * 1024,
            fps: 15,
            utc: false,
            read_only: false,
            ascii: Ascii::Auto,
            mouse: false,
            theme: Scheme::Dark,
            colors: Colors::Auto,
            record_max_bytes: 1 << 30,
            filters: BTreeMap::new(),
            keys: BTreeMap::new(),
        }
    }
}

/// `$XDG_DATA_HOME/bklit-tui`, mostly `~/.local/share/bklit-tui`.
fn default_data_dir() -> PathBuf {
    etcetera::choose_base_strategy()
        .map_or_else(|_| PathBuf::from("bklit-tui-data"), |base| base.data_dir().join("bklit-tui"))
}
