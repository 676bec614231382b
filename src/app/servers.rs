//! The servers of a pipeline, recorded in its data dir: a command with other settings would read
//! another queue and create tokens that the pipeline does not use.

use std::path::Path;

use color_eyre::eyre::{Result, WrapErr};
use serde::{Deserialize, Serialize};

use super::data_dir::DataDir;
use crate::config::Settings;
use bklit_net::server_url::{Host, ServerUrl};
use bklit_pipeline::roles::Role;
use bklit_wire::setting::Sensitive;

const FILE: &str = "servers.json";

const REDIS_PORT: u16 = 6379;

/// Where queue, tokens and store are, without users and passwords.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Servers {
    queue_and_tokens: String,
    /// `None` for a process without a worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    store: Option<String>,
}

impl Servers {
    fn of(settings: &Settings) -> Self {
        let here = || "the data dir".to_owned();
        let redis = settings.redis_url.as_ref().map(|url| {
            format!("Redis {}, {}", place(url, Some(REDIS_PORT)), settings.queue.redis_prefix)
        });
        let store = settings.clickhouse_url.as_ref().map(|url| {
            format!("ClickHouse {}, {}", place(url, None), settings.clickhouse_database)
        });
        Self {
            queue_and_tokens: redis.unwrap_or_else(here),
            store: store.or_else(|| settings.roles.has(Role::Worker).then(here)),
        }
    }
}

/// The servers that a pipeline uses, with their addresses: `Redis 10.0.0.7:6379`.
pub(super) fn named(settings: &Settings) -> String {
    let redis =
        settings.redis_url.as_ref().map(|url| format!("Redis {}", place(url, Some(REDIS_PORT))));
    let clickhouse =
        settings.clickhouse_url.as_ref().map(|url| format!("ClickHouse {}", place(url, None)));
    redis.into_iter().chain(clickhouse).collect::<Vec<_>>().join(", ")
}

/// Hosts, ports and path: of a Redis, its database or socket, or the name that Sentinels know.
fn place(url: &Sensitive, port: Option<u16>) -> String {
    let text = url.expose();
    let scheme = text.split("://").next().unwrap_or_default().to_ascii_lowercase();
    let Ok(url) = ServerUrl::parse(text, &[&scheme], "") else { return "?".to_owned() };
    let port = match scheme.as_str() {
        "http" => Some(80),
        "https" => Some(443),
        _ => port,
    };
    let host = |host: &Host| match host.name.as_str() {
        "" => String::new(),
        name => Host { name: name.to_lowercase(), port: host.port.or(port) }.to_string(),
    };
    let mut hosts: Vec<_> = url.hosts.iter().map(host).collect();
    hosts.sort();
    let (hosts, path) = (hosts.join(","), url.path.trim_end_matches('/'));
    if path.is_empty() || path == "0" { hosts } else { format!("{hosts}/{path}") }
}

/// Records the servers of the pipeline that is starting on this data dir.
///
/// # Errors
/// When the data dir cannot be written.
pub(super) fn record(settings: &Settings, data_dir: &DataDir) -> Result<()> {
    let text = serde_json::to_string(&Servers::of(settings))?;
    data_dir.write(FILE, &text).wrap_err("cannot write in the data dir")
}

/// The warning when a command has other servers than the pipeline on its data dir.
pub(super) fn difference(settings: &Settings) -> Option<String> {
    let recorded = std::fs::read_to_string(settings.data_dir.join(FILE)).ok()?;
    let recorded: Servers = serde_json::from_str(&recorded).ok()?;
    describe(&recorded, &Servers::of(settings), &settings.data_dir)
}

fn describe(recorded: &Servers, own: &Servers, data_dir: &Path) -> Option<String> {
    let mut lines = Vec::new();
    let mut compare = |what: &str, recorded: &str, own: &str| {
        if recorded != own {
            lines.push(format!("  {what} in {recorded}; this command's: in {own}"));
        }
    };
    compare("its queue and tokens are", &recorded.queue_and_tokens, &own.queue_and_tokens);
    if let (Some(recorded), Some(own)) = (&recorded.store, &own.store) {
        compare("its store is", recorded, own);
    }
    if lines.is_empty() {
        return None;
    }
    lines.insert(0, format!("The pipeline on {} uses other servers:", data_dir.display()));
    lines.push(
        "Run this command with the same settings: --config and the environment of the service."
            .to_owned(),
    );
    Some(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_shown_without_passwords() {
        let url = |url: &str| serde_json::from_value(url.into()).unwrap();
        let settings = |redis: Option<&str>, clickhouse: Option<&str>| Settings {
            redis_url: redis.map(url),
            clickhouse_url: clickhouse.map(url),
            ..Settings::default()
        };
        let dir = Path::new("/d");
        let (embedded, redis) = (settings(None, None), settings(Some("redis://u:hush@r/0"), None));
        let same = settings(Some("redis://r:6379"), None);
        let both = settings(Some("redis://r"), Some("https://me:hush@c:8443/"));
        let [embedded, redis, same, both] = [&embedded, &redis, &same, &both].map(Servers::of);
        assert_eq!(describe(&redis, &same, dir), None);
        let text = describe(&redis, &embedded, dir).unwrap();
        assert!(text.contains("Redis r:6379, analytics:queue") && text.contains("/d"), "{text}");
        assert!(!text.contains("store is") && !text.contains("hush"), "{text}");
        let text = describe(&both, &embedded, dir).unwrap();
        assert!(text.contains("its store is in ClickHouse c:8443, analytics"), "{text}");
        assert!(!text.contains("hush"), "{text}");
        for (one, two, is_same) in [
            ("redis+sentinel://:hush@a,b:2/main", "redis+sentinel://b:2,a:6379/main", true),
            ("redis+sentinel://a,b/main", "redis+sentinel://a,b/other", false),
            ("unix:///run/redis.sock?pass=hush", "redis+unix:///run/redis.sock", true),
        ] {
            let [one, two] = [one, two].map(|url| Servers::of(&settings(Some(url), None)));
            let text = describe(&one, &two, dir);
            assert_eq!(text.is_none(), is_same, "{text:?}");
        }
        let without_worker = Servers { store: None, ..redis };
        assert_eq!(describe(&without_worker, &both, dir), None);
    }
}
