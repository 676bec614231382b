//! Which values are allowed.

use std::time::Duration;

use figment::Figment;

use bklit_net::server_url::ServerUrl;
use bklit_wire::diagnostic::Diagnostic;
use bklit_wire::setting::{Sensitive, WrongSetting};

use super::{ConfigError, Settings, source_of};
use bklit_pipeline::http::Playground;
use bklit_pipeline::intake::{ANY_SCHEME, IntakeSettings};
use bklit_pipeline::queue::MAX_SHARDS;
use bklit_pipeline::roles::Role;

const REDIS_SCHEMES: &[&str] = &[
    "redis",
    "rediss",
    "valkey",
    "valkeys",
    "unix",
    "redis+unix",
    "valkey+unix",
    "redis+sentinel",
    "rediss+sentinel",
    "valkey+sentinel",
    "valkeys+sentinel",
    "redis+cluster",
    "rediss+cluster",
    "valkey+cluster",
    "valkeys+cluster",
];
/// Longer than any load balancer's check interval.
const LONGEST_DELAY: Duration = Duration::from_secs(300);
/// Sessions in their grace period are kept in memory.
const LONGEST_GRACE: Duration = Duration::from_secs(300);
/// Events should not wait longer for a batch to fill.
const LONGEST_BATCH_WAIT: Duration = Duration::from_secs(60);
/// Also bounds the partitions of one batch.
const LONGEST_AGE: Duration = Duration::from_secs(3650 * 24 * 3600);
/// A clock that is further ahead is not merely fast.
const LONGEST_AHEAD: Duration = Duration::from_secs(30 * 24 * 3600);
const PRISMA: &str = "is an address for Prisma's own client; set the database's direct URL \
                      (postgres://user:password@host:5432/database)";
const ONLY_USER: &str = "has a user without a password; a password alone is written with a colon \
                         (redis://:password@host)";
const SEVERAL_HOSTS: &str = "has several hosts: use redis+sentinel://host,host/name for Sentinel, or \
                             redis+cluster://host,host for a cluster";
const REDIS_LIKE: &str = "redis://localhost:6379";
const POSTGRES_LIKE: &str = "postgres://user@localhost:5432/bklit";
const CLICKHOUSE_LIKE: &str = "http://localhost:8123";

impl Settings {
    /// Checks what types cannot express; an error names the value's source.
    pub(super) fn validate(&self, figment: &Figment) -> Result<(), ConfigError> {
        self.validate_times(figment)?;
        self.validate_counts(figment)?;
        self.validate_roles(figment)?;
        self.validate_servers(figment)?;
        require(
            figment,
            "http.playground",
            self.http.playground != Playground::Local || self.listen.ip().is_loopback(),
            "needs a loopback address to listen on, because it is for browsers on this machine; \
             http.playground = \"public\" serves the page to everyone",
        )?;
        self.validate_tls(figment)?;
        bklit_console_core::settings::check(&self.console)
            .map_err(|wrong| refused(figment, &wrong))?;
        require(
            figment,
            "log",
            self.log.parse::<tracing_subscriber::EnvFilter>().is_ok(),
            "is not a log filter; try info, debug or bklit_tui=debug,hyper=warn",
        )
    }

    fn validate_times(&self, figment: &Figment) -> Result<(), ConfigError> {
        let needed = [
            ("shutdown_timeout", self.shutdown_timeout),
            ("http.header_timeout", self.http.header_timeout),
            ("http.idle_timeout", self.http.idle_timeout),
            ("http.body_timeout", self.http.body_timeout),
            ("intake.max_ahead", self.intake.max_ahead),
            ("intake.max_age", self.intake.max_age),
            ("websocket.ping_interval", self.websocket.ping_interval),
            ("websocket.auth_timeout", self.websocket.auth_timeout),
            ("worker.lease", self.worker.lease),
            ("worker.max_backoff", self.worker.max_backoff),
            ("worker.session_timeout", self.worker.session_timeout),
            ("verify.settle", self.verify.settle),
        ];
        for (key, value) in needed {
            require(figment, key, !value.is_zero(), "must be longer than 0s")?;
        }
        let bounded = [
            ("shutdown_delay", self.shutdown_delay, LONGEST_DELAY),
            ("intake.max_ahead", self.intake.max_ahead, LONGEST_AHEAD),
            ("intake.max_age", self.intake.max_age, LONGEST_AGE),
            ("websocket.session_grace", self.websocket.session_grace, LONGEST_GRACE),
            ("worker.batch_wait", self.worker.batch_wait, LONGEST_BATCH_WAIT),
        ];
        for (key, value, longest) in bounded {
            let problem = format!("must be at most {}", bklit_wire::duration::format(longest));
            require(figment, key, value <= longest, &problem)?;
        }
        Ok(())
    }

    fn validate_counts(&self, figment: &Figment) -> Result<(), ConfigError> {
        let counts = [
            ("debug_lines_per_second", self.debug_lines_per_second, 1, 10_000_000),
            ("debug_history", self.debug_history as u64, 0, 1_000_000),
            ("http.max_body_bytes", self.http.max_body_bytes as u64, 1024, 64 << 20),
            ("http.max_batch_bytes", self.http.max_batch_bytes as u64, 1024, 64 << 20),
            ("http.max_connections", self.http.max_connections as u64, 1, 1_000_000),
            ("websocket.max_connections", self.websocket.max_connections as u64, 1, 1_000_000),
            ("limits.queue_share", self.limits.queue_share.into(), 1, 100),
            ("refused.max_events", self.refused.max_events as u64, 0, 100_000),
            ("refused.max_bytes", self.refused.max_bytes as u64, 64 << 10, 1 << 30),
            ("queue.max_depth", self.queue.max_depth, 1, u64::MAX),
            ("queue.max_failed", self.queue.max_failed, 1, u64::MAX),
            ("queue.max_client_ids", self.queue.max_client_ids, 1, 1_000_000_000),
            ("queue.alarm_depth", self.queue.alarm_depth, 1, u64::MAX),
            ("queue.shards", self.queue.shards.into(), 1, MAX_SHARDS.into()),
            ("worker.workers", self.worker.workers as u64, 1, 16),
            ("worker.batch_size", self.worker.batch_size as u64, 1, 1_000_000),
            ("alerts.refused_percent", self.alerts.refused_percent, 0, 100),
            ("console.max_lines", self.console.max_lines as u64, 100, 100_000_000),
            ("console.max_bytes", self.console.max_bytes as u64, 1 << 20, 1 << 40),
            ("console.max_problem_lines", self.console.max_problem_lines as u64, 0, 100_000_000),
            ("console.max_problem_bytes", self.console.max_problem_bytes as u64, 1 << 20, 1 << 40),
            ("console.record_max_bytes", self.console.record_max_bytes, 1 << 16, 1 << 50),
            ("console.fps", self.console.fps.into(), 1, 60),
        ];
        let per_address = [
            ("http.max_connections_per_address", self.http.max_connections_per_address),
            ("websocket.max_connections_per_address", self.websocket.max_connections_per_address),
        ];
        let per_address = per_address.map(|(key, value)| (key, value as u64, 1, 1_000_000));
        for (key, value, least, most) in counts.into_iter().chain(per_address) {
            let in_bounds = (least..=most).contains(&value);
            require(figment, key, in_bounds, &format!("must be from {least} to {most}"))?;
        }
        Ok(())
    }

    fn validate_servers(&self, figment: &Figment) -> Result<(), ConfigError> {
        let servers = [
            ("redis_url", &self.redis_url, REDIS_SCHEMES, REDIS_LIKE),
            ("clickhouse_url", &self.clickhouse_url, ["http", "https"].as_slice(), CLICKHOUSE_LIKE),
            ("database_url", &self.database_url, &["postgres", "postgresql"], POSTGRES_LIKE),
        ];
        for (key, value, schemes, like) in servers {
            let Some(url) = value.as_ref().map(Sensitive::expose) else { continue };
            require(figment, key, !is_prisma(url), PRISMA)?;
            let url = ServerUrl::parse(url, schemes, like)
                .map_err(|problem| error(figment, key, &problem))?;
            let is_redis = key == "redis_url";
            let only_user = url.user.is_some() && url.password.is_none();
            require(figment, key, !(is_redis && only_user), ONLY_USER)?;
            let many = url.scheme.ends_with("+sentinel") || url.scheme.ends_with("+cluster");
            require(figment, key, !is_redis || many || url.hosts.len() == 1, SEVERAL_HOSTS)?;
        }
        let mut origins = self.websocket.allowed_origins.iter().flatten();
        if let Some(wrong) = origins.find(|text| !is_origin(text)) {
            let problem = format!(
                "contains {wrong}, which is not an origin like https://dashboard.example or \
                 https://*.example.com"
            );
            return Err(error(figment, "websocket.allowed_origins", &problem));
        }
        let schemes = &self.intake.url_schemes;
        require(
            figment,
            "intake.url_schemes",
            !schemes.is_empty() && schemes.iter().all(|scheme| is_page_scheme(scheme)),
            "must list schemes in lower case, such as https or capacitor, or *",
        )?;
        let names = [
            ("queue.redis_prefix", &self.queue.redis_prefix),
            ("clickhouse_database", &self.clickhouse_database),
        ];
        for (key, name) in names {
            require(figment, key, !name.is_empty(), "must not be empty")?;
        }
        Ok(())
    }

    fn validate_tls(&self, figment: &Figment) -> Result<(), ConfigError> {
        let (certificate, key) = (self.tls_cert.is_some(), self.tls_key.is_some());
        let needs_key =
            "needs the certificate's private key: set tls_key (--tls-key, SSL_KEY_PATH)";
        require(figment, "tls_cert", key || !certificate, needs_key)?;
        let needs_certificate =
            "needs the key's certificate: set tls_cert (--tls-cert, SSL_CERT_PATH)";
        require(figment, "tls_key", certificate || !key, needs_certificate)
    }

    /// The embedded queue and buses work within one process; several processes need Redis.
    fn validate_roles(&self, figment: &Figment) -> Result<(), ConfigError> {
        let store_is_reachable = self.roles.has(Role::Worker) || self.clickhouse_url.is_some();
        require(
            figment,
            "dual_write",
            !self.dual_write || store_is_reachable,
            "needs access to the worker's store: set clickhouse_url (--clickhouse-url, \
             CLICKHOUSE_HOST), or leave roles at its default",
        )?;
        let is_complete = self.roles.has(Role::Ingestion) && self.roles.has(Role::Worker);
        require(
            figment,
            "roles",
            is_complete || self.redis_url.is_some(),
            "leaves ingestion or worker to another process, which needs a queue that both can \
             reach: set redis_url (--redis-url, REDIS_URL), or leave roles at its default",
        )?;
        require(
            figment,
            "queue.shards",
            self.queue.shards == 1 || self.redis_url.is_some(),
            "is for the queue in Redis: set redis_url (--redis-url, REDIS_URL), or remove it",
        )
    }
}

impl Settings {
    /// A warning if the queue is in this process although other servers are configured: Bklit's
    /// example environment has no `REDIS_URL`.
    pub(super) fn embedded_queue(&self) -> Option<Diagnostic> {
        let neighbour = match (&self.clickhouse_url, &self.database_url) {
            _ if self.redis_url.is_some() => return None,
            (Some(_), _) => "clickhouse_url (CLICKHOUSE_HOST)",
            (None, Some(_)) => "database_url (DATABASE_URL)",
            (None, None) => return None,
        };
        Some(Diagnostic::warning(
            format!(
                "{neighbour} is set, but redis_url (REDIS_URL) is not: events are queued in the data dir, \
                 where Bklit's other services cannot see them"
            ),
            "set REDIS_URL to use Bklit's queue, or ignore this if this process is alone",
        ))
    }
}

/// The supported parameters of a Redis URL.
const REDIS_PARAMETERS: [&str; 5] = ["db", "user", "pass", "sentinel_user", "sentinel_pass"];

impl Settings {
    /// Parameters of the Redis URL that have no effect.
    pub(super) fn ignored_parameters(&self) -> Vec<Diagnostic> {
        let url = self.redis_url.as_ref().map(Sensitive::expose);
        let query = url.and_then(|url| url.split_once('?')).map_or("", |(_, query)| query);
        let names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
        let ignored = names.filter(|name| !name.is_empty() && !REDIS_PARAMETERS.contains(name));
        let warning = |name: &str| {
            let advice = match name {
                "ssl" | "tls" => "for TLS, write rediss:// instead of redis://",
                _ => "remove it",
            };
            Diagnostic::warning(format!("redis_url: the parameter {name} is ignored"), advice)
        };
        ignored.map(warning).collect()
    }
}

/// Whether a text is a Redis URL.
pub fn is_redis(url: &str) -> bool {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    scheme.is_some_and(|scheme| REDIS_SCHEMES.contains(&scheme.as_str()))
}

fn is_origin(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| {
        let host = url.host_str().unwrap_or_default();
        let has_star = host.strip_prefix("*.").unwrap_or(host).contains('*');
        url.origin().is_tuple() && url.path() == "/" && !has_star
    })
}

/// Whether URLs of pages may have this scheme at all, or it is the wildcard for all such schemes.
fn is_page_scheme(scheme: &str) -> bool {
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c));
    scheme == ANY_SCHEME || is_scheme && !IntakeSettings::NEVER_ACCEPTED.contains(&scheme)
}

/// Whether only Prisma's client can use the URL.
fn is_prisma(url: &str) -> bool {
    url.split_once("://").is_some_and(|(scheme, _)| matches!(scheme, "prisma" | "prisma+postgres"))
}

fn require(figment: &Figment, key: &str, holds: bool, rule: &str) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(error(figment, key, rule)) }
}

/// An error about a value, with its source.
pub(super) fn refused(figment: &Figment, wrong: &WrongSetting) -> ConfigError {
    error(figment, &wrong.key, &wrong.rule)
}

fn error(figment: &Figment, key: &str, rule: &str) -> ConfigError {
    let source = figment.find_metadata(key).map_or_else(|| "the defaults".to_owned(), source_of);
    ConfigError::Value(format!("{key} (from {source}) {rule}"))
}
