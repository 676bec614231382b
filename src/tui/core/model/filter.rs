//! Which lines are shown.

use super::line::LineRef;
use super::line_ring::Run;
use super::query::Query;
use super::query::scanner::Scanner;
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::time::UtcMillis;

/// A set of stages. Lines that could not be parsed have none: they are shown until only certain
/// stages are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageSet(u32);

const UNPARSED: u32 = 1 << Stage::ALL.len();

impl StageSet {
    /// All stages, and unparsed lines.
    pub const ALL: Self = Self((UNPARSED << 1) - 1);

    /// Nothing.
    pub const NONE: Self = Self(0);

    /// The same with a stage, or with unparsed lines.
    pub fn with(self, stage: Option<Stage>) -> Self {
        Self(self.0 | bit(stage))
    }

    /// This one.
    pub fn only(stage: Stage) -> Self {
        Self(bit(Some(stage)))
    }

    /// The same with `stage` added or taken out.
    pub fn toggled(self, stage: Stage) -> Self {
        let toggled = Self(self.0 ^ bit(Some(stage)));
        // With every stage back, nothing is asked for any more.
        if toggled.0 | UNPARSED == Self::ALL.0 { Self::ALL } else { toggled }
    }

    /// Whether lines of the stage are shown; `None` asks for unparsed lines.
    pub fn contains(self, stage: Option<Stage>) -> bool {
        self.0 & bit(stage) != 0
    }
}

fn bit(stage: Option<Stage>) -> u32 {
    stage.map_or(UNPARSED, |stage| 1 << stage.index())
}

/// Which lines are shown.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Of these stages.
    pub stages: StageSet,
    /// Of this level or above.
    pub level: Level,
    /// Of this project.
    pub project: Option<String>,
    /// That are not older.
    pub since: Option<UtcMillis>,
    /// That the query in the filter's box asks for.
    pub query: Option<Query>,
}

impl Default for Filter {
    fn default() -> Self {
        Self { stages: StageSet::ALL, level: Level::Info, project: None, since: None, query: None }
    }
}

impl Filter {
    /// Whether a line is shown.
    pub fn shows(&self, line: LineRef<'_>) -> bool {
        self.may_show(line) && self.query.as_ref().is_none_or(|query| query.matches(line))
    }

    /// What is cheap to ask.
    fn may_show(&self, line: LineRef<'_>) -> bool {
        line.level() >= self.level
            && self.stages.contains(line.stage())
            && self.since.is_none_or(|since| line.time() >= since)
            && self.project.as_deref().is_none_or(|id| line.project_id() == Some(id))
    }

    /// Whether all lines are shown.
    pub fn shows_all(&self) -> bool {
        self.stages == StageSet::ALL
            && self.level == Level::Info
            && self.project.is_none()
            && self.since.is_none()
            && self.query.is_none()
    }
}

/// A filter at work on many lines, see [`Scanner`].
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

    /// The lines that come now lie in another text.
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

    /// Whether a line is shown, whose text starts at `start` of the text in which all lie.
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
