//! Compares the events that this process wrote to the baseline, once they had time to pass the queue.
//!
//! Each process compares its own events, so that several processes on the same tables count none
//! twice. Events that a process had not compared when it ended are left to the command `verify`.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::compare::{Discrepancy, Pair, Verdict, compare};
use super::rows::{self, rows_of};
use super::writer::Written;
use crate::metrics::Outcome;
use crate::queue::Queue;
use crate::store::StoreError;
use crate::store::baseline::{Baseline, EventKey, Kind, Side};
use crate::telemetry::{Data, Telemetry};
use bklit_wire::debug_log::Stage;
use bklit_wire::event::QueuedEvent;
use bklit_wire::queue::MAX_PAGE;
use bklit_wire::verification::{MISMATCH, MORE_MISMATCHES, NOT_COMPARED, NOT_WRITTEN};

/// The most events that may wait to be compared, at about a hundred bytes each.
const MAX_PENDING: usize = 500_000;

/// Events compared at a time.
const CHUNK: usize = 500;

/// Matches in a chunk above which a line sums them up, in addition to their own, sampled lines.
const SUMMED_UP: usize = 100;

/// Mismatches per second that get a line each.
const MAX_SHOWN: u64 = 100;

/// How often an event that is not stored yet is checked, after 1, 2, 4, 8 and 16 times the settling
/// time: the store may have been unavailable and the queue long.
const MAX_CHECKS: u32 = 5;

/// Pages of the failed queue that are searched for the reason why an event is missing.
const FAILED_PAGES_SEARCHED: usize = 2;

const EVERY: Duration = Duration::from_secs(1);

/// Events written to the baseline and not compared yet.
#[derive(Debug, Default)]
pub struct Pending(Mutex<VecDeque<Waiting>>);

#[derive(Clone, Debug)]
struct Waiting {
    written: Written,
    checks: u32,
}

impl Pending {
    /// Adds events; returns the number of those for which there was no room.
    pub(super) fn add(&self, written: impl Iterator<Item = Written>) -> u64 {
        let mut waiting = self.lock();
        let mut no_room = 0;
        for written in written {
            if waiting.len() < MAX_PENDING {
                waiting.push_back(Waiting { written, checks: 0 });
            } else {
                no_room += 1;
            }
        }
        no_room
    }

    /// Takes the first of those written before `before`.
    fn take(&self, before: Instant) -> Vec<Waiting> {
        let mut waiting = self.lock();
        let due = waiting.iter().take(CHUNK).take_while(|one| one.written.at <= before);
        let count = due.count();
        waiting.drain(..count).collect()
    }

    fn put_back(&self, chunk: Vec<Waiting>) {
        let mut waiting = self.lock();
        chunk.into_iter().rev().for_each(|one| waiting.push_front(one));
    }

    fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Compares the events of one process as they settle.
pub struct LiveVerifier {
    store: Arc<dyn Baseline>,
    queue: Arc<dyn Queue>,
    log: Arc<Telemetry>,
    settle: Duration,
    pending: Arc<Pending>,
    /// Events that were not stored when they were checked, each with the time of the next check.
    late: VecDeque<(Instant, Waiting)>,
    not_written: u64,
    shown: u64,
    hidden: u64,
}

impl LiveVerifier {
    /// Compares the events in `pending`, each after `settle`.
    pub fn new(
        store: Arc<dyn Baseline>,
        queue: Arc<dyn Queue>,
        log: Arc<Telemetry>,
        settle: Duration,
        pending: Arc<Pending>,
    ) -> Self {
        let late = VecDeque::new();
        Self { store, queue, log, settle, pending, late, not_written: 0, shown: 0, hidden: 0 }
    }

    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        self.log.metrics().verify().start();
        let mut ticks = tokio::time::interval(EVERY.min(self.settle));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let work = async {
            loop {
                ticks.tick().await;
                self.compare_settled().await;
            }
        };
        stop.run_until_cancelled(work).await;
    }

    /// Compares the events that have settled by now.
    async fn compare_settled(&mut self) {
        (self.shown, self.hidden) = (0, 0);
        let now = Instant::now();
        while let Some(chunk) = self.due(now) {
            if let Err(error) = self.compare_all(chunk).await {
                self.report_not_compared(&error);
                break;
            }
        }
        if self.hidden > 0 {
            let data = data(json!({ "leftOut": self.hidden }));
            self.step().warn(MORE_MISMATCHES, || data);
        }
        let verify = self.log.metrics().verify();
        verify.set_waiting((self.pending.len() + self.late.len()) as u64);
        let not_written = verify.counted(Outcome::NotWritten);
        if not_written > self.not_written {
            let data = data(json!({ "events": not_written - self.not_written }));
            self.step().warn(NOT_WRITTEN, || data);
            self.not_written = not_written;
        }
    }

    fn due(&mut self, now: Instant) -> Option<Vec<Waiting>> {
        // Repeated checks are far apart, so their order need not be exact.
        let mut again = Vec::new();
        while let Some((when, _)) = self.late.front()
            && *when <= now
            && again.len() < CHUNK
        {
            again.extend(self.late.pop_front().map(|(_, one)| one));
        }
        if !again.is_empty() {
            return Some(again);
        }
        let settled = self.pending.take(now.checked_sub(self.settle)?);
        (!settled.is_empty()).then_some(settled)
    }

    /// Compares a chunk; events that cannot be compared now are kept.
    async fn compare_all(&mut self, chunk: Vec<Waiting>) -> Result<(), StoreError> {
        let mut outcome = Ok(());
        for kind in Kind::ALL {
            let part = chunk.iter().filter(|one| one.written.kind == kind).cloned();
            let part: Vec<_> = part.collect();
            if outcome.is_ok() && !part.is_empty() {
                outcome = self.compare(kind, &part).await;
            }
            if outcome.is_err() {
                self.pending.put_back(part);
            }
        }
        outcome
    }

    async fn compare(&mut self, kind: Kind, chunk: &[Waiting]) -> Result<(), StoreError> {
        let began = Instant::now();
        let mut pairs = self.rows(kind, chunk).await?;
        let took = began.elapsed();
        let mut matched = 0;
        let mut missing = Vec::new();
        for one in chunk {
            let key = &one.written.key;
            match compare(kind, &pairs.remove(key).unwrap_or_default()) {
                Verdict::Matched => {
                    matched += 1;
                    let step = self.step().event(&key.id).project(&key.project_id).took(took);
                    step.info("Event matched between systems", Data::new);
                }
                Verdict::Mismatched(found) if found.queue_rows == 0 => missing.push((one, found)),
                Verdict::Mismatched(found) => self.mismatched(key, &found, None),
            }
        }
        self.log.metrics().verify().count(Outcome::Matched, matched as u64);
        if matched > SUMMED_UP {
            let data = data(json!({ "events": matched }));
            self.step().took(took).info("Events matched between systems", || data);
        }
        if !missing.is_empty() {
            self.missing(missing).await;
        }
        Ok(())
    }

    /// Reads the rows of a chunk's events on both sides.
    async fn rows(
        &self,
        kind: Kind,
        chunk: &[Waiting],
    ) -> Result<HashMap<EventKey, Pair>, StoreError> {
        let keys: Vec<_> = chunk.iter().map(|one| one.written.key.clone()).collect();
        let seconds: Vec<_> = chunk.iter().map(|one| one.written.second).collect();
        let mut pairs = HashMap::new();
        let store = &*self.store;
        for side in Side::ALL {
            rows::collect(store, side, kind, &keys, &seconds, &mut pairs).await?;
            // Also finds events that were stored with another time than they were sent with.
            let mut missing = keys.clone();
            missing.retain(|key| pairs.get_mut(key).is_none_or(|p| rows_of(p, side).is_empty()));
            rows::collect(store, side, kind, &missing, &[], &mut pairs).await?;
        }
        Ok(pairs)
    }

    /// Handles events that are not stored: checks again later while they may still be in the queue.
    async fn missing(&mut self, missing: Vec<(&Waiting, Discrepancy)>) {
        let stats = self.queue.stats().await;
        let empty = stats.is_ok_and(|s| s.depth + s.in_flight + s.spooled == 0);
        let mut reasons = None;
        for (one, found) in missing {
            let checks = one.checks + 1;
            // An empty queue counts only at the second check: it may have emptied in between.
            if checks < MAX_CHECKS && !(empty && checks > 1) && self.late.len() < MAX_PENDING {
                let wait = if empty { EVERY } else { self.settle * (1 << checks) };
                let again = Waiting { checks, ..one.clone() };
                self.late.push_back((Instant::now() + wait, again));
                continue;
            }
            if reasons.is_none() {
                reasons = Some(failed_reasons(&*self.queue, FAILED_PAGES_SEARCHED).await);
            }
            let key = &one.written.key;
            let reason = reasons.as_ref().and_then(|reasons| reasons.get(key)).cloned();
            self.mismatched(key, &found, reason);
        }
    }

    fn mismatched(&mut self, key: &EventKey, found: &Discrepancy, reason: Option<String>) {
        let outcome = found.outcome();
        self.log.metrics().verify().count(outcome, 1);
        if self.shown >= MAX_SHOWN {
            self.hidden += 1;
            return;
        }
        self.shown += 1;
        let step = self.step().event(&key.id).project(&key.project_id);
        let details = || {
            let mut details = data(json!(found));
            details.insert("problem".to_owned(), found.summary().into());
            if let Some(reason) = reason {
                details.insert("failedQueue".to_owned(), reason.into());
            }
            details
        };
        match outcome {
            Outcome::MissingInQueue => step.error(MISMATCH, details),
            _ => step.warn(MISMATCH, details),
        }
    }

    fn report_not_compared(&self, error: &StoreError) {
        let reason = error.to_string();
        self.step().warn(NOT_COMPARED, || data(json!({ "reason": reason })));
    }

    /// A step that does not count in the store's metrics.
    fn step(&self) -> crate::telemetry::Step<'_> {
        self.log.step(Stage::Clickhouse).uncounted()
    }
}

/// The reasons of the events on the newest `pages` of the failed queue.
pub async fn failed_reasons(queue: &dyn Queue, pages: usize) -> HashMap<EventKey, String> {
    let (mut reasons, mut after) = (HashMap::new(), None);
    for _ in 0..pages {
        let Ok(page) = queue.failed(after.as_deref(), MAX_PAGE).await else { break };
        reasons.extend(page.items.into_iter().filter_map(|item| {
            let event = QueuedEvent::from_json(&item.body).ok()?;
            Some((EventKey { project_id: event.project_id, id: event.id }, item.reason))
        }));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    reasons
}

fn data(object: Value) -> Data {
    match object {
        Value::Object(fields) => fields,
        _ => Data::new(),
    }
}
