//! Which lines are shown.

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
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            stages: StageSet::ALL,
            level: Level::Info,
            project: None,
            process: None,
            since: None,
            query: None,
        }
    }
}

impl Filter {
    /// Whether a line is shown.
    pub fn shows(&self, line: LineRef<'_>) -> bool {
        self.may_show(line) && self.query.as_ref().is_none_or(|query| query.matches(line))
    }

    /// The cheap conditions.
    fn may_show(&self, line: LineRef<'_>) -> bool {
        line.level() >= self.level
            && self.stages.contains(line.stage())
            && self.since.is_none_or(|since| line.time() >= since)
            && self.project.as_deref().is_none_or(|id| line.project_id() == Some(id))
            && self.process.as_ref().is_none_or(|one| line.process() == one.number)
    }

    /// Whether all lines are shown.
    pub fn shows_all(&self) -> bool {
        self.stages == StageSet::ALL
            && self.level == Level::Info
            && self.project.is_none()
            && self.process.is_none()
            && self.since.is_none()
            && self.query.is_none()
    }
}

/// A filter being applied to many lines in order, see [`Scanner`].
#[derive(Debug)]
pub struct FilterScanner<'f> {
    filter: &'f Filter,
    scanner: Option<Scanner<'f>>,
}

impl<'f> FilterScanner<'f> {
    /// Begins.
    pub fn new(filter: &'f Filter) -> Self {
        Self { filter, scanner: filter.query.as_ref().map(Scanner::new) }
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

    /// Whether a line is shown; its text starts at `start` of the joined text.
    pub fn shows(&mut self, all: &str, start: usize, line: LineRef<'_>) -> bool {
        self.filter.may_show(line)
            && self.scanner.as_mut().is_none_or(|scanner| scanner.matches(all, start, line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_toggle_and_come_back() {
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
