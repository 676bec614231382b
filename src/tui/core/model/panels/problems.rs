//! The problems: warnings and errors by what they say, and the failed events with the same reason.

use std::collections::{BTreeMap, HashMap};

use crate::model::cursor::Cursor;
use crate::model::grouping::{ByProject, Group, GroupKey, Groups, MINUTES, masked_reason};
use bklit_wire::debug_log::Level;
use bklit_wire::queue::FailedView;
use bklit_wire::time::UtcMillis;

/// The time over which problems are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Span {
    /// The last ten minutes.
    #[default]
    TenMinutes,
    /// The last hour.
    Hour,
    /// Since the console was opened, with the history shown then.
    All,
}

impl Span {
    /// The next one, from the shortest to the longest and back.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::TenMinutes => Self::Hour,
            Self::Hour => Self::All,
            Self::All => Self::TenMinutes,
        }
    }

    /// Its name in the title.
    pub fn name(self) -> &'static str {
        match self {
            Self::TenMinutes => "last 10 min",
            Self::Hour => "last hour",
            Self::All => "all",
        }
    }

    /// Its minutes; `None` if it is not limited.
    pub fn minutes(self) -> Option<usize> {
        match self {
            Self::TenMinutes => Some(10),
            Self::Hour => Some(MINUTES),
            Self::All => None,
        }
    }
}

/// The order of the problems.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortBy {
    /// Errors before warnings, the most frequent first: one error matters more than many refused
    /// requests.
    #[default]
    Count,
    /// The last seen first.
    Last,
}

impl SortBy {
    /// The other one.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::Count => Self::Last,
            Self::Last => Self::Count,
        }
    }

    /// Its name in the title.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "errors first",
            Self::Last => "by last seen",
        }
    }
}

/// Failed events with the same reason.
#[derive(Clone, Debug)]
pub struct FailedGroup {
    /// The reason, masked.
    pub reason: Box<str>,
    /// The id of the newest of them within the failed queue.
    pub newest: String,
    /// The number of those loaded.
    pub count: u64,
    /// When the first of them failed.
    pub first: Option<UtcMillis>,
    /// When the last of them failed.
    pub last: Option<UtcMillis>,
    /// Their number by project.
    pub projects: ByProject,
}

/// What identifies a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProblemKey {
    /// Lines, and failed events with their reason.
    Lines(GroupKey),
    /// Failed events without lines, by their reason.
    Failed(Box<str>),
}

impl ProblemKey {
    /// How bad it is; failed events are errors.
    pub fn level(&self) -> Level {
        match self {
            Self::Lines(key) => key.level(),
            Self::Failed(_) => Level::Error,
        }
    }
}

/// A row: lines, failed events or both.
#[derive(Clone, Debug)]
pub struct Problem {
    /// What identifies it.
    pub key: ProblemKey,
    /// The position of its failed events in [`ProblemsPanel::failed`].
    pub failed: Option<usize>,
}

/// The problems, and the selected one.
#[derive(Debug, Default)]
pub struct ProblemsPanel {
    groups: Groups,
    failed: Vec<FailedGroup>,
    rows: Vec<Problem>,
    /// The time over which problems are counted.
    pub(crate) span: Span,
    /// Their order.
    pub(crate) sort: SortBy,
    /// The selected row.
    pub(crate) cursor: Cursor,
}

impl ProblemsPanel {
    /// The groups of lines.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    pub(crate) fn groups_mut(&mut self) -> &mut Groups {
        &mut self.groups
    }

    /// The failed events, by reason.
    pub fn failed(&self) -> &[FailedGroup] {
        &self.failed
    }

    /// The rows, in their order. It changes once a second, so that rows can be read.
    pub fn rows(&self) -> &[Problem] {
        &self.rows
    }

    /// The time over which problems are counted.
    pub fn span(&self) -> Span {
        self.span
    }

    /// Their order.
    pub fn sort(&self) -> SortBy {
        self.sort
    }

    /// The selected row.
    pub fn selected(&self) -> Option<&Problem> {
        self.rows.get(self.cursor.selected())
    }

    /// The position of the selected row, and the number of rows scrolled off at the top.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The lines of a row.
    pub fn group(&self, problem: &Problem) -> Option<&Group> {
        match &problem.key {
            ProblemKey::Lines(key) => self.groups.get(key),
            ProblemKey::Failed(_) => None,
        }
    }

    /// The failed events of a row.
    pub fn failed_of(&self, problem: &Problem) -> Option<&FailedGroup> {
        self.failed.get(problem.failed?)
    }

    /// How many lines of a row are in the span; of failed events without lines, all.
    pub fn count(&self, problem: &Problem, now: UtcMillis) -> u64 {
        match self.group(problem) {
            Some(group) => in_span(group, self.span, now),
            None => self.failed_of(problem).map_or(0, |failed| failed.count),
        }
    }

    /// The projects of a row.
    pub fn projects<'a>(&'a self, problem: &Problem) -> Option<&'a ByProject> {
        let of_lines = self.group(problem).map(|group| &group.projects);
        of_lines.or_else(|| Some(&self.failed_of(problem)?.projects))
    }

    /// When a row was last seen.
    pub fn last(&self, problem: &Problem) -> Option<UtcMillis> {
        match self.group(problem) {
            Some(group) => Some(group.last),
            None => self.failed_of(problem)?.last,
        }
    }

    /// Selects the first row that the next refresh finds.
    pub(crate) fn restart(&mut self) {
        self.rows.clear();
        self.cursor = Cursor::default();
    }

    /// Groups the failed events.
    pub(crate) fn take_failed(&mut self, items: &[FailedView]) {
        let mut places = HashMap::new();
        self.failed.clear();
        for item in items {
            let reason = masked_reason(&item.reason);
            let place = match places.get(&reason) {
                Some(&place) => place,
                None => {
                    self.failed.push(FailedGroup::new(&reason, &item.id));
                    places.insert(reason, self.failed.len() - 1);
                    self.failed.len() - 1
                }
            };
            self.failed[place].add(item);
        }
    }

    /// Brings the rows up to date and in order. The selection stays at the same problem.
    pub(crate) fn refresh(&mut self, now: UtcMillis) {
        let selected = self.selected().map(|problem| problem.key.clone());
        self.rows = self.joined(now);
        let mut keyed: Vec<_> = std::mem::take(&mut self.rows)
            .into_iter()
            .map(|problem| (self.count(&problem, now), self.last(&problem), problem))
            .collect();
        keyed.sort_by(|(count, last, problem), (other_count, other_last, other)| {
            let by_level = other.key.level().cmp(&problem.key.level());
            let order = match self.sort {
                SortBy::Count => by_level.then((other_count, other_last).cmp(&(count, last))),
                SortBy::Last => (other_last, other_count).cmp(&(last, count)),
            };
            order.then_with(|| problem.key.cmp(&other.key))
        });
        self.rows = keyed.into_iter().map(|(.., problem)| problem).collect();
        let same = selected.and_then(|key| self.rows.iter().position(|row| row.key == key));
        self.cursor.follow(same, self.rows.len());
    }

    /// The groups of the span, and the failed events: with the group that was seen last of those
    /// with their reason.
    fn joined(&self, now: UtcMillis) -> Vec<Problem> {
        let mut by_reason: BTreeMap<&str, &Group> = BTreeMap::new();
        for group in self.groups.iter().filter(|group| group.key.level() == Level::Error) {
            let Some(reason) = group.key.reason() else { continue };
            let known = by_reason.entry(reason).or_insert(group);
            if (group.last, &group.key) > (known.last, &known.key) {
                *known = group;
            }
        }
        let (mut of_lines, mut rows) = (HashMap::new(), Vec::new());
        for (place, failed) in self.failed.iter().enumerate() {
            match by_reason.get(&*failed.reason) {
                Some(group) => drop(of_lines.insert(&group.key, place)),
                None => rows.push(Problem {
                    key: ProblemKey::Failed(failed.reason.clone()),
                    failed: Some(place),
                }),
            }
        }
        for group in self.groups.iter() {
            let failed = of_lines.get(&group.key).copied();
            // A group that still has failed events is a problem, however old it is.
            if failed.is_some() || in_span(group, self.span, now) > 0 {
                rows.push(Problem { key: ProblemKey::Lines(group.key.clone()), failed });
            }
        }
        rows
    }
}

fn in_span(group: &Group, span: Span, now: UtcMillis) -> u64 {
    span.minutes().map_or(group.count, |minutes| group.recent(now, minutes))
}

impl FailedGroup {
    fn new(reason: &str, newest: &str) -> Self {
        Self {
            reason: reason.into(),
            newest: newest.to_owned(),
            count: 0,
            first: None,
            last: None,
            projects: ByProject::default(),
        }
    }

    fn add(&mut self, item: &FailedView) {
        self.count += 1;
        if let Some(at) = item.failed_at {
            self.first = Some(self.first.map_or(at, |first| first.min(at)));
            self.last = Some(self.last.map_or(at, |last| last.max(at)));
        }
        if let Some(project) = &item.event.project_id {
            self.projects.add(&bklit_wire::text::safe(project), 1);
        }
    }
}
