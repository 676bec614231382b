//! Which lines are shown.

use super::grouping::GroupKey;
use super::line::LineRef;
use super::line_ring::Run;
use super::query::Query;
use super::query::scanner::Scanner;
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::time::UtcMillis;

/// A set of stages. Unparsed lines have no stage; they are shown unless only certain stages are
/// selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageSet(u32);

const UNPARSED: u32 = 1 << Stage::ALL.len();

impl StageSet {
    /// All stages, and unparsed lines.
    pub const ALL: Self = Self((UNPARSED << 1) - 1);

    /// The empty set.
    pub const NONE: Self = Self(0);

    /// The set with a stage, or with unparsed lines, added.
    pub fn with(self, stage: Option<Stage>) -> Self {
        Self(self.0 | bit(stage))
    }

    /// Only this stage.
    pub fn only(stage: Stage) -> Self {
        Self(bit(Some(stage)))
    }

    /// The set with `stage` added or removed.
    pub fn toggled(self, stage: Stage) -> Self {
        let toggled = Self(self.0 ^ bit(Some(stage)));
        // With all stages selected, the filter is off.
        if toggled.0 | UNPARSED == Self::ALL.0 { Self::ALL } else { toggled }
    }

    /// Whether lines of the stage are shown; `None` means unparsed lines.
    pub fn contains(self, stage: Option<Stage>) -> bool {
        self.0 & bit(stage) != 0
    }
}

fn bit(stage: Option<Stage>) -> u32 {
    stage.map_or(UNPARSED, |stage| 1 << stage.index())
}

/// One process, by its name and by its number in lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneProcess {
    /// Its name.
    pub name: String,
    /// Its number.
    pub number: u16,
}

/// The conditions on the lines to show.
#[derive(Clone, Debug)]
pub struct Filter {
    /// The stages.
    pub stages: StageSet,
    /// The lowest level.
    pub level: Level,
    /// The project.
    pub project: Option<String>,
    /// The process.
    pub process: Option<OneProcess>,
    /// The earliest time.
    pub since: Option<UtcMillis>,
    /// The query in the filter's box.
    pub query: Option<Query>,
    /// Only lines that say the same.
    pub group: Option<GroupKey>,
}

impl Default for Filter {
    fn default() -> Self {
        let stages = StageSet::ALL;
        let (project, process, since, query, group) = (None, None, None, None, None);
        Self { stages, level: Level::Info, project, process, since, query, group }
    }
}

/// A condition of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The lowest level.
    Level,
    /// The stages.
    Stages,
    /// The earliest time.
    Since,
    /// The project.
    Project,
    /// The process.
    Process,
    /// The lines that say the same.
    Group,
    /// The query.
    Query,
}

impl Condition {
    /// All of them, in the order in which they are checked.
    pub const ALL: [Self; 7] = [
        Self::Level,
        Self::Stages,
        Self::Since,
        Self::Project,
        Self::Process,
        Self::Group,
        Self::Query,
    ];
}

/// How many lines each condition hides; a line counts for one of them. Where a query excludes many
/// lines at once, they count for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hidden([u64; Condition::ALL.len()]);

impl Hidden {
    /// The lines that a condition hides.
    pub fn by(&self, condition: Condition) -> u64 {
        self.0[condition as usize]
    }

    pub(super) fn add(&mut self, condition: Condition, lines: u64) {
        self.0[condition as usize] += lines;
    }
}

impl Filter {
    /// Only lines of a group.
    pub fn of_group(key: GroupKey) -> Self {
        Self { level: key.level(), group: Some(key), ..Self::default() }
    }

    /// Whether a line is shown.
    pub fn shows(&self, line: LineRef<'_>) -> bool {
        self.first_to_hide(line).is_none()
            && self.query.as_ref().is_none_or(|query| query.matches(line))
    }

    /// The first condition that hides a line, not counting the query.
    fn first_to_hide(&self, line: LineRef<'_>) -> Option<Condition> {
        if line.level() < self.level {
            return Some(Condition::Level);
        }
        if !self.stages.contains(line.stage()) {
            return Some(Condition::Stages);
        }
        if self.since.is_some_and(|since| line.time() < since) {
            return Some(Condition::Since);
        }
        if self.project.as_deref().is_some_and(|id| line.project_id() != Some(id)) {
            return Some(Condition::Project);
        }
        if self.process.as_ref().is_some_and(|one| line.process() != one.number) {
            return Some(Condition::Process);
        }
        self.group.as_ref().filter(|group| !group.is_of(line)).map(|_| Condition::Group)
    }

    /// Whether all lines are shown.
    pub fn shows_all(&self) -> bool {
        self.stages == StageSet::ALL
            && self.level == Level::Info
            && self.project.is_none()
            && self.process.is_none()
            && self.since.is_none()
            && self.query.is_none()
            && self.group.is_none()
    }

    /// Whether a condition hides anything.
    pub fn has(&self, condition: Condition) -> bool {
        match condition {
            Condition::Level => self.level != Level::Info,
            Condition::Stages => self.stages != StageSet::ALL,
            Condition::Since => self.since.is_some(),
            Condition::Project => self.project.is_some(),
            Condition::Process => self.process.is_some(),
            Condition::Group => self.group.is_some(),
            Condition::Query => self.query.is_some(),
        }
    }

    /// Ends a condition.
    pub fn remove(&mut self, condition: Condition) {
        match condition {
            Condition::Level => self.level = Level::Info,
            Condition::Stages => self.stages = StageSet::ALL,
            Condition::Since => self.since = None,
            Condition::Project => self.project = None,
            Condition::Process => self.process = None,
            Condition::Group => self.group = None,
            Condition::Query => self.query = None,
        }
    }
}

/// A filter being applied to many lines in order, see [`Scanner`].
#[derive(Debug)]
pub struct FilterScanner<'f> {
    filter: &'f Filter,
    /// Whether it has no other conditions than the query.
    is_query: bool,
    scanner: Option<Scanner<'f>>,
}

impl<'f> FilterScanner<'f> {
    /// Begins.
    pub fn new(filter: &'f Filter) -> Self {
        let mut others = Condition::ALL.into_iter().filter(|&c| c != Condition::Query);
        let is_query = !others.any(|condition| filter.has(condition));
        Self { filter, is_query, scanner: filter.query.as_ref().map(Scanner::new) }
    }

    /// Starts a new joined text.
    pub fn enter(&mut self) {
        if let Some(scanner) = &mut self.scanner {
            scanner.enter();
        }
    }

    /// The first line of a run, from `place` on, that may be shown. Those before it are not.
    pub fn skip(&mut self, run: &Run<'_>, place: usize) -> Option<usize> {
        match &mut self.scanner {
            Some(scanner) => scanner.skip(run, place),
            None => Some(place),
        }
    }

    /// What hides a line, if anything; its text starts at `start` of the joined text.
    pub fn hides(&mut self, all: &str, start: usize, line: LineRef<'_>) -> Option<Condition> {
        if !self.is_query
            && let Some(condition) = self.filter.first_to_hide(line)
        {
            return Some(condition);
        }
        let scanner = self.scanner.as_mut()?;
        (!scanner.matches(all, start, line)).then_some(Condition::Query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_hidden_and_shown_again() {
        let mut set = StageSet::only(Stage::Queue);
        assert!(set.contains(Some(Stage::Queue)) && !set.contains(None));
        for stage in Stage::ALL.into_iter().filter(|&stage| stage != Stage::Queue) {
            set = set.toggled(stage);
        }
        assert_eq!(set, StageSet::ALL);
        let without = set.toggled(Stage::Worker);
        assert!(without.contains(None) && !without.contains(Some(Stage::Worker)));
        assert_eq!(without.toggled(Stage::Worker), StageSet::ALL);
    }
}
