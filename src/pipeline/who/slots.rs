//! What was counted, by time: short slots for the last minute, longer ones for longer spans.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use super::sketch::Sketch;
use bklit_wire::who::{Dimension, WhoSpan};

/// The kinds of events: accepted, refused, failed.
pub const OUTCOMES: usize = 3;
/// The approximate maximum memory of all slots in bytes; beyond it, the oldest are dropped.
pub const MAX_BYTES: usize = 8 << 20;

/// What was counted in a time span.
#[derive(Clone, Default)]
pub struct Slot {
    sketches: [[Sketch; OUTCOMES]; Dimension::ALL.len()],
    /// Whether some events were not counted, but represented by others.
    pub estimated: bool,
}

impl Slot {
    /// What was counted of a kind of events.
    pub fn of(&self, by: Dimension, outcome: usize) -> &Sketch {
        &self.sketches[by as usize][outcome]
    }

    /// The same, to count.
    pub fn of_mut(&mut self, by: Dimension, outcome: usize) -> &mut Sketch {
        &mut self.sketches[by as usize][outcome]
    }

    /// Adds what was counted elsewhere.
    pub fn merge(&mut self, other: &Self) {
        self.estimated |= other.estimated;
        let own = self.sketches.iter_mut().flatten();
        own.zip(other.sketches.iter().flatten()).for_each(|(own, other)| own.merge(other));
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        // Each event counts in each dimension.
        self.sketches[0].iter().all(|sketch| sketch.total() == 0)
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.sketches.iter().flatten().map(Sketch::bytes).sum::<usize>()
    }
}

struct Numbered {
    number: i64,
    bytes: usize,
    slot: Box<Slot>,
}

/// Slots of one length; those in which nothing was counted are left out.
pub struct Row {
    /// The length of a slot in milliseconds.
    length: i64,
    /// The number of slots kept.
    most: i64,
    slots: VecDeque<Numbered>,
    /// The time from which on everything is kept, in milliseconds.
    from: i64,
}

impl Row {
    fn new(length: i64, most: i64, now: i64) -> Self {
        Self { length, most, slots: VecDeque::new(), from: now }
    }

    /// The time from which on everything that was counted is kept, in milliseconds.
    pub fn from(&self) -> i64 {
        self.from
    }

    /// The length of a slot in milliseconds.
    pub fn length(&self) -> i64 {
        self.length
    }

    /// The number of the slot of a time.
    pub fn number(&self, at: i64) -> i64 {
        at.div_euclid(self.length)
    }

    /// The slots with these numbers.
    pub fn slots(&self, numbers: RangeInclusive<i64>) -> impl Iterator<Item = &Slot> {
        let within = move |slot: &&Numbered| numbers.contains(&slot.number);
        self.slots.iter().filter(within).map(|slot| &*slot.slot)
    }

    /// Drops slots that are too old; all, if the clock was set back.
    fn advance(&mut self, at: i64) {
        let number = self.number(at);
        if self.slots.back().is_some_and(|last| last.number > number + 1) || self.from > at {
            self.slots.clear();
            self.from = at;
        }
        while self.slots.front().is_some_and(|first| first.number <= number - self.most) {
            self.slots.pop_front();
        }
        self.from = self.from.max((number - self.most + 1).saturating_mul(self.length));
    }

    fn add(&mut self, at: i64, new: &Slot) {
        let number = self.number(at);
        if self.slots.back().is_none_or(|last| last.number < number) {
            self.slots.push_back(Numbered { number, bytes: 0, slot: Box::default() });
        }
        if let Some(last) = self.slots.back_mut() {
            last.slot.merge(new);
            last.bytes = last.slot.bytes();
        }
    }

    fn bytes(&self) -> usize {
        self.slots.iter().map(|slot| slot.bytes).sum()
    }

    /// Drops the oldest slot, unless it is the only one.
    fn drop_oldest(&mut self) -> bool {
        let drops = self.slots.len() > 1;
        if drops && let Some(oldest) = self.slots.pop_front() {
            self.from = self.from.max((oldest.number + 1).saturating_mul(self.length));
        }
        drops
    }
}

/// All slots.
pub struct Slots {
    /// Of ten seconds, a minute and ten minutes.
    rows: [Row; WhoSpan::ALL.len()],
}

impl Slots {
    /// None yet.
    pub fn new(now: i64) -> Self {
        let minute = WhoSpan::Minute.millis();
        // Each with one that is in progress; the last for an hour, and for the same time an hour before.
        let rows = [(minute / 6, 7), (minute, 11), (10 * minute, 13)];
        Self { rows: rows.map(|(length, most)| Row::new(length, most, now)) }
    }

    /// Adds what was counted until `at`.
    pub fn add(&mut self, at: i64, new: &Slot) {
        for row in &mut self.rows {
            row.advance(at);
            if !new.is_empty() {
                row.add(at, new);
            }
        }
        while self.bytes() > MAX_BYTES && self.rows.iter_mut().rev().any(Row::drop_oldest) {}
    }

    /// The slots for a span.
    pub fn row(&self, span: WhoSpan) -> &Row {
        &self.rows[span as usize]
    }

    /// Their approximate memory in bytes.
    pub fn bytes(&self) -> usize {
        self.rows.iter().map(Row::bytes).sum()
    }
}
