//! The last lines of all processes that share a Redis server: a capped stream, to which each
//! process adds the lines it publishes, and which a new subscriber reads first.
//!
//! A line is added before it is published, and read after subscribing: so none is missed, and a
//! line that arrives both ways is recognised. The same is done when a lost connection is restored:
//! lines that were missed in between are read from the stream.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::cmd;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::gap::Gap;
use super::relay::Reception;
use crate::local::history::{MAX_BYTES, OVERLAP, Overlap, Recent};
use crate::redis::connection::{Link, RedisFailure, RedisServer};
use bklit_wire::debug_bus::{DebugMessage, DebugStream};
use bklit_wire::debug_log::DebugLog;
use bklit_wire::event::parse_naming_field;

pub(super) const KEY: &str = "bklit:debug-history";
/// Fields of an entry: the line as published, the process that added it, and its number in that
/// process.
pub(super) const LINE: &str = "line";
pub(super) const PROCESS: &str = "process";
pub(super) const NUMBER: &str = "n";

/// Maximum bytes of a line; a longer one is stored without its details.
pub(super) const MAX_LINE: usize = 4 * 1024;
/// Entries read in one round trip.
const PAGE: usize = 500;
/// Additional entries that may be read, because some may not be lines of ours.
const MORE: usize = 10_000;
/// The most missed lines that are read after a lost connection.
const MAX_MISSED: usize = 10_000;
/// Time limit for reading. Afterwards the lines read so far are used.
const WAIT: Duration = Duration::from_secs(2);

/// The fields of an entry.
type Fields = HashMap<Vec<u8>, Vec<u8>>;

/// A line that was read.
pub(super) struct Kept {
    pub(super) line: Arc<DebugLog>,
    pub(super) process: String,
    pub(super) number: u64,
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
    server: RedisServer,
    link: Link,
    /// Connections belong to this runtime, whichever task reads.
    runtime: Handle,
}

impl Reader {
    /// Connects when it is first used. Must be called in a tokio runtime.
    pub(super) fn new(server: RedisServer) -> Self {
        let server = server.for_key(KEY);
        Self { link: Link::new(server.clone()), server, runtime: Handle::current() }
    }

    /// Reads the last `wanted` lines, once `reception` shows that no newer ones are missed. After a
    /// lost connection, that of the reader may have been lost unnoticed, too, so that a `fresh` one
    /// is needed.
    fn start(
        self: &Arc<Self>,
        wanted: Wanted,
        reception: Option<watch::Receiver<Reception>>,
        fresh: bool,
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
                let new = fresh.then(|| Link::new(reader.server.clone()));
                let link = new.as_ref().unwrap_or(&reader.link);
                read(link, &wanted, &mut found.newest_first).await
            };
            // Other components log that the server is unavailable.
            if let Ok(Err(error @ RedisFailure::Command(_))) = timeout(WAIT, read).await {
                tracing::warn!(%error, "cannot read the debug lines stored in Redis");
            }
            let _ = sender.send(found);
        });
        receiver
    }
}

async fn read(link: &Link, wanted: &Wanted, found: &mut Vec<Kept>) -> Result<(), RedisFailure> {
    let most = wanted.most;
    let mut end = "+".to_owned();
    let (mut entries_read, mut bytes) = (0, 0);
    while found.len() < most && entries_read < most.saturating_add(MORE) && bytes < MAX_BYTES {
        let connection = link.connection().await?;
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
    gap: Gap,
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
        let reading = (most > 0).then(|| reader.start(wanted.clone(), reception.clone(), false));
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
            gap: Gap::new(),
        }
    }

    /// What to read if a message shows that lines can be read that were missed before.
    fn missed_by(&mut self, message: &DebugMessage) -> Option<Wanted> {
        match message {
            DebugMessage::Log(line) => {
                self.gap.saw(line.identity());
                None
            }
            DebugMessage::Disconnected(_) => {
                self.gap.is_open = true;
                None
            }
            DebugMessage::Connected => {
                let is_open = std::mem::replace(&mut self.gap.is_open, false);
                if std::mem::replace(&mut self.read_later, false) {
                    return Some(self.wanted.clone());
                }
                self.gap.is_read = is_open;
                // Lines of this process arrive without Redis.
                let process = self.wanted.process.clone();
                is_open.then_some(Wanted { most: MAX_MISSED, process, first: 0 })
            }
            _ => None,
        }
    }

    fn take(&mut self, mut found: Found) {
        let fills_gap = std::mem::replace(&mut self.gap.is_read, false);
        if fills_gap {
            found.newest_first = self.gap.missed(found.newest_first);
        }
        let own = std::mem::take(&mut self.own);
        // Otherwise history lines would appear after newer lines of this process.
        self.read_later = !found.is_read && own.is_empty();
        let others = found.newest_first;
        let last = others.iter().take(OVERLAP).filter(|kept| kept.process != self.wanted.process);
        self.overlap.add_others(last.map(|kept| kept.line.identity()));
        others.iter().rev().for_each(|kept| self.gap.saw(kept.line.identity()));
        self.before = merged(own, others.into_iter().rev().map(|kept| kept.line).collect());
        let most = if fills_gap { MAX_MISSED } else { self.wanted.most };
        self.before.drain(..self.before.len().saturating_sub(most));
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
            if self.overlap.has(&message) {
                continue;
            }
            if let Some(wanted) = self.missed_by(&message) {
                self.reading = Some(self.reader.start(wanted, self.reception.clone(), true));
            }
            return Some(message);
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
