//! A bounded set of groups: each with counts over time, its projects and its last lines.

use std::collections::{HashMap, VecDeque};

use super::key::{GroupKey, MAX_PART, lines_of, what_of};
use crate::model::line::LineRef;
use bklit_wire::time::UtcMillis;

/// The most groups kept; those not seen for the longest time are dropped first.
pub const MAX_GROUPS: usize = 512;
/// How many groups are dropped at once, so that this is rare.
const DROPPED_AT_ONCE: usize = MAX_GROUPS / 8;
/// The most projects counted in a group.
pub const MAX_PROJECTS: usize = 8;
/// The most lines of a group whose numbers are kept.
pub const LAST_LINES: usize = 16;
/// The minutes over which lines are counted.
pub const MINUTES: usize = 60;

const MINUTE: i64 = 60_000;

/// Counts of the last minutes.
#[derive(Clone, Debug)]
struct PerMinute {
    /// The minute of the last count, since the epoch.
    newest: i64,
    counts: [u32; MINUTES],
}

impl PerMinute {
    fn place(minute: i64) -> usize {
        minute.rem_euclid(MINUTES as i64) as usize
    }

    fn add(&mut self, minute: i64, lines: u64) {
        if minute > self.newest {
            let passed = minute.saturating_sub(self.newest).min(MINUTES as i64);
            for gone in minute - passed + 1..=minute {
                self.counts[Self::place(gone)] = 0;
            }
            self.newest = minute;
        }
        if self.newest - minute < MINUTES as i64 {
            let count = &mut self.counts[Self::place(minute)];
            *count = count.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        }
    }

    fn get(&self, minute: i64) -> u32 {
        let is_known = minute <= self.newest && self.newest - minute < MINUTES as i64;
        if is_known { self.counts[Self::place(minute)] } else { 0 }
    }
}

/// Counts by project: of the first [`MAX_PROJECTS`], and of all others together.
#[derive(Clone, Debug, Default)]
pub struct ByProject {
    /// The projects, with their counts.
    pub named: Vec<(Box<str>, u64)>,
    /// The count of further projects.
    pub others: u64,
}

impl ByProject {
    /// Adds to the count of a project.
    pub(crate) fn add(&mut self, project: &str, count: u64) {
        let known = self.named.iter().position(|(known, _)| **known == *project);
        let place = known.or_else(|| {
            let has_room = self.named.len() < MAX_PROJECTS;
            has_room.then(|| self.named.push((project.into(), 0)))?;
            Some(self.named.len() - 1)
        });
        let total = place.map_or(&mut self.others, |place| &mut self.named[place].1);
        *total = total.saturating_add(count);
    }
}

/// Lines that say the same.
#[derive(Clone, Debug)]
pub struct Group {
    /// What they have in common.
    pub key: GroupKey,
    /// How many there were, including those that one line stands for.
    pub count: u64,
    /// The time of the first one.
    pub first: UtcMillis,
    /// The time of the last one.
    pub last: UtcMillis,
    /// The number of lines by project.
    pub projects: ByProject,
    /// What the last line says is wrong, unmasked; at most [`MAX_PART`] bytes.
    pub example: String,
    /// Whether the lines differ in that.
    varies: bool,
    /// The numbers of the last lines, oldest first.
    pub last_lines: VecDeque<u64>,
    minutes: PerMinute,
    /// Orders groups by when they were last seen.
    seen: u64,
}

impl Group {
    fn new(key: GroupKey, at: UtcMillis) -> Self {
        let newest = at.epoch_millis().div_euclid(MINUTE);
        Self {
            key,
            count: 0,
            first: at,
            last: at,
            projects: ByProject::default(),
            example: String::new(),
            varies: false,
            last_lines: VecDeque::new(),
            minutes: PerMinute { newest, counts: [0; MINUTES] },
            seen: 0,
        }
    }

    fn add(&mut self, line: LineRef<'_>, number: u64, at: UtcMillis) {
        let (lines, what) = (lines_of(line), what_of(line));
        let what = bklit_wire::text::fit_bytes(&what, MAX_PART);
        if self.example != what {
            self.varies |= self.count > 0;
            what.clone_into(&mut self.example);
        }
        self.count = self.count.saturating_add(lines);
        self.first = self.first.min(at);
        self.last = self.last.max(at);
        self.minutes.add(at.epoch_millis().div_euclid(MINUTE), lines);
        if self.last_lines.len() == LAST_LINES {
            self.last_lines.pop_front();
        }
        self.last_lines.push_back(number);
        if let Some(project) = line.project_id() {
            self.projects.add(project, lines);
        }
    }

    /// What the lines say is wrong: unmasked if all say the same, else masked.
    pub fn what(&self) -> &str {
        if self.varies { self.key.what() } else { &self.example }
    }

    /// The lines per minute, up to the minute of `now`, oldest first. At most [`MINUTES`].
    pub fn per_minute(&self, now: UtcMillis, minutes: usize) -> Vec<u32> {
        let newest = now.epoch_millis().div_euclid(MINUTE);
        let minutes = minutes.min(MINUTES) as i64;
        (newest - minutes + 1..=newest).map(|minute| self.minutes.get(minute)).collect()
    }

    /// The number of lines in the last minutes, at most [`MINUTES`].
    pub fn recent(&self, now: UtcMillis, minutes: usize) -> u64 {
        self.per_minute(now, minutes).into_iter().map(u64::from).sum()
    }
}

/// What was dropped to stay within the bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// The number of groups.
    pub groups: u64,
    /// The number of their lines.
    pub lines: u64,
}

/// The groups.
#[derive(Debug, Default)]
pub struct Groups {
    groups: HashMap<GroupKey, Group>,
    evicted: Evicted,
    seen: u64,
}

impl Groups {
    /// Counts a line. A line from the future, by a clock that is ahead, counts as one from `now`.
    pub fn add(&mut self, line: LineRef<'_>, number: u64, now: UtcMillis) {
        let at = if now == UtcMillis::MIN { line.time() } else { line.time().min(now) };
        let key = GroupKey::of(line);
        if !self.groups.contains_key(&key) {
            self.make_room();
        }
        self.seen += 1;
        let group = self.groups.entry(key).or_insert_with_key(|key| Group::new(key.clone(), at));
        group.seen = self.seen;
        group.add(line, number, at);
    }

    fn make_room(&mut self) {
        if self.groups.len() < MAX_GROUPS {
            return;
        }
        let mut seen: Vec<u64> = self.groups.values().map(|group| group.seen).collect();
        let (_, &mut last, _) = seen.select_nth_unstable(DROPPED_AT_ONCE - 1);
        let evicted = &mut self.evicted;
        self.groups.retain(|_, group| {
            let stays = group.seen > last;
            if !stays {
                evicted.groups += 1;
                evicted.lines = evicted.lines.saturating_add(group.count);
            }
            stays
        });
    }

    /// The group with a key.
    pub fn get(&self, key: &GroupKey) -> Option<&Group> {
        self.groups.get(key)
    }

    /// All groups, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// The number of groups.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// What was dropped to stay within the bounds.
    pub fn evicted(&self) -> Evicted {
        self.evicted
    }
}
