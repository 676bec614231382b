//! Adds the lines that this process publishes to the stream of the last lines.

use std::time::Duration;

use tokio::time::Instant;

use super::history::{KEY, LINE, MAX_LINE, NUMBER, PROCESS};
use super::relay::Outgoing;
use crate::redis::connection::{Link, RedisFailure, RedisServer};
use bklit_net::log_throttle::LogThrottle;
use bklit_wire::debug_log::DebugLog;
use bklit_wire::duration::seconds;

/// Expiry of a stream to which nothing is added.
const TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How often the expiry is renewed while lines are added.
const RENEW: Duration = Duration::from_secs(60);

/// A line to be added to the stream.
pub(super) struct Entry {
    number: u64,
    /// The shortened line, if it is too long.
    short: Option<Vec<u8>>,
}

impl Entry {
    /// Creates the entry for a line that is published as `json`; `None` if it is too long even
    /// without its details.
    pub(super) fn new(number: u64, line: &DebugLog, json: &[u8]) -> Option<Self> {
        if json.len() <= MAX_LINE {
            return Some(Self { number, short: None });
        }
        let mut short = DebugLog { data: serde_json::Map::new(), ..line.clone() };
        short.data.insert("leftOut".to_owned(), format!("{} bytes of details", json.len()).into());
        let short = serde_json::to_vec(&short).ok().filter(|json| json.len() <= MAX_LINE)?;
        Some(Self { number, short: Some(short) })
    }
}

/// Adds lines to the stream.
pub(super) struct Keeper {
    /// Approximate maximum of entries.
    most: usize,
    process: String,
    renewed: Option<Instant>,
    outage: LogThrottle,
    /// In a cluster, the stream may be on another node than the channels.
    own_link: Option<Link>,
}

impl Keeper {
    /// Creates the keeper of the process with this name.
    pub(super) fn new(most: usize, process: &str, server: &RedisServer) -> Self {
        let own_link = server.is_cluster().then(|| Link::new(server.clone().for_key(KEY)));
        let outage = LogThrottle::default();
        Self { most, process: process.to_owned(), renewed: None, outage, own_link }
    }

    /// Adds the history entries of these messages. Failures are logged but have no other effect.
    pub(super) async fn keep(&mut self, link: &Link, messages: &[Outgoing]) {
        let entries = || messages.iter().filter_map(|m| Some((m, m.entry.as_ref()?)));
        if entries().next().is_none() {
            return;
        }
        let mut commands = redis::pipe();
        for (message, Entry { number, short }) in entries() {
            let line = short.as_ref().unwrap_or(&message.payload).as_slice();
            commands.cmd("XADD").arg(KEY).arg("MAXLEN").arg("~").arg(self.most).arg("*");
            commands.arg(LINE).arg(line).arg(PROCESS).arg(&self.process);
            commands.arg(NUMBER).arg(*number).ignore();
        }
        let renews = self.renewed.is_none_or(|at| at.elapsed() >= RENEW);
        if renews {
            commands.cmd("EXPIRE").arg(KEY).arg(TTL.as_secs()).ignore();
        }
        let link = self.own_link.as_ref().unwrap_or(link);
        let add = async || link.connection().await?.pipeline::<()>(&commands).await;
        let added = match add().await {
            // The node that has the stream now is looked up.
            Err(failure) if failure.is_moved() => add().await,
            added => added,
        };
        match added {
            Ok(()) => {
                if renews {
                    self.renewed = Some(Instant::now());
                }
                if let Some(lasted) = self.outage.recovered().map(seconds) {
                    tracing::info!(lasted, "debug lines are stored in Redis again");
                }
            }
            // Other components log that the server is unavailable.
            Err(RedisFailure::Unreachable { .. }) => {}
            Err(error) => {
                self.renewed = None;
                if let Some(lasting) = self.outage.failure().map(seconds) {
                    tracing::warn!(%error, lasting, "debug lines cannot be stored in Redis ({KEY})");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bklit_wire::debug_log::{Level, Stage};

    #[test]
    fn a_large_line_is_kept_without_its_details() {
        let small = DebugLog::new(Stage::Queue, Level::Info, "small");
        let json = serde_json::to_vec(&small).unwrap();
        assert!(Entry::new(1, &small, &json).unwrap().short.is_none());
        let mut large = small.clone();
        large.data.insert("url".into(), "x".repeat(MAX_LINE).into());
        let json = serde_json::to_vec(&large).unwrap();
        let short = Entry::new(1, &large, &json).unwrap().short.unwrap();
        let kept: DebugLog = serde_json::from_slice(&short).unwrap();
        assert_eq!(kept.data["leftOut"], format!("{} bytes of details", json.len()));
        large.event_id = Some("x".repeat(MAX_LINE));
        let json = serde_json::to_vec(&large).unwrap();
        assert!(Entry::new(1, &large, &json).is_none());
    }
}
