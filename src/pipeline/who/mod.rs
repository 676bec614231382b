//! Where events come from: counts by project, token, address, page, type, referrer and country, in
//! memory only, and bounded.
//!
//! Each thread has its own counts, which are added to the slots once a second. Above a rate, only a
//! sample of the events is counted, so that counting costs next to nothing however many there are.
//!
//! - `sketch`: counts by value in bounded memory
//! - `slots`: what was counted, by time
//! - `traits`: what is counted about an event
//! - `view`: the answer to a query

mod sketch;
mod slots;
mod traits;
mod view;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thread_local::ThreadLocal;

use bklit_wire::time::UtcMillis;
use bklit_wire::who::{Dimension, WhoQuery, WhoView};
pub use sketch::MAX_VALUES;
pub use slots::MAX_BYTES;
use slots::{OUTCOMES, Slot, Slots};
pub use traits::{TokenName, Traits};
pub use view::answer;

/// Up to this many events of a kind per second and thread are all counted.
pub const ALL_COUNTED: u32 = 500;
/// Of further events, one in this many is counted, as this many events.
pub const SAMPLING: u64 = 16;
/// The most names of tokens that are kept.
const MAX_NAMES: usize = 2 * MAX_VALUES;

/// A kind of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Accepted,
    Refused,
    Failed,
}

/// What a thread has counted since it was last taken.
#[derive(Default)]
struct Local {
    slot: Slot,
    /// Events of each kind, counted or not.
    seen: [u32; OUTCOMES],
    /// The names of tokens, by their ids.
    names: Vec<(Arc<str>, Arc<str>)>,
}

/// What was taken from all threads.
struct Taken {
    slots: Slots,
    names: HashMap<Arc<str>, Arc<str>>,
}

/// Where events come from.
pub struct Who {
    threads: ThreadLocal<Mutex<Local>>,
    taken: Mutex<Taken>,
}

impl Who {
    /// Counts from `now` on.
    pub fn new(now: UtcMillis) -> Self {
        let slots = Slots::new(now.epoch_millis());
        let taken = Mutex::new(Taken { slots, names: HashMap::new() });
        Self { threads: ThreadLocal::new(), taken }
    }

    /// Counts an accepted event. `event` is called only if it is counted.
    pub fn accepted<'a>(&self, event: impl FnOnce() -> Traits<'a>) {
        self.count(Outcome::Accepted, event);
    }

    /// Counts a refused event.
    pub fn refused<'a>(&self, event: impl FnOnce() -> Traits<'a>) {
        self.count(Outcome::Refused, event);
    }

    /// Counts an event that was moved to the failed queue.
    pub fn failed<'a>(&self, event: impl FnOnce() -> Traits<'a>) {
        self.count(Outcome::Failed, event);
    }

    fn count<'a>(&self, outcome: Outcome, event: impl FnOnce() -> Traits<'a>) {
        let local = self.threads.get_or_default();
        let Some(weight) = lock(local).weight(outcome) else { return };
        // Not under the lock: determining the values may take longer than counting.
        let event = event();
        lock(local).add(outcome, &event, weight);
    }

    /// Adds what threads have counted to the slots. To be called about once a second.
    pub fn take(&self, now: UtcMillis) {
        self.taken().take(&self.threads, now);
    }

    /// What was counted, up to `now`.
    pub fn view(&self, query: WhoQuery, now: UtcMillis) -> WhoView {
        let mut taken = self.taken();
        taken.take(&self.threads, now);
        view::view(&taken.slots, &taken.names, query, now)
    }

    /// The approximate memory of the counts, in bytes.
    pub fn bytes(&self) -> usize {
        self.taken().slots.bytes()
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        lock(&self.taken)
    }
}

impl Local {
    /// The weight with which the next event is counted; `None` if it is not counted.
    fn weight(&mut self, outcome: Outcome) -> Option<u64> {
        let seen = &mut self.seen[outcome as usize];
        *seen = seen.saturating_add(1);
        if *seen <= ALL_COUNTED {
            return Some(1);
        }
        self.slot.estimated = true;
        // At random, so that no pattern in the events distorts the sample.
        (fastrand::u64(..SAMPLING) == 0).then_some(SAMPLING)
    }

    fn add(&mut self, outcome: Outcome, event: &Traits<'_>, weight: u64) {
        for by in Dimension::ALL {
            let value = traits::cut(event.value(by));
            let is_new = self.slot.of_mut(by, outcome as usize).add(value, weight);
            if by == Dimension::Token
                && is_new
                && let Some(name) = event.token_name()
                && self.names.len() < MAX_NAMES
            {
                self.names.push((value.into(), traits::cut(name).into()));
            }
        }
    }
}

impl Taken {
    fn take(&mut self, threads: &ThreadLocal<Mutex<Local>>, now: UtcMillis) {
        let mut all = Slot::default();
        for local in threads {
            let Local { slot, names, .. } = std::mem::take(&mut *lock(local));
            for (id, name) in names {
                if self.names.len() >= MAX_NAMES && !self.names.contains_key(&id) {
                    // Tokens in use are added again within the next second.
                    self.names.clear();
                }
                self.names.insert(id, name);
            }
            if !slot.is_empty() {
                all.merge(&slot);
            }
        }
        self.slots.add(now.epoch_millis(), &all);
    }
}

/// Ignores poisoning: a panic cannot leave counts inconsistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
