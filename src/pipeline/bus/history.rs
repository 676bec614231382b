//! The last debug lines of this process, for consoles that are opened later.
//!
//! Lines are kept as they are made, by a pointer each, before they are published: nobody has to
//! subscribe, and without subscribers nothing goes over a bus.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde_json::Value;

use super::{DebugBus, DebugMessage, DebugStream};
use crate::pipeline::debug_log::DebugLog;

/// Bytes that the lines may take, about.
const MAX_BYTES: usize = 32 * 1024 * 1024;
/// What a line takes besides its texts.
const LINE_BYTES: usize = 256;
/// The last lines of the history that may come by the bus as well, because they were made while
/// it was taken; and how many messages of the bus are looked at for that.
const OVERLAP: usize = 4_096;

/// A [`DebugBus`] that remembers lines.
pub struct RememberingDebugBus {
    inner: Arc<dyn DebugBus>,
    most: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    lines: VecDeque<(Arc<DebugLog>, usize)>,
    bytes: usize,
}

impl RememberingDebugBus {
    /// A bus that remembers at most so many lines of `inner`.
    pub fn new(inner: Arc<dyn DebugBus>, most: usize) -> Self {
        Self { inner, most, kept: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, line: &Arc<DebugLog>) {
        let bytes = size(line);
        let mut kept = self.kept();
        kept.lines.push_back((Arc::clone(line), bytes));
        kept.bytes += bytes;
        while kept.lines.len() > self.most || kept.bytes > MAX_BYTES {
            let Some((_, bytes)) = kept.lines.pop_front() else { break };
            kept.bytes -= bytes;
        }
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
            self.keep(line);
        }
        if self.inner.has_subscribers() {
            self.inner.publish(message);
        }
    }

    /// Somebody may want to see later what is made now.
    fn has_subscribers(&self) -> bool {
        self.most > 0 || self.inner.has_subscribers()
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
        let before = VecDeque::from(self.recall(history));
        let skip = before.len().saturating_sub(OVERLAP);
        let known = before.iter().skip(skip).cloned().collect();
        Box::new(AfterHistory { before, known, looked_at: 0, inner })
    }

    fn recall(&self, most: usize) -> Vec<Arc<DebugLog>> {
        let kept = self.kept();
        let skip = kept.lines.len().saturating_sub(most);
        kept.lines.iter().skip(skip).map(|(line, _)| Arc::clone(line)).collect()
    }
}

/// Lines alone, after which the stream ends.
pub struct Recalled(VecDeque<Arc<DebugLog>>);

impl Recalled {
    /// These lines.
    pub fn new(lines: Vec<Arc<DebugLog>>) -> Self {
        Self(lines.into())
    }
}

#[async_trait]
impl DebugStream for Recalled {
    async fn next(&mut self) -> Option<DebugMessage> {
        self.0.pop_front().map(DebugMessage::Log)
    }
}

/// The history, then the bus.
struct AfterHistory {
    before: VecDeque<Arc<DebugLog>>,
    known: Vec<Arc<DebugLog>>,
    looked_at: usize,
    inner: Box<dyn DebugStream>,
}

impl AfterHistory {
    /// Whether a message has been part of the history.
    fn is_known(&mut self, message: &DebugMessage) -> bool {
        if self.known.is_empty() {
            return false;
        }
        self.looked_at += 1;
        if self.looked_at > OVERLAP {
            self.known = Vec::new();
            return false;
        }
        // The newest are the likeliest.
        let DebugMessage::Log(line) = message else { return false };
        self.known.iter().rev().any(|known| Arc::ptr_eq(known, line))
    }
}

#[async_trait]
impl DebugStream for AfterHistory {
    async fn next(&mut self) -> Option<DebugMessage> {
        if let Some(line) = self.before.pop_front() {
            return Some(DebugMessage::Log(line));
        }
        loop {
            let message = self.inner.next().await?;
            if !self.is_known(&message) {
                return Some(message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::bus::local::LocalDebugBus;
    use crate::pipeline::debug_log::{Level, Stage};
    use crate::pipeline::metrics::Metrics;

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
        // One that is kept already when the history is taken, and comes by the bus as well.
        let mut racing = AfterHistory {
            before: VecDeque::new(),
            known: vec![],
            looked_at: 0,
            inner: bus.subscribe(),
        };
        let DebugMessage::Log(both) = line("both") else { panic!("no line") };
        racing.before.push_back(Arc::clone(&both));
        racing.known.push(Arc::clone(&both));
        bus.publish(DebugMessage::Log(both));
        bus.publish(line("after"));
        assert_eq!(messages(&mut racing, 2).await, ["both", "after"]);
    }

    #[test]
    fn what_is_kept_is_bounded_by_bytes_too() {
        let bus = bus(1_000_000);
        let large = "x".repeat(1024 * 1024);
        (0..100).for_each(|_| bus.publish(line(large.clone())));
        let kept = bus.kept();
        assert!(kept.bytes <= MAX_BYTES && (30..=32).contains(&kept.lines.len()));
        assert_eq!(kept.bytes, kept.lines.iter().map(|(_, bytes)| bytes).sum::<usize>());
    }

    #[test]
    fn without_history_and_subscribers_no_line_need_be_made() {
        assert!(!bus(0).has_subscribers());
        assert!(bus(1).has_subscribers());
        let bus = bus(0);
        let _stream = bus.subscribe();
        assert!(bus.has_subscribers());
        bus.publish(line("x"));
        assert!(bus.kept().lines.is_empty());
    }
}
