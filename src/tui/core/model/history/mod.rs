//! The history of figures as graphs show it: spans of time, what a graph is about, and its points.
//!
//! - `notable`: the slowest steps and the last failures of each stage
//! - `parts`: the positions on a page of graphs
//! - `rows`: the rows of the list below the graphs
//! - `series`: the points of a graph

mod notable;
mod parts;
mod rows;
mod series;

use bklit_wire::debug_log::Stage;
use bklit_wire::history::{Buckets, MINUTE, Totals};

pub use notable::{Notable, NotableLine};
pub use parts::PageParts;
pub use rows::HistoryRow;
pub use series::Series;

/// A span of time that graphs cover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Span {
    /// The last minute, by seconds; from the figures that processes publish.
    Minute,
    /// An hour, by minutes.
    #[default]
    Hour,
    /// A day, by ten minutes.
    Day,
    /// A week, by hours.
    Week,
}

impl Span {
    /// All of them, the shortest first.
    pub const ALL: [Self; 4] = [Self::Minute, Self::Hour, Self::Day, Self::Week];

    /// The length of a point in milliseconds.
    pub fn step(self) -> i64 {
        match self {
            Self::Minute => 1_000,
            Self::Hour => MINUTE,
            Self::Day => 10 * MINUTE,
            Self::Week => 60 * MINUTE,
        }
    }

    /// The number of points.
    pub fn points(self) -> i64 {
        match self {
            Self::Minute | Self::Hour => 60,
            Self::Day => 144,
            Self::Week => 168,
        }
    }

    /// Its length in milliseconds.
    pub fn millis(self) -> i64 {
        self.step() * self.points()
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
        }
    }

    /// The next longer or shorter one.
    #[must_use]
    pub fn zoomed(self, out: bool) -> Self {
        let nth = self as usize;
        let next = if out { nth + 1 } else { nth.saturating_sub(1) };
        Self::ALL.get(next).copied().unwrap_or(self)
    }
}

/// How much earlier the figures are that the current ones are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    /// An hour earlier.
    Hour,
    /// A day earlier.
    Day,
    /// A week earlier.
    Week,
}

impl Shift {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Week];

    /// How much earlier, in milliseconds.
    pub fn millis(self) -> i64 {
        match self {
            Self::Hour => 60 * MINUTE,
            Self::Day => 24 * 60 * MINUTE,
            Self::Week => 7 * 24 * 60 * MINUTE,
        }
    }

    /// Its name in a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "-1 hour",
            Self::Day => "-1 day",
            Self::Week => "-1 week",
        }
    }
}

/// What a page of graphs is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Topic {
    /// All stages: events from acceptance to storage.
    #[default]
    Pipeline,
    /// One stage.
    Stage(Stage),
}

impl Topic {
    /// The latencies of this topic.
    pub fn latencies(self, totals: &Totals) -> &Buckets {
        match self {
            Self::Pipeline => &totals.accept_to_stored,
            Self::Stage(stage) => &totals.stages[stage.index()].latencies,
        }
    }

    /// Accepted events, or steps of the stage.
    pub fn count(self, totals: &Totals) -> u64 {
        match self {
            Self::Pipeline => totals.accepted,
            Self::Stage(stage) => totals.stages[stage.index()].count,
        }
    }

    /// Failed steps.
    pub fn errors(self, totals: &Totals) -> u64 {
        match self {
            Self::Pipeline => totals.errors(),
            Self::Stage(stage) => totals.stages[stage.index()].errors,
        }
    }

    /// Refused events, or steps with a warning.
    pub fn warnings(self, totals: &Totals) -> u64 {
        match self {
            Self::Pipeline => totals.refused,
            Self::Stage(stage) => totals.stages[stage.index()].warnings,
        }
    }

    /// Whether a line of this stage belongs to it.
    pub fn has(self, stage: Stage) -> bool {
        match self {
            Self::Pipeline => true,
            Self::Stage(own) => own == stage,
        }
    }
}
