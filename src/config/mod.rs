//! Settings from defaults, the config file, the environment and flags; later sources win.
//!
//! They are read and checked once, at the start. An error names the setting and the source of its
//! value.
//!
//! - `settings`: all settings in one struct
//! - `defaults`: their defaults
//! - `environment`: variables of the process and of `.env`
//! - `check`: which values are allowed

mod check;
mod defaults;
mod environment;
mod settings;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use bklit_wire::diagnostic::Diagnostic;
use bklit_wire::setting::Sensitive;
use bklit_wire::suggestion::did_you_mean;
use environment::Variable;

pub use check::is_redis;
pub use environment::Environment;
pub use settings::Settings;

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

/// Environment variables and the settings they set; later ones win. Our own names come after those
/// that Bklit's other programs use.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("INGESTION_PORT", "listen"),
    ("WEBSOCKET_PORT", "websocket.listen"),
    ("ALLOWED_WS_ORIGINS", "websocket.allowed_origins"),
    ("SSL_CERT_PATH", "tls_cert"),
    ("SSL_KEY_PATH", "tls_key"),
    ("REDIS_URL", "redis_url"),
    ("CLICKHOUSE_HOST", "clickhouse_url"),
    ("CLICKHOUSE_USERNAME", "clickhouse_username"),
    ("CLICKHOUSE_PASSWORD", "clickhouse_password"),
    ("CLICKHOUSE_DATABASE", "clickhouse_database"),
    ("DATABASE_URL", "database_url"),
    ("BKLIT_DATA_DIR", "data_dir"),
    ("BKLIT_LISTEN", "listen"),
    ("BKLIT_WEBSOCKET_LISTEN", "websocket.listen"),
    ("BKLIT_NO_UI", "no_ui"),
    ("BKLIT_ROLES", "roles"),
    ("BKLIT_REDIS_URL", "redis_url"),
    ("BKLIT_CLICKHOUSE_URL", "clickhouse_url"),
    ("BKLIT_DATABASE_URL", "database_url"),
    ("BKLIT_TLS_CA_FILE", "tls_ca_file"),
    ("BKLIT_TLS_CERT", "tls_cert"),
    ("BKLIT_TLS_KEY", "tls_key"),
    ("BKLIT_PLAYGROUND", "http.playground"),
    ("BKLIT_TRUSTED_PROXIES", "http.trusted_proxies"),
    ("BKLIT_CLIENT_IP_HEADER", "http.client_ip_header"),
    ("BKLIT_LOCATION_HEADERS", "http.location_headers"),
    ("BKLIT_PRIVACY_IP", "privacy.ip"),
    ("BKLIT_DO_NOT_TRACK", "privacy.do_not_track"),
    ("BKLIT_GLOBAL_PRIVACY_CONTROL", "privacy.global_privacy_control"),
    ("BKLIT_BOTS", "filters.bots"),
    ("BKLIT_GEO_DATABASE", "geo.database"),
    ("BKLIT_REDIS_PREFIX", "queue.redis_prefix"),
    ("BKLIT_DURABILITY", "queue.durability"),
    ("BKLIT_DUAL_WRITE", "dual_write"),
    ("BKLIT_READ_ONLY", "console.read_only"),
    ("BKLIT_LOG", "log"),
    ("BKLIT_THEME", "console.theme"),
    ("NODE_ENV", "auth.allow_localhost"),
];

/// The names of all environment variables with settings.
pub fn variables() -> impl Iterator<Item = &'static str> {
    ENVIRONMENT.iter().map(|(name, _)| *name)
}

/// The environment variable with the path of the config file.
pub const CONFIG_VARIABLE: &str = "BKLIT_CONFIG";

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The given config file cannot be read.
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
    /// Reads all sources. The given config file `file` must exist; without one, the default file is
    /// read if it exists.
    ///
    /// # Errors
    /// Names the setting that is wrong and its source.
    pub fn load(
        file: Option<&Path>,
        environment: &Environment,
        flags: &[Override],
    ) -> Result<Self, ConfigError> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        let variable = environment.get(CONFIG_VARIABLE).map(|variable| variable.value);
        let given = file.map(Path::to_path_buf).or_else(|| variable.map(PathBuf::from));
        if let Some(path) = given {
            std::fs::File::open(&path)
                .map_err(|error| ConfigError::File { path: path.clone(), error })?;
            figment = figment.merge(Toml::file_exact(path));
        } else if let Some(path) = default_config_file().filter(|path| path.exists()) {
            figment = figment.merge(Toml::file_exact(path));
        }
        let mut notes = environment.report(variables().chain(environment::development_names()));
        for &(name, key) in ENVIRONMENT {
            let Some(Variable { mut value, source }) = environment.get(name) else { continue };
            if name == "NODE_ENV" {
                // Bklit accepts localhost in this case.
                value = (value == "development").to_string();
            }
            if matches!(name, "INGESTION_PORT" | "WEBSOCKET_PORT") {
                if is_service_link(&value) {
                    notes.push(service_link(name));
                    continue;
                }
                if value.parse::<u16>().is_err() {
                    let problem =
                        format!("{key} (from {source}): `{value}` is not a port (0 to 65535)");
                    return Err(ConfigError::Value(problem));
                }
                let host = figment.extract_inner::<SocketAddr>(key).map(|listen| listen.ip());
                value = match host.unwrap_or(Ipv4Addr::LOCALHOST.into()) {
                    IpAddr::V4(host) => format!("{host}:{value}"),
                    IpAddr::V6(host) => format!("[{host}]:{value}"),
                };
            }
            figment = figment.merge(Override { key, source, value });
        }
        for flag in flags {
            figment = figment.merge(flag.clone());
        }
        let mut settings: Self =
            figment.extract().map_err(|error| ConfigError::Value(describe(&error)))?;
        settings.validate(&figment)?;
        notes.extend(settings.exposed_file(&figment));
        notes.extend(settings.embedded_queue());
        notes.extend(settings.ignored_parameters());
        settings.notes = notes;
        Ok(settings)
    }
}

/// Whether a port's value is what Kubernetes sets for a service of that name, such as
/// `tcp://10.96.0.12:8080`.
fn is_service_link(port: &str) -> bool {
    port.split_once("://").is_some_and(|(scheme, _)| matches!(scheme, "tcp" | "udp" | "sctp"))
}

fn service_link(name: &str) -> Diagnostic {
    Diagnostic::warning(
        format!("{name} is ignored: its value is the address of a Kubernetes service, not a port"),
        "set enableServiceLinks: false in the pod, or rename the service",
    )
}

impl Settings {
    /// A warning if other users can read a config file with a password.
    fn exposed_file(&self, figment: &Figment) -> Option<Diagnostic> {
        let is_secret = |url: &Option<Sensitive>| {
            url.as_ref().is_some_and(|url| environment::has_password(url.expose()))
        };
        let secrets = [
            ("clickhouse_password", self.clickhouse_password.is_some()),
            ("redis_url", is_secret(&self.redis_url)),
            ("clickhouse_url", is_secret(&self.clickhouse_url)),
            ("database_url", is_secret(&self.database_url)),
        ];
        let keys = secrets.into_iter().filter(|(_, is_secret)| *is_secret).map(|(key, _)| key);
        let mut sources = keys.filter_map(|key| figment.find_metadata(key)?.source.as_ref());
        sources.find_map(|source| environment::exposed(source.file_path()?))
    }
}

fn source_of(metadata: &Metadata) -> String {
    match &metadata.source {
        Some(figment::Source::File(path)) => path.display().to_string(),
        _ => metadata.name.to_string(),
    }
}

/// One line per error: the key, its source, what is wrong.
fn describe(error: &figment::Error) -> String {
    let lines = error.clone().into_iter().map(|error| {
        let source = error.metadata.as_ref().map_or_else(|| "the settings".to_owned(), source_of);
        let key = error.path.join(".");
        let kind = match &error.kind {
            figment::error::Kind::UnknownField(field, known) => {
                let meant = did_you_mean(field, known.iter().copied());
                let end = if meant.is_empty() { ";" } else { "" };
                format!("unknown setting `{field}`{meant}{end} known: {}", known.join(", "))
            }
            // Names in a list are quoted a second time.
            kind => without_excerpts(&kind.to_string()).replace("``", "`"),
        };
        if key.is_empty() {
            format!("{source}: {kind}")
        } else {
            format!("{key} (from {source}): {kind}")
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Removes the quoted line from a syntax error: it may contain a password.
fn without_excerpts(message: &str) -> String {
    let is_excerpt = |line: &&str| {
        line.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit()).starts_with('|')
    };
    message.lines().filter(|line| !is_excerpt(line)).collect::<Vec<_>>().join("\n")
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

/// `$XDG_CONFIG_HOME/bklit-tui/config.toml`, by default `~/.config/bklit-tui/config.toml`.
fn default_config_file() -> Option<PathBuf> {
    let base = etcetera::choose_base_strategy().ok()?;
    Some(base.config_dir().join("bklit-tui").join("config.toml"))
}

#[cfg(test)]
mod tests;
