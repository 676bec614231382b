//! The settings' defaults.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use etcetera::BaseStrategy;

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

use super::Settings;

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
            tls_cert: None,
            tls_key: None,
            shutdown_timeout: Duration::from_secs(10),
            shutdown_delay: Duration::ZERO,
            log: "info".to_owned(),
            debug_lines_per_second: 5_000,
            debug_history: 10_000,
            http: HttpSettings::default(),
            intake: IntakeSettings::default(),
            websocket: WebSocketSettings::default(),
            filters: FilterSettings::default(),
            privacy: PrivacySettings::default(),
            geo: GeoSettings::default(),
            auth: AuthSettings::default(),
            limits: LimitSettings::default(),
            refused: RefusedSettings::default(),
            queue: QueueSettings::default(),
            worker: WorkerSettings::default(),
            verify: VerifySettings::default(),
            console: ConsoleSettings::default(),
            alerts: AlertSettings::default(),
            record: None,
            notes: Vec::new(),
        }
    }
}

/// `$XDG_DATA_HOME/bklit-tui`, by default `~/.local/share/bklit-tui`.
fn default_data_dir() -> PathBuf {
    etcetera::choose_base_strategy()
        .map_or_else(|_| PathBuf::from("bklit-tui-data"), |base| base.data_dir().join("bklit-tui"))
}
