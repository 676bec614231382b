//! The syntax tree of a query. `Display` prints it as it can be typed.

use std::fmt;

use crate::model::filter::StageSet;
use bklit_wire::debug_log::{Level, Stage};

/// The name of unparsed lines in a list of stages.
pub const UNPARSED: &str = "unparsed";
/// The name of the store's stage if the store is SQLite.
pub const SQLITE: &str = "sqlite";

/// A whole query.
#[derive(Clone, Debug, PartialEq)]
pub struct Ast {
    /// Starts with `!`: selects all other lines.
    pub inverted: bool,
    /// The terms; a line must match all of them.
    pub terms: Vec<Term>,
}

/// One condition on a line.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// Starts with `-`: a line must not match it.
    pub negated: bool,
    /// The condition.
    pub test: Test,
}

/// A condition on a line.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// A word: a regular expression if it contains special characters and is valid, otherwise text.
    Word(String),
    /// Text in quotes, taken literally.
    Phrase(String),
    /// A regular expression between slashes.
    Regex(String),
    /// One of these stages.
    Stages(StageSet),
    /// One of these levels, as a bit for each.
    Levels(u8),
    /// One of these projects, by their complete ids.
    Projects(Vec<String>),
    /// An event id that contains this.
    Id(String),
    /// A duration in milliseconds.
    Duration(Bounds),
    /// A detail, by its path.
    Data(String, DataTest),
}

/// A condition on a detail.
#[derive(Clone, Debug, PartialEq)]
pub enum DataTest {
    /// It exists.
    Present,
    /// It contains this; if both are numbers, they must be equal.
    Contains(String),
    /// It is this, in the same case; a URL may have a query and a fragment as well.
    Is(String),
    /// It is a number within these bounds.
    Within(Bounds),
}

/// Bounds of a number.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounds {
    /// The lower bound, and whether it is inclusive.
    pub low: Option<(f64, bool)>,
    /// The upper bound, and whether it is inclusive.
    pub high: Option<(f64, bool)>,
}

impl Bounds {
    /// Exactly this number.
    pub fn exactly(number: f64) -> Self {
        Self { low: Some((number, true)), high: Some((number, true)) }
    }

    /// Whether a number is within the bounds.
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
            Self::Data(path, DataTest::Is(wanted)) => write!(f, "data.{path}:={}", value(wanted)),
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

/// A value as it can be typed: in quotes if it would otherwise mean something else.
fn value(text: &str) -> String {
    let special = |c: char| c.is_whitespace() || matches!(c, '"' | ',');
    let starts = text.starts_with(['<', '>', '*', '=']) || text.contains("..");
    if text.is_empty() || starts || text.contains(special) { quoted(text) } else { text.to_owned() }
}
