//! The last lines of all processes at one Redis: a capped stream, to which each adds what it
//! publishes, and which whoever comes later reads first.
//!
//! A line is added before it is published, and read after listening has begun: none is missed,
//! and what comes both ways is recognised.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::cmd;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout};

use super::relay::{Hearing, Outgoing};
use crate::local::history::{MAX_BYTES, OVERLAP, Overlap, Recent};
use crate::redis::connection::{Link, RedisFailure, RedisServer};
use bklit_net::log_throttle::Outage;
use bklit_wire::debug_bus::{DebugMessage, DebugStream};
use bklit_wire::debug_log::DebugLog;
use bklit_wire::duration::seconds;
use bklit_wire::event::parse_naming_field;

const KEY: &str = "bklit:debug-history";
/// Of an entry: the line as it is published, who added it, and its number there.
const LINE: &str = "line";
const PROCESS: &str = "process";
const NUMBER: &str = "n";

/// The most bytes of a line; a longer one is kept without its details.
const MAX_LINE: usize = 4 * 1024;
/// What nobody adds to for so long is of nobody any more.
const TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How often that begins anew while lines are added.
const RENEW: Duration = Duration::from_secs(60);

/// Entries read in one round trip.
const PAGE: usize = 500;
/// Entries looked at beside those asked for: what others put there may be no lines.
const MORE: usize = 10_000;
/// How long it may all take; then what was read until then counts.
const WAIT: Duration = Duration::from_secs(2);

/// A line to be added.
pub(super) struct Entry {
    number: u64,
    /// What to keep of it, if not what is published.
    short: Option<Vec<u8>>,
}

impl Entry {
    /// The line with this number, which is published as `json`; `None` where it is too large even
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
    /// Entries that stay, about.
    most: usize,
    process: String,
    renewed: Option<Instant>,
    outage: Outage,
}

impl Keeper {
    /// For a process of this name.
    pub(super) fn new(most: usize, process: &str) -> Self {
        Self { most, process: process.to_owned(), renewed: None, outage: Outage::default() }
    }

    /// Adds what is to be kept of these messages. Nothing depends on it.
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
                if let Some(lasted) = self.outage.over().map(seconds) {
                    tracing::info!(lasted, "debug lines are kept in Redis again");
                }
            }
            // Of a server that is away others tell.
            Err(RedisFailure::Unreachable { .. }) => {}
            Err(error) => {
                self.renewed = None;
                if let Some(lasting) = self.outage.failed().map(seconds) {
                    tracing::warn!(%error, lasting, "debug lines are not kept in Redis ({KEY})");
                }
            }
        }
    }
}

/// What an entry is made of.
type Fields = HashMap<Vec<u8>, Vec<u8>>;

/// A line that was read.
struct Kept {
    line: Arc<DebugLog>,
    process: String,
    number: u64,
}

/// Which lines are wanted.
#[derive(Clone)]
struct Wanted {
    most: usize,
    /// Of this process only those before this number: it tells of the others itself.
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
    /// Connections live on it, whoever asks.
    runtime: Handle,
}

impl Reader {
    /// Connects when it is first used. Call it within a tokio runtime.
    pub(super) fn new(server: RedisServer) -> Self {
        Self { link: Link::new(server), runtime: Handle::current() }
    }

    /// Reads the last lines that are `wanted`, once `hearing` says that no newer ones are missed.
    fn start(
        self: &Arc<Self>,
        wanted: Wanted,
        hearing: Option<watch::Receiver<Hearing>>,
    ) -> oneshot::Receiver<Found> {
        let (sender, receiver) = oneshot::channel();
        let reader = Arc::clone(self);
        self.runtime.spawn(async move {
            let mut found = Found::default();
            let read = async {
                if let Some(mut hearing) = hearing {
                    let known = hearing.wait_for(|hearing| *hearing != Hearing::Not).await;
                    if known.is_ok_and(|hearing| *hearing != Hearing::Yes) {
                        return Ok(());
                    }
                }
                found.is_read = true;
                reader.read(&wanted, &mut found.newest_first).await
            };
            // Of a server that is away others tell.
            if let Ok(Err(error @ RedisFailure::Command(_))) = timeout(WAIT, read).await {
                tracing::warn!(%error, "the debug lines kept in Redis cannot be read");
            }
            let _ = sender.send(found);
        });
        receiver
    }

    async fn read(&self, wanted: &Wanted, found: &mut Vec<Kept>) -> Result<(), RedisFailure> {
        let most = wanted.most;
        let mut end = "+".to_owned();
        let (mut looked_at, mut bytes) = (0, 0);
        while found.len() < most && looked_at < most.saturating_add(MORE) && bytes < MAX_BYTES {
            let connection = self.link.connection().await?;
            let page = PAGE.min(most - found.len());
            let mut command = cmd("XREVRANGE");
            command.arg(KEY).arg(&end).arg("-").arg("COUNT").arg(page);
            let entries: Vec<(String, Fields)> = connection.query(&command).await?;
            let Some((last, _)) = entries.last() else { break };
            end = format!("({last}");
            looked_at += entries.len();
            for (_, fields) in &entries {
                bytes += fields.values().map(Vec::len).sum::<usize>();
                found.extend(kept(fields).filter(|kept| wanted.has(kept)));
            }
        }
        Ok(())
    }
}

/// What an entry says; `None` for one that is none of ours.
fn kept(fields: &Fields) -> Option<Kept> {
    let field = |name: &str| fields.get(name.as_bytes());
    let text = |name: &str| std::str::from_utf8(field(name)?).ok();
    let line = field(LINE).filter(|line| line.len() <= MAX_LINE)?;
    let line = parse_naming_field::<DebugLog>(line, "").ok()?;
    let (process, number) = (text(PROCESS)?.to_owned(), text(NUMBER)?.parse().ok()?);
    Some(Kept { line: Arc::new(line), process, number })
}

/// What was read.
#[derive(Default)]
struct Found {
    newest_first: Vec<Kept>,
    /// It was tried.
    is_read: bool,
}

/// The history, then what comes.
pub(super) struct AfterShared {
    reader: Arc<Reader>,
    hearing: Option<watch::Receiver<Hearing>>,
    wanted: Wanted,
    /// What this process itself remembers.
    own: Vec<Arc<DebugLog>>,
    reading: Option<oneshot::Receiver<Found>>,
    /// Nothing was read, as the server was away; it is once it is back.
    is_owed: bool,
    before: VecDeque<Arc<DebugLog>>,
    overlap: Overlap,
    live: Box<dyn DebugStream>,
}

impl AfterShared {
    /// The last lines, at most `most`, those of `own` of this process among them, then `live`,
    /// which must have been opened before `own` was taken. `hearing` tells when it hears others.
    pub(super) fn new(
        reader: &Arc<Reader>,
        most: usize,
        (process, own): (&str, Recent),
        hearing: Option<watch::Receiver<Hearing>>,
        live: Box<dyn DebugStream>,
    ) -> Self {
        let wanted = Wanted { most, process: process.to_owned(), first: own.first };
        let reading = (most > 0).then(|| reader.start(wanted.clone(), hearing.clone()));
        Self {
            reader: Arc::clone(reader),
            hearing,
            wanted,
            overlap: Overlap::of_own(&own.lines),
            own: own.lines,
            reading,
            is_owed: false,
            before: VecDeque::new(),
            live,
        }
    }

    fn take(&mut self, found: Found) {
        let own = std::mem::take(&mut self.own);
        // Lines of this process that it has already told of would only come late.
        self.is_owed = !found.is_read && own.is_empty();
        let others = found.newest_first;
        let last = others.iter().take(OVERLAP).filter(|kept| kept.process != self.wanted.process);
        self.overlap.add_others(last.map(|kept| kept.line.identity()));
        self.before = merged(own, others.into_iter().rev().map(|kept| kept.line).collect());
        self.before.drain(..self.before.len().saturating_sub(self.wanted.most));
    }
}

/// Both in one order, by time, where their own orders stay.
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
                // An error is that of a runtime that ends.
                let found = reading.await.unwrap_or_default();
                self.reading = None;
                self.take(found);
            }
            if let Some(line) = self.before.pop_front() {
                return Some(DebugMessage::Log(line));
            }
            let message = self.live.next().await?;
            if self.is_owed && matches!(message, DebugMessage::Connected) {
                self.is_owed = false;
                self.reading = Some(self.reader.start(self.wanted.clone(), self.hearing.clone()));
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
    fn two_orders_become_one() {
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
    fn what_is_no_line_of_ours_is_skipped() {
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
            &[("line", "no JSON"), ("process", "p"), ("n", "7")],
            &[("line", &long), ("process", "p"), ("n", "7")],
            &[("line", &json), ("n", "7")],
            &[("line", &json), ("process", "p"), ("n", "-1")],
            &[("line", &"[".repeat(4000)), ("process", "p"), ("n", "7")],
        ] {
            assert!(entry(odd).is_none(), "{odd:?}");
        }
    }
}
