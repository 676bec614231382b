//! The last debug lines of this process, for consoles that are opened later.
//!
//! Lines are kept as they are made, by a pointer each, before they are published: nobody has to
//! subscribe, and without subscribers nothing goes over a bus.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde_json::Value;

use bklit_wire::debug_bus::{DebugBus, DebugMessage, DebugStream, Recalled};
use bklit_wire::debug_log::DebugLog;

/// Bytes that the lines may take, about.
pub(crate) const MAX_BYTES: usize = 32 * 1024 * 1024;
/// What a line takes besides its texts.
const LINE_BYTES: usize = 256;
/// The last lines of the history that may come by the bus as well, because they were made while
/// it was taken; and how many messages of the bus are looked at for that. More than a bus holds
/// back for a subscriber.
pub(crate) const OVERLAP: usize = 20_000;

/// The last lines, within bounds.
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

/// What a [`Ring`] had at a moment.
pub struct Recent {
    /// The number of the first of `lines`, or of the next one to be kept.
    pub first: u64,
    /// Oldest first.
    pub lines: Vec<Arc<DebugLog>>,
}

impl Ring {
    /// Keeps at most so many lines.
    pub fn new(most: usize) -> Self {
        Self { most, kept: Mutex::default() }
    }

    /// How many lines it keeps at most.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Keeps a line; returns its number. Numbers count up from 0.
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

    /// The last lines, as many as are kept of so many.
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

/// A [`DebugBus`] that remembers lines.
pub struct RememberingDebugBus {
    inner: Arc<dyn DebugBus>,
    ring: Ring,
}

impl RememberingDebugBus {
    /// A bus that remembers at most so many lines of `inner`.
    pub fn new(inner: Arc<dyn DebugBus>, most: usize) -> Self {
        Self { inner, ring: Ring::new(most) }
    }
}

/// About what a line takes.
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

    /// Somebody may want to see later what is made now.
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
        // In this order no line is missed; those that come twice are told by their pointers.
        let inner = self.inner.subscribe();
        let recent = self.ring.recent(history).lines;
        Box::new(AfterHistory { overlap: Overlap::of_own(&recent), before: recent.into(), inner })
    }

    fn recall(&self, most: usize) -> Box<dyn DebugStream> {
        Box::new(Recalled::new(self.ring.recent(most).lines))
    }
}

/// What of the history may come by the bus as well.
#[derive(Default)]
pub(crate) struct Overlap {
    /// Lines of this process, by their pointers, which they keep from being used again.
    own: HashMap<usize, Arc<DebugLog>>,
    /// How many lines of others have this identity.
    others: HashMap<u64, u32>,
    looked_at: usize,
}

impl Overlap {
    /// Of these lines of this process.
    pub(crate) fn of_own(lines: &[Arc<DebugLog>]) -> Self {
        let last = lines.iter().rev().take(OVERLAP);
        Self { own: last.map(|line| (address(line), line.clone())).collect(), ..Self::default() }
    }

    /// And of these lines of other processes, by their identity.
    pub(crate) fn add_others(&mut self, identities: impl Iterator<Item = u64>) {
        for identity in identities {
            *self.others.entry(identity).or_default() += 1;
        }
    }

    /// Whether a message of the bus has been part of the history.
    pub(crate) fn has(&mut self, message: &DebugMessage) -> bool {
        if self.own.is_empty() && self.others.is_empty() {
            return false;
        }
        self.looked_at += 1;
        if self.looked_at > OVERLAP {
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

/// The history, then the bus.
struct AfterHistory {
    before: VecDeque<Arc<DebugLog>>,
    overlap: Overlap,
    inner: Box<dyn DebugStream>,
}

#[async_trait]
impl DebugStream for AfterHistory {
    async fn next(&mut self) -> Option<DebugMessage> {
        if let Some(line) = self.before.pop_front() {
            return Some(DebugMessage::Log(line));
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
                other => panic!("{other:?}"),
            }
        }
        found
    }

    #[tokio::test]
    async fn the_last_lines_come_first_and_none_twice() {
        let bus = bus(3);
        (0..5).for_each(|n| bus.publish(line(n.to_string())));
        let mut late = bus.subscribe_after(2);
        bus.publish(line("new"));
        assert_eq!(messages(&mut *late, 3).await, ["3", "4", "new"]);
        let mut all = bus.subscribe_after(100);
        assert_eq!(messages(&mut *all, 3).await, ["3", "4", "new"]);
        let mut alone = bus.recall(2);
        assert_eq!(messages(&mut *alone, 2).await, ["4", "new"]);
        assert!(alone.next().await.is_none());
        // One that is kept already when the history is taken, and comes by the bus as well.
        let DebugMessage::Log(both) = line("both") else { panic!("no line") };
        let before = vec![Arc::clone(&both)];
        let overlap = Overlap::of_own(&before);
        let mut racing = AfterHistory { before: before.into(), overlap, inner: bus.subscribe() };
        bus.publish(DebugMessage::Log(both));
        bus.publish(line("after"));
        assert_eq!(messages(&mut racing, 2).await, ["both", "after"]);
    }

    #[test]
    fn lines_of_others_are_known_as_often_as_they_were_there() {
        let log = Arc::new(DebugLog::new(Stage::Queue, Level::Info, "line"));
        let again = || DebugMessage::Log(Arc::new((*log).clone()));
        let mut overlap = Overlap::default();
        overlap.add_others([log.identity(), log.identity()].into_iter());
        assert_eq!([(); 3].map(|()| overlap.has(&again())), [true, true, false]);
        // What comes long after is new, whatever it looks like.
        overlap.add_others([log.identity()].into_iter());
        (0..OVERLAP).for_each(|_| assert!(!overlap.has(&line("other"))));
        assert!(!overlap.has(&again()));
    }

    #[test]
    fn what_is_kept_is_bounded_by_bytes_too() {
        let ring = Ring::new(1_000_000);
        let large = "x".repeat(1024 * 1024);
        for _ in 0..100 {
            let DebugMessage::Log(line) = line(large.clone()) else { panic!("no line") };
            ring.keep(&line);
        }
        let recent = ring.recent(usize::MAX);
        let kept = ring.kept();
        assert!(kept.bytes <= MAX_BYTES && (30..=32).contains(&kept.lines.len()));
        assert_eq!(kept.bytes, kept.lines.iter().map(|(_, bytes)| bytes).sum::<usize>());
        assert_eq!(recent.first + kept.lines.len() as u64, 100);
    }

    #[test]
    fn without_history_and_subscribers_no_line_need_be_made() {
        assert!(!bus(0).has_subscribers());
        assert!(bus(1).has_subscribers());
        let bus = bus(0);
        let _stream = bus.subscribe();
        assert!(bus.has_subscribers());
        bus.publish(line("x"));
        assert!(bus.ring.kept().lines.is_empty());
    }
}
