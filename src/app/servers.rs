//! Where a pipeline has its queue, tokens and store, noted in its data dir: a command with other
//! settings would look at another queue, and make tokens that nobody asks for.

use std::path::Path;

use color_eyre::eyre::{Result, WrapErr};
use serde::{Deserialize, Serialize};
use url::Url;

use super::data_dir::DataDir;
use crate::config::Settings;
use bklit_pipeline::roles::Role;
use bklit_wire::setting::Sensitive;

const FILE: &str = "servers.json";

const REDIS_PORT: u16 = 6379;

/// Without users and passwords.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Servers {
    queue_and_tokens: String,
    /// Not of a process that leaves storing to others.
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

/// Host, port and path: of a Redis, its database or socket.
fn place(url: &Sensitive, port: Option<u16>) -> String {
    let Ok(url) = Url::parse(url.expose()) else { return "?".to_owned() };
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().or(port).filter(|_| !host.is_empty());
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    let path = url.path().trim_end_matches('/');
    format!("{host}{port}{}", if path == "/0" { "" } else { path })
}

/// Notes what the pipeline on this data dir is about to run on.
///
/// # Errors
/// When the data dir cannot be written.
pub(super) fn note(settings: &Settings, data_dir: &DataDir) -> Result<()> {
    let text = serde_json::to_string(&Servers::of(settings))?;
    data_dir.write(FILE, &text).wrap_err("cannot write in the data dir")
}

/// What to tell the user of a command that has other servers than the pipeline of its data dir.
pub(super) fn difference(settings: &Settings) -> Option<String> {
    let noted = std::fs::read_to_string(settings.data_dir.join(FILE)).ok()?;
    let noted: Servers = serde_json::from_str(&noted).ok()?;
    describe(&noted, &Servers::of(settings), &settings.data_dir)
}

fn describe(noted: &Servers, own: &Servers, data_dir: &Path) -> Option<String> {
    let mut lines = Vec::new();
    let mut compare = |what: &str, noted: &str, own: &str| {
        if noted != own {
            lines.push(format!("  {what} in {noted}; this command's: in {own}"));
        }
    };
    compare("its queue and tokens are", &noted.queue_and_tokens, &own.queue_and_tokens);
    if let (Some(noted), Some(own)) = (&noted.store, &own.store) {
        compare("its store is", noted, own);
    }
    if lines.is_empty() {
        return None;
    }
    lines.insert(0, format!("The pipeline on {} has other servers:", data_dir.display()));
    lines.push(
        "Give this command the same settings: --config, and the environment of its service."
            .to_owned(),
    );
    Some(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told_without_passwords() {
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
        let said = describe(&redis, &embedded, dir).unwrap();
        assert!(said.contains("Redis r:6379, analytics:queue") && said.contains("/d"), "{said}");
        assert!(!said.contains("store is") && !said.contains("hush"), "{said}");
        let said = describe(&both, &embedded, dir).unwrap();
        assert!(said.contains("its store is in ClickHouse c:8443, analytics"), "{said}");
        assert!(!said.contains("hush"), "{said}");
        let without_worker = Servers { store: None, ..redis };
        assert_eq!(describe(&without_worker, &both, dir), None);
    }
}
