//! The last lines of all processes that share a Redis server: a capped stream, to which each
//! process adds the lines it publishes, and which a new subscriber reads first.
//!
//! A line is added before it is published, and read after subscribing: so none is missed, and a
//! line that arrives both ways is recognised.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::cmd;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout};

use super::relay::{Outgoing, Reception};
use crate::local::history::{MAX_BYTES, OVERLAP, Overlap, Recent};
use crate::redis::connection::{Link, RedisFailure, RedisServer};
use bklit_net::log_throttle::LogThrottle;
use bklit_wire::debug_bus::{DebugMessage, DebugStream};
use bklit_wire::debug_log::DebugLog;
use bklit_wire::duration::seconds;
use bklit_wire::event::parse_naming_field;

const KEY: &str = "bklit:debug-history";
/// Fields of an entry: the line as published, the process that added it, and its number in that
/// process.
const LINE: &str = "line";
const PROCESS: &str = "process";
const NUMBER: &str = "n";

/// Maximum bytes of a line; a longer one is stored without its details.
const MAX_LINE: usize = 4 * 1024;
/// Expiry of a stream to which nothing is added.
const TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How often the expiry is renewed while lines are added.
const RENEW: Duration = Duration::from_secs(60);

/// Entries read in one round trip.
const PAGE: usize = 500;
/// Additional entries that may be read, because some may not be lines of ours.
const MORE: usize = 10_000;
/// Time limit for reading. Afterwards the lines read so far are used.
const WAIT: Duration = Duration::from_secs(2);

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
}

impl Keeper {
    /// Creates the keeper of the process with this name.
    pub(super) fn new(most: usize, process: &str) -> Self {
        Self { most, process: process.to_owned(), renewed: None, outage: LogThrottle::default() }
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
        let added = async { link.connection().await?.pipeline::<()>(&commands).await }.await;
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

/// The fields of an entry.
type Fields = HashMap<Vec<u8>, Vec<u8>>;

/// A line that was read.
struct Kept {
    line: Arc<DebugLog>,
    process: String,
    number: u64,
}

/// Which lines to read.
#[derive(Clone)]
struct Wanted {
    most: usize,
    /// Of this process, only lines before this number: it has the others itself.
    process: String,
    first: u64,
}

impl Wanted {
    fn has(&self, kept: &Kept) -> bool {
        kept.process != self.process || kept.number < self.first
    }
}

/// Reads the stream.
pub(super) struct Reader {
    link: Link,
    /// Connections belong to this runtime, whichever task reads.
    runtime: Handle,
}

impl Reader {
    /// Connects when it is first used. Must be called in a tokio runtime.
    pub(super) fn new(server: RedisServer) -> Self {
        Self { link: Link::new(server), runtime: Handle::current() }
    }

    /// Reads the last `wanted` lines, once `reception` shows that no newer ones are missed.
    fn start(
        self: &Arc<Self>,
        wanted: Wanted,
        reception: Option<watch::Receiver<Reception>>,
    ) -> oneshot::Receiver<Found> {
        let (sender, receiver) = oneshot::channel();
        let reader = Arc::clone(self);
        self.runtime.spawn(async move {
            let mut found = Found::default();
            let read = async {
                if let Some(mut reception) = reception {
                    let known = reception.wait_for(|reception| *reception != Reception::Off).await;
                    if known.is_ok_and(|reception| *reception != Reception::On) {
                        return Ok(());
                    }
                }
                found.is_read = true;
                reader.read(&wanted, &mut found.newest_first).await
            };
            // Other components log that the server is unavailable.
            if let Ok(Err(error @ RedisFailure::Command(_))) = timeout(WAIT, read).await {
                tracing::warn!(%error, "cannot read the debug lines stored in Redis");
            }
            let _ = sender.send(found);
        });
        receiver
    }

    async fn read(&self, wanted: &Wanted, found: &mut Vec<Kept>) -> Result<(), RedisFailure> {
        let most = wanted.most;
        let mut end = "+".to_owned();
        let (mut entries_read, mut bytes) = (0, 0);
        while found.len() < most && entries_read < most.saturating_add(MORE) && bytes < MAX_BYTES {
            let connection = self.link.connection().await?;
            let page = PAGE.min(most - found.len());
            let mut command = cmd("XREVRANGE");
            command.arg(KEY).arg(&end).arg("-").arg("COUNT").arg(page);
            let entries: Vec<(String, Fields)> = connection.query(&command).await?;
            let Some((last, _)) = entries.last() else { break };
            end = format!("({last}");
            entries_read += entries.len();
            for (_, fields) in &entries {
                bytes += fields.values().map(Vec::len).sum::<usize>();
                found.extend(kept(fields).filter(|kept| wanted.has(kept)));
            }
        }
        Ok(())
    }
}

/// Parses an entry; `None` if it is not a line of ours.
fn kept(fields: &Fields) -> Option<Kept> {
    let field = |name: &str| fields.get(name.as_bytes());
    let text = |name: &str| std::str::from_utf8(field(name)?).ok();
    let line = field(LINE).filter(|line| line.len() <= MAX_LINE)?;
    let line = parse_naming_field::<DebugLog>(line, "").ok()?;
    let (process, number) = (text(PROCESS)?.to_owned(), text(NUMBER)?.parse().ok()?);
    Some(Kept { line: Arc::new(line), process, number })
}

/// The result of reading.
#[derive(Default)]
struct Found {
    newest_first: Vec<Kept>,
    /// Whether reading was attempted.
    is_read: bool,
}

/// The history, then the live stream.
pub(super) struct AfterShared {
    reader: Arc<Reader>,
    reception: Option<watch::Receiver<Reception>>,
    wanted: Wanted,
    /// The lines of this process.
    own: Vec<Arc<DebugLog>>,
    reading: Option<oneshot::Receiver<Found>>,
    /// Whether the history must be read when the server is available again.
    read_later: bool,
    before: VecDeque<Arc<DebugLog>>,
    /// Whether the end of the history has been reported.
    is_live: bool,
    overlap: Overlap,
    live: Box<dyn DebugStream>,
}

impl AfterShared {
    /// The last lines up to `most`, including those of this process (`own`), then `live`, which
    /// must have been opened before `own` was read. `reception` shows whether `live` receives
    /// messages of other processes.
    pub(super) fn new(
        reader: &Arc<Reader>,
        most: usize,
        (process, own): (&str, Recent),
        reception: Option<watch::Receiver<Reception>>,
        live: Box<dyn DebugStream>,
    ) -> Self {
        let wanted = Wanted { most, process: process.to_owned(), first: own.first };
        let reading = (most > 0).then(|| reader.start(wanted.clone(), reception.clone()));
        Self {
            reader: Arc::clone(reader),
            wanted,
            overlap: Overlap::of_this_process(&own.lines),
            own: own.lines,
            reading,
            read_later: false,
            before: VecDeque::new(),
            // Nothing follows recalled lines.
            is_live: reception.is_none(),
            reception,
            live,
        }
    }

    fn take(&mut self, found: Found) {
        let own = std::mem::take(&mut self.own);
        // Otherwise history lines would appear after newer lines of this process.
        self.read_later = !found.is_read && own.is_empty();
        let others = found.newest_first;
        let last = others.iter().take(OVERLAP).filter(|kept| kept.process != self.wanted.process);
        self.overlap.add_others(last.map(|kept| kept.line.identity()));
        self.before = merged(own, others.into_iter().rev().map(|kept| kept.line).collect());
        self.before.drain(..self.before.len().saturating_sub(self.wanted.most));
    }
}

/// Merges both by time, keeping the order within each.
fn merged(one: Vec<Arc<DebugLog>>, two: Vec<Arc<DebugLog>>) -> VecDeque<Arc<DebugLog>> {
    let mut all = VecDeque::with_capacity(one.len() + two.len());
    let (mut one, mut two) = (one.into_iter().peekable(), two.into_iter().peekable());
    while let (Some(first), Some(second)) = (one.peek(), two.peek()) {
        let next = if first.timestamp < second.timestamp { one.next() } else { two.next() };
        all.extend(next);
    }
    all.extend(one.chain(two));
    all
}

#[async_trait]
impl DebugStream for AfterShared {
    async fn next(&mut self) -> Option<DebugMessage> {
        loop {
            if let Some(reading) = &mut self.reading {
                // Fails only when the runtime shuts down.
                let found = reading.await.unwrap_or_default();
                self.reading = None;
                self.take(found);
            }
            if let Some(line) = self.before.pop_front() {
                return Some(DebugMessage::Log(line));
            }
            if !std::mem::replace(&mut self.is_live, true) {
                return Some(DebugMessage::HistoryEnd);
            }
            let message = self.live.next().await?;
            if self.read_later && matches!(message, DebugMessage::Connected) {
                self.read_later = false;
                self.reading = Some(self.reader.start(self.wanted.clone(), self.reception.clone()));
            }
            if !self.overlap.has(&message) {
                return Some(message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bklit_wire::debug_log::{Level, Stage};
    use bklit_wire::time::UtcMillis;

    fn line(at: i64, message: &'static str) -> Arc<DebugLog> {
        let timestamp = UtcMillis::from_epoch_millis(at);
        Arc::new(DebugLog { timestamp, ..DebugLog::new(Stage::Queue, Level::Info, message) })
    }

    #[test]
    fn two_histories_are_merged_by_time() {
        let one = vec![line(1, "a"), line(5, "b"), line(4, "c"), line(9, "d")];
        let two = vec![line(1, "A"), line(4, "B"), line(7, "C")];
        let all: Vec<_> = merged(one, two).iter().map(|line| line.message.to_string()).collect();
        assert_eq!(all, ["A", "a", "B", "b", "c", "C", "d"]);
    }

    #[test]
    fn a_large_line_is_kept_without_its_details() {
        let small = line(1, "small");
        let json = serde_json::to_vec(&*small).unwrap();
        assert!(Entry::new(1, &small, &json).unwrap().short.is_none());
        let mut large = (*small).clone();
        large.data.insert("url".into(), "x".repeat(MAX_LINE).into());
        let json = serde_json::to_vec(&large).unwrap();
        let short = Entry::new(1, &large, &json).unwrap().short.unwrap();
        let kept: DebugLog = serde_json::from_slice(&short).unwrap();
        assert_eq!(kept.data["leftOut"], format!("{} bytes of details", json.len()));
        large.event_id = Some("x".repeat(MAX_LINE));
        let json = serde_json::to_vec(&large).unwrap();
        assert!(Entry::new(1, &large, &json).is_none());
    }

    #[test]
    fn entries_that_are_not_lines_are_skipped() {
        let json = serde_json::to_string(&*line(1, "good")).unwrap();
        let long = format!("{json}{}", " ".repeat(MAX_LINE));
        let entry = |fields: &[(&str, &str)]| {
            let owned = |(name, value): &(&str, &str)| (name.as_bytes().into(), (*value).into());
            kept(&fields.iter().map(owned).collect())
        };
        let good = entry(&[("line", &json), ("process", "p"), ("n", "7"), ("more", "")]).unwrap();
        assert_eq!((&*good.line.message, &*good.process, good.number), ("good", "p", 7));
        for odd in [
            &[][..],
            &[("line", "not JSON"), ("process", "p"), ("n", "7")],
            &[("line", &long), ("process", "p"), ("n", "7")],
            &[("line", &json), ("n", "7")],
            &[("line", &json), ("process", "p"), ("n", "-1")],
            &[("line", &"[".repeat(4000)), ("process", "p"), ("n", "7")],
        ] {
            assert!(entry(odd).is_none(), "{odd:?}");
        }
    }
}
