//! The last debug lines of this process, for consoles that are opened later.
//!
//! Lines are kept before they are published, as pointers. No subscription is needed, and without
//! subscribers nothing is sent over a bus.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde_json::Value;

use bklit_wire::debug_bus::{DebugBus, DebugMessage, DebugStream, Recalled};
use bklit_wire::debug_log::DebugLog;

/// Approximate limit of the memory that the lines take.
pub(crate) const MAX_BYTES: usize = 32 * 1024 * 1024;
/// Memory of a line in addition to its texts, in bytes.
const LINE_BYTES: usize = 256;
/// How many of the last history lines may arrive over the bus as well because they were published
/// while the history was read, and how many bus messages are compared with them. More than a bus
/// buffers for a subscriber.
pub(crate) const OVERLAP: usize = 20_000;

/// A ring buffer of the last lines, bounded by count and bytes.
pub struct Ring {
    most: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    lines: VecDeque<(Arc<DebugLog>, usize)>,
    bytes: usize,
    /// The number of the next line.
    next: u64,
}

/// A snapshot of a [`Ring`].
pub struct Recent {
    /// The number of the first line, or of the next line to come if there are none.
    pub first: u64,
    /// Oldest first.
    pub lines: Vec<Arc<DebugLog>>,
}

impl Ring {
    /// Creates a ring for up to `most` lines.
    pub fn new(most: usize) -> Self {
        Self { most, kept: Mutex::default() }
    }

    /// The maximum number of lines.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Adds a line and returns its number. Numbers count up from 0.
    pub fn keep(&self, line: &Arc<DebugLog>) -> u64 {
        let bytes = size(line);
        let mut kept = self.kept();
        let number = kept.next;
        kept.next += 1;
        kept.lines.push_back((Arc::clone(line), bytes));
        kept.bytes += bytes;
        while kept.lines.len() > self.most || kept.bytes > MAX_BYTES {
            let Some((_, bytes)) = kept.lines.pop_front() else { break };
            kept.bytes -= bytes;
        }
        number
    }

    /// The last lines, up to `most`.
    pub fn recent(&self, most: usize) -> Recent {
        let kept = self.kept();
        let skip = kept.lines.len().saturating_sub(most);
        let lines: Vec<_> = kept.lines.iter().skip(skip).map(|(line, _)| line.clone()).collect();
        Recent { first: kept.next - lines.len() as u64, lines }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A [`DebugBus`] that keeps the last lines.
pub struct RememberingDebugBus {
    inner: Arc<dyn DebugBus>,
    ring: Ring,
}

impl RememberingDebugBus {
    /// Wraps `inner` and keeps up to `most` lines.
    pub fn new(inner: Arc<dyn DebugBus>, most: usize) -> Self {
        Self { inner, ring: Ring::new(most) }
    }
}

/// Approximate memory of a line, in bytes.
fn size(line: &DebugLog) -> usize {
    let ids = [&line.event_id, &line.project_id];
    let ids: usize = ids.into_iter().flatten().map(String::len).sum();
    let data: usize = line.data.iter().map(|(key, value)| key.len() + value_size(value)).sum();
    LINE_BYTES + line.message.len() + ids + data
}

fn value_size(value: &Value) -> usize {
    const SCALAR: usize = 64;
    match value {
        Value::String(text) => SCALAR + text.len(),
        Value::Array(items) => SCALAR + items.iter().map(value_size).sum::<usize>(),
        Value::Object(fields) => {
            SCALAR + fields.iter().map(|(key, value)| key.len() + value_size(value)).sum::<usize>()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => SCALAR,
    }
}

impl DebugBus for RememberingDebugBus {
    fn publish(&self, message: DebugMessage) {
        if let DebugMessage::Log(line) = &message {
            self.ring.keep(line);
        }
        if self.inner.has_subscribers() {
            self.inner.publish(message);
        }
    }

    /// Lines are also created for the history.
    fn has_subscribers(&self) -> bool {
        self.ring.most() > 0 || self.inner.has_subscribers()
    }

    fn is_watched(&self) -> bool {
        self.inner.has_subscribers()
    }

    fn subscribe(&self) -> Box<dyn DebugStream> {
        self.inner.subscribe()
    }

    fn subscribe_after(&self, history: usize) -> Box<dyn DebugStream> {
        // In this order no line is missed. A line that arrives twice is recognised by its pointer.
        let inner = self.inner.subscribe();
        let recent = self.ring.recent(history).lines;
        Box::new(AfterHistory {
            overlap: Overlap::of_this_process(&recent),
            before: Some(recent.into()),
            inner,
        })
    }

    fn recall(&self, most: usize) -> Box<dyn DebugStream> {
        Box::new(Recalled::new(self.ring.recent(most).lines))
    }
}

/// History lines that may arrive over the bus as well.
#[derive(Default)]
pub(crate) struct Overlap {
    /// Lines of this process by address. Keeping them prevents an address from being reused.
    own: HashMap<usize, Arc<DebugLog>>,
    /// How many lines of other processes have this identity.
    others: HashMap<u64, u32>,
    compared: usize,
}

impl Overlap {
    /// Starts with these lines of this process.
    pub(crate) fn of_this_process(lines: &[Arc<DebugLog>]) -> Self {
        let last = lines.iter().rev().take(OVERLAP);
        Self { own: last.map(|line| (address(line), line.clone())).collect(), ..Self::default() }
    }

    /// Adds lines of other processes, by identity.
    pub(crate) fn add_others(&mut self, identities: impl Iterator<Item = u64>) {
        for identity in identities {
            *self.others.entry(identity).or_default() += 1;
        }
    }

    /// Whether a message of the bus was already part of the history.
    pub(crate) fn has(&mut self, message: &DebugMessage) -> bool {
        if self.own.is_empty() && self.others.is_empty() {
            return false;
        }
        self.compared += 1;
        if self.compared > OVERLAP {
            *self = Self::default();
            return false;
        }
        let DebugMessage::Log(line) = message else { return false };
        if self.own.remove(&address(line)).is_some() {
            return true;
        }
        if self.others.is_empty() {
            return false;
        }
        let identity = line.identity();
        let Some(count) = self.others.get_mut(&identity) else { return false };
        *count -= 1;
        if *count == 0 {
            self.others.remove(&identity);
        }
        true
    }
}

fn address(line: &Arc<DebugLog>) -> usize {
    Arc::as_ptr(line).addr()
}

/// The history followed by the bus.
struct AfterHistory {
    /// `None` once its end has been reported.
    before: Option<VecDeque<Arc<DebugLog>>>,
    overlap: Overlap,
    inner: Box<dyn DebugStream>,
}

#[async_trait]
impl DebugStream for AfterHistory {
    async fn next(&mut self) -> Option<DebugMessage> {
        if let Some(before) = &mut self.before {
            let line = before.pop_front().map(DebugMessage::Log);
            return line.or_else(|| {
                self.before = None;
                Some(DebugMessage::HistoryEnd)
            });
        }
        loop {
            let message = self.inner.next().await?;
            if !self.overlap.has(&message) {
                return Some(message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::LocalDebugBus;
    use bklit_pipeline::metrics::Metrics;
    use bklit_wire::debug_log::{Level, Stage};

    fn bus(most: usize) -> RememberingDebugBus {
        let local = LocalDebugBus::new(Arc::new(Metrics::new()));
        RememberingDebugBus::new(Arc::new(local), most)
    }

    fn line(message: impl Into<String>) -> DebugMessage {
        DebugMessage::Log(Arc::new(DebugLog::new(Stage::Queue, Level::Info, message.into())))
    }

    async fn messages(stream: &mut dyn DebugStream, count: usize) -> Vec<String> {
        let mut found = Vec::new();
        while found.len() < count {
            match stream.next().await {
                Some(DebugMessage::Log(line)) => found.push(line.message.to_string()),
                Some(DebugMessage::HistoryEnd) => found.push("--".to_owned()),
                other => panic!("{other:?}"),
            }
        }
        found
    }

    #[tokio::test]
    async fn the_history_comes_first_and_no_line_twice() {
        let bus = bus(3);
        (0..5).for_each(|n| bus.publish(line(n.to_string())));
        let mut late = bus.subscribe_after(2);
        bus.publish(line("new"));
        assert_eq!(messages(&mut *late, 4).await, ["3", "4", "--", "new"]);
        let mut all = bus.subscribe_after(100);
        assert_eq!(messages(&mut *all, 3).await, ["3", "4", "new"]);
        let mut alone = bus.recall(2);
        assert_eq!(messages(&mut *alone, 2).await, ["4", "new"]);
        assert!(alone.next().await.is_none());
        // A line that is in the history and arrives over the bus as well.
        let DebugMessage::Log(both) = line("both") else { panic!("not a line") };
        let before = vec![Arc::clone(&both)];
        let overlap = Overlap::of_this_process(&before);
        let mut racing =
            AfterHistory { before: Some(before.into()), overlap, inner: bus.subscribe() };
        bus.publish(DebugMessage::Log(both));
        bus.publish(line("after"));
        assert_eq!(messages(&mut racing, 3).await, ["both", "--", "after"]);
    }

    #[test]
    fn lines_of_other_processes_are_recognised_as_often_as_they_occurred() {
        let log = Arc::new(DebugLog::new(Stage::Queue, Level::Info, "line"));
        let again = || DebugMessage::Log(Arc::new((*log).clone()));
        let mut overlap = Overlap::default();
        overlap.add_others([log.identity(), log.identity()].into_iter());
        assert_eq!([(); 3].map(|()| overlap.has(&again())), [true, true, false]);
        // A line that arrives much later is new, even if it is equal.
        overlap.add_others([log.identity()].into_iter());
        (0..OVERLAP).for_each(|_| assert!(!overlap.has(&line("other"))));
        assert!(!overlap.has(&again()));
    }

    #[test]
    fn the_history_is_bounded_by_bytes_too() {
        let ring = Ring::new(1_000_000);
        let large = "x".repeat(1024 * 1024);
        for _ in 0..100 {
            let DebugMessage::Log(line) = line(large.clone()) else { panic!("not a line") };
            ring.keep(&line);
        }
        let recent = ring.recent(usize::MAX);
        let kept = ring.kept();
        assert!(kept.bytes <= MAX_BYTES && (30..=32).contains(&kept.lines.len()));
        assert_eq!(kept.bytes, kept.lines.iter().map(|(_, bytes)| bytes).sum::<usize>());
        assert_eq!(recent.first + kept.lines.len() as u64, 100);
    }

    #[test]
    fn without_history_and_subscribers_no_lines_are_needed() {
        assert!(!bus(0).has_subscribers());
        assert!(bus(1).has_subscribers());
        let bus = bus(0);
        let _stream = bus.subscribe();
        assert!(bus.has_subscribers());
        bus.publish(line("x"));
        assert!(bus.ring.kept().lines.is_empty());
    }
}
