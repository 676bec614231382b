//! Settings: defaults, then the config file, then the environment, then flags; the later wins.
//!
//! All are read and checked once, at the start. An error names the setting and where its value
//! came from.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcetera::BaseStrategy;
use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde::{Deserialize, Serialize};

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
    /// How long a stop may take before it is forced.
    #[serde(with = "humantime_serde")]
    pub shutdown_timeout: Duration,
    /// What the program logs about itself: a `tracing` filter such as `info` or `debug`.
    pub log: String,
    /// Debug lines a second above which they are sampled.
    pub debug_lines_per_second: u64,
    /// The HTTP server.
    pub http: HttpSettings,
    /// The queue.
    pub queue: QueueSettings,
    /// The worker.
    pub worker: WorkerSettings,
    /// The console.
    pub console: ConsoleSettings,
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
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sensitive(String);

impl Sensitive {
    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
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
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data_dir: default_data_dir(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 3001)),
            no_ui: false,
            redis_url: None,
            clickhouse_url: None,
            clickhouse_username: None,
            clickhouse_password: None,
            clickhouse_database: "analytics".to_owned(),
            shutdown_timeout: Duration::from_secs(10),
            log: "info".to_owned(),
            debug_lines_per_second: 5_000,
            http: HttpSettings {
                max_body_bytes: 64 * 1024,
                max_connections: 1024,
                header_timeout: Duration::from_secs(10),
                body_timeout: Duration::from_secs(10),
                trust_forwarded: false,
            },
            queue: QueueSettings {
                max_depth: 1_000_000,
                alarm_depth: 1_000,
                redis_prefix: DEFAULT_PREFIX.to_owned(),
                durability: Durability::Everysec,
            },
            worker: WorkerSettings {
                batch_size: 5_000,
                batch_wait: Duration::from_millis(50),
                lease: Duration::from_secs(30),
                max_backoff: Duration::from_secs(10),
                session_timeout: Duration::from_secs(30 * 60),
            },
            console: ConsoleSettings {
                max_lines: 100_000,
                max_bytes: 256 * 1024 * 1024,
                fps: 15,
                utc: false,
            },
        }
    }
}

/// One value from the environment or a flag, with its source for error messages.
#[derive(Clone, Debug)]
pub struct Override {
    /// The setting's key, `.` between table and name.
    pub key: &'static str,
    /// Where the value came from.
    pub source: String,
    /// The value as text.
    pub value: String,
}

/// Environment variables and the setting each one is, later ones winning. Our own names come
/// after those that users of Bklit have set already.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("INGESTION_PORT", "listen"),
    ("REDIS_URL", "redis_url"),
    ("CLICKHOUSE_HOST", "clickhouse_url"),
    ("CLICKHOUSE_USERNAME", "clickhouse_username"),
    ("CLICKHOUSE_PASSWORD", "clickhouse_password"),
    ("CLICKHOUSE_DATABASE", "clickhouse_database"),
    ("BKLIT_DATA_DIR", "data_dir"),
    ("BKLIT_LISTEN", "listen"),
    ("BKLIT_NO_UI", "no_ui"),
    ("BKLIT_REDIS_URL", "redis_url"),
    ("BKLIT_CLICKHOUSE_URL", "clickhouse_url"),
    ("BKLIT_REDIS_PREFIX", "queue.redis_prefix"),
    ("BKLIT_DURABILITY", "queue.durability"),
    ("BKLIT_LOG", "log"),
];

const REDIS_SCHEMES: &[&str] = &["redis", "rediss", "valkey", "valkeys", "redis+unix", "unix"];
const CLICKHOUSE_LIKE: &str = "http://localhost:8123";

/// The variable that names the config file.
pub const CONFIG_VARIABLE: &str = "BKLIT_CONFIG";

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The config file that was asked for cannot be read.
    #[error("cannot read the config file {path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A value is wrong.
    #[error("{0}")]
    Value(String),
}

impl Settings {
    /// Reads all sources. `file` is the config file asked for, which must exist; without one
    /// the default file is read if there is one.
    ///
    /// # Errors
    /// Names the setting that is wrong and its source.
    pub fn load(
        file: Option<&Path>,
        environment: impl Fn(&str) -> Option<String>,
        flags: &[Override],
    ) -> Result<Self, ConfigError> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        let asked =
            file.map(Path::to_path_buf).or_else(|| environment(CONFIG_VARIABLE).map(PathBuf::from));
        if let Some(path) = asked {
            std::fs::File::open(&path)
                .map_err(|error| ConfigError::File { path: path.clone(), error })?;
            figment = figment.merge(Toml::file_exact(path));
        } else if let Some(path) = default_config_file().filter(|path| path.exists()) {
            figment = figment.merge(Toml::file_exact(path));
        }
        for &(variable, key) in ENVIRONMENT {
            let Some(mut value) = environment(variable).filter(|value| !value.is_empty()) else {
                continue;
            };
            if variable == "INGESTION_PORT" {
                let host = figment.extract_inner::<SocketAddr>("listen").map(|listen| listen.ip());
                value = match host.unwrap_or(Ipv4Addr::LOCALHOST.into()) {
                    IpAddr::V4(host) => format!("{host}:{value}"),
                    IpAddr::V6(host) => format!("[{host}]:{value}"),
                };
            }
            let source = format!("the environment variable {variable}");
            figment = figment.merge(Override { key, source, value });
        }
        for flag in flags {
            figment = figment.merge(flag.clone());
        }
        let settings: Self =
            figment.extract().map_err(|error| ConfigError::Value(describe(&error)))?;
        settings.validate(&figment)?;
        Ok(settings)
    }

    fn validate(&self, figment: &Figment) -> Result<(), ConfigError> {
        let durations = [
            ("shutdown_timeout", self.shutdown_timeout),
            ("http.header_timeout", self.http.header_timeout),
            ("http.body_timeout", self.http.body_timeout),
            ("worker.lease", self.worker.lease),
            ("worker.max_backoff", self.worker.max_backoff),
            ("worker.session_timeout", self.worker.session_timeout),
        ];
        for (key, value) in durations {
            require(figment, key, !value.is_zero(), "must be longer than 0s")?;
        }
        require(
            figment,
            "worker.batch_wait",
            self.worker.batch_wait <= Duration::from_secs(60),
            "must be at most 60s",
        )?;
        let counts = [
            ("debug_lines_per_second", self.debug_lines_per_second, 1, 10_000_000),
            ("http.max_body_bytes", self.http.max_body_bytes as u64, 1024, 64 << 20),
            ("http.max_connections", self.http.max_connections as u64, 1, 1_000_000),
            ("queue.max_depth", self.queue.max_depth, 1, u64::MAX),
            ("queue.alarm_depth", self.queue.alarm_depth, 1, u64::MAX),
            ("worker.batch_size", self.worker.batch_size as u64, 1, 1_000_000),
            ("console.max_lines", self.console.max_lines as u64, 100, 100_000_000),
            ("console.max_bytes", self.console.max_bytes as u64, 1 << 20, 1 << 40),
            ("console.fps", self.console.fps.into(), 1, 60),
        ];
        for (key, value, least, most) in counts {
            let in_bounds = (least..=most).contains(&value);
            require(figment, key, in_bounds, &format!("must be from {least} to {most}"))?;
        }
        require(
            figment,
            "log",
            self.log.parse::<tracing_subscriber::EnvFilter>().is_ok(),
            "is no log filter; try info, debug or bklit_tui=debug,hyper=warn",
        )?;
        let servers = [
            ("redis_url", &self.redis_url, REDIS_SCHEMES, "redis://localhost:6379"),
            ("clickhouse_url", &self.clickhouse_url, ["http", "https"].as_slice(), CLICKHOUSE_LIKE),
        ];
        for (key, value, schemes, like) in servers {
            let usable = value.as_ref().is_none_or(|url| has_scheme(url.expose(), schemes));
            require(figment, key, usable, &format!("is no such URL as {like}"))?;
        }
        let names = [
            ("queue.redis_prefix", &self.queue.redis_prefix),
            ("clickhouse_database", &self.clickhouse_database),
        ];
        for (key, name) in names {
            require(figment, key, !name.is_empty(), "must not be empty")?;
        }
        Ok(())
    }
}

/// Never tells what the URL is: it may have a password in it.
fn has_scheme(url: &str, schemes: &[&str]) -> bool {
    url::Url::parse(url).is_ok_and(|url| schemes.contains(&url.scheme()))
}

fn require(figment: &Figment, key: &str, holds: bool, rule: &str) -> Result<(), ConfigError> {
    if holds {
        return Ok(());
    }
    let source = figment.find_metadata(key).map_or_else(|| "the defaults".to_owned(), source_of);
    Err(ConfigError::Value(format!("{key} (from {source}) {rule}")))
}

fn source_of(metadata: &Metadata) -> String {
    match &metadata.source {
        Some(figment::Source::File(path)) => path.display().to_string(),
        _ => metadata.name.to_string(),
    }
}

/// One line an error: the key, its source, what is wrong.
fn describe(error: &figment::Error) -> String {
    let lines = error.clone().into_iter().map(|error| {
        let source = error.metadata.as_ref().map_or_else(|| "the settings".to_owned(), source_of);
        let key = error.path.join(".");
        if key.is_empty() {
            format!("{source}: {}", error.kind)
        } else {
            format!("{key} (from {source}): {}", error.kind)
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

impl Provider for Override {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let value = Value::from(self.value.clone());
        let dict = match self.key.split_once('.') {
            Some((table, name)) => Dict::from([(
                table.to_owned(),
                Value::from(Dict::from([(name.to_owned(), value)])),
            )]),
            None => Dict::from([(self.key.to_owned(), value)]),
        };
        Ok(Map::from([(Profile::Default, dict)]))
    }
}

/// `$XDG_DATA_HOME/bklit-tui`, mostly `~/.local/share/bklit-tui`.
fn default_data_dir() -> PathBuf {
    etcetera::choose_base_strategy()
        .map_or_else(|_| PathBuf::from("bklit-tui-data"), |base| base.data_dir().join("bklit-tui"))
}

/// `$XDG_CONFIG_HOME/bklit-tui/config.toml`, mostly `~/.config/bklit-tui/config.toml`.
fn default_config_file() -> Option<PathBuf> {
    let base = etcetera::choose_base_strategy().ok()?;
    Some(base.config_dir().join("bklit-tui").join("config.toml"))
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

#[cfg(test)]
mod tests;
