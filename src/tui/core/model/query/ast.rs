//! What a query says, before it is made ready to look for. It prints as it can be typed.

use std::fmt;

use crate::model::filter::StageSet;
use bklit_wire::debug_log::{Level, Stage};

/// How unparsed lines are called where stages are named.
pub const UNPARSED: &str = "unparsed";
/// The store's stage, where the store is SQLite.
pub const SQLITE: &str = "sqlite";

/// A whole query.
#[derive(Clone, Debug, PartialEq)]
pub struct Ast {
    /// A `!` before everything: all other lines.
    pub inverted: bool,
    /// What a line must be, all of it.
    pub terms: Vec<Term>,
}

/// One thing a line must be.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// A `-` before it: a line must not be it.
    pub negated: bool,
    /// What.
    pub test: Test,
}

/// What is asked of a line.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// A word: a regular expression if it has the signs of one and is one, else text.
    Word(String),
    /// Text in quotes, as it is.
    Phrase(String),
    /// A regular expression between slashes.
    Regex(String),
    /// One of these stages.
    Stages(StageSet),
    /// One of these levels, as a bit for each.
    Levels(u8),
    /// One of these projects, by their whole ids.
    Projects(Vec<String>),
    /// An event id with this in it.
    Id(String),
    /// A duration in milliseconds.
    Duration(Bounds),
    /// A detail, by the path to it.
    Data(String, DataTest),
}

/// What is asked of a detail.
#[derive(Clone, Debug, PartialEq)]
pub enum DataTest {
    /// It is there.
    Present,
    /// It has this in it; if both are numbers, they are the same.
    Contains(String),
    /// It is a number within bounds.
    Within(Bounds),
}

/// What a number may be.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounds {
    /// The least, and whether that itself counts.
    pub low: Option<(f64, bool)>,
    /// The most, and whether that itself counts.
    pub high: Option<(f64, bool)>,
}

impl Bounds {
    /// Just this number.
    pub fn exactly(number: f64) -> Self {
        Self { low: Some((number, true)), high: Some((number, true)) }
    }

    /// Whether a number is within.
    pub fn contain(self, number: f64) -> bool {
        let above = |(low, counts): (f64, bool)| number > low || counts && number >= low;
        let below = |(high, counts): (f64, bool)| number < high || counts && number <= high;
        self.low.is_none_or(above) && self.high.is_none_or(below)
    }
}

/// The bit of a level in [`Test::Levels`].
pub fn level_bit(level: Level) -> u8 {
    1 << level as u8
}

impl fmt::Display for Ast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.inverted {
            f.write_str("!")?;
        }
        for (nth, term) in self.terms.iter().enumerate() {
            let gap = if nth > 0 { " " } else { "" };
            let sign = if term.negated { "-" } else { "" };
            write!(f, "{gap}{sign}{}", term.test)?;
        }
        Ok(())
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => f.write_str(word),
            Self::Phrase(phrase) => f.write_str(&quoted(phrase)),
            Self::Regex(source) => write!(f, "/{source}/"),
            Self::Stages(set) => {
                let named = Stage::ALL.map(|stage| (Some(stage), stage.as_str()));
                let all = named.into_iter().chain([(None, UNPARSED)]);
                let names = all.filter(|(stage, _)| set.contains(*stage)).map(|(_, name)| name);
                write!(f, "stage:{}", names.collect::<Vec<_>>().join(","))
            }
            Self::Levels(bits) => {
                let on = Level::ALL.into_iter().filter(|&level| bits & level_bit(level) != 0);
                write!(f, "level:{}", on.map(Level::as_str).collect::<Vec<_>>().join(","))
            }
            Self::Projects(ids) => {
                let ids: Vec<_> = ids.iter().map(|id| value(id)).collect();
                write!(f, "project:{}", ids.join(","))
            }
            Self::Id(part) => write!(f, "id:{}", value(part)),
            Self::Duration(bounds) => write!(f, "dur:{bounds}"),
            Self::Data(path, DataTest::Present) => write!(f, "data.{path}:*"),
            Self::Data(path, DataTest::Contains(part)) => write!(f, "data.{path}:{}", value(part)),
            Self::Data(path, DataTest::Within(bounds)) => write!(f, "data.{path}:{bounds}"),
        }
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.low, self.high) {
            (Some((low, counts)), None) => write!(f, ">{}{low}", if counts { "=" } else { "" }),
            (None, Some((high, counts))) => write!(f, "<{}{high}", if counts { "=" } else { "" }),
            (Some((low, _)), Some((high, _))) => write!(f, "{low}..{high}"),
            (None, None) => f.write_str(".."),
        }
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A value as it can be typed: in quotes where it would otherwise mean something else.
fn value(text: &str) -> String {
    let special = |c: char| c.is_whitespace() || matches!(c, '"' | ',');
    let starts = text.starts_with(['<', '>', '*']) || text.contains("..");
    if text.is_empty() || starts || text.contains(special) { quoted(text) } else { text.to_owned() }
}
