//! A query's terms, compiled to be checked against many lines.
//!
//! Cheap checks come first, and only the needed parts of a line are read. Text is searched in many
//! lines at once, see [`super::scanner`]: each needle has a slot for where it was found.

use std::ops::Range;

use super::ast::{Ast, Bounds, DataTest, Term, Test, UNPARSED, level_bit};
use super::fields::{self, Found};
use super::literal::Needle;
use crate::model::filter::StageSet;
use crate::model::line::{LineRef, shown_level};
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::text;

/// How many letters of a stage's or level's name must be typed for a match.
const NAME_LETTERS: usize = 3;

/// A word with one of these is a regular expression, if it is a valid one.
const REGEX_SIGNS: [char; 14] =
    ['.', '*', '+', '?', '(', ')', '[', ']', '{', '}', '|', '^', '$', '\\'];

/// Stages and levels whose names a word matches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    stages: StageSet,
    levels: u8,
}

impl Names {
    fn found(is_named: impl Fn(&str) -> bool) -> Self {
        let stages = Stage::ALL.into_iter().filter(|stage| is_named(stage.as_str()));
        let stages = stages.fold(StageSet::NONE, |set, stage| set.with(Some(stage)));
        let stages = if is_named(UNPARSED) { stages.with(None) } else { stages };
        let shown = Level::ALL.into_iter().filter(|&level| is_named(shown_level(level)));
        Self { stages, levels: shown.fold(0, |bits, level| bits | level_bit(level)) }
    }

    fn is_empty(self) -> bool {
        self.stages == StageSet::NONE && self.levels == 0
    }

    pub(super) fn is_stage(self, line: LineRef<'_>) -> bool {
        self.stages.contains(line.stage())
    }

    pub(super) fn is_level(self, line: LineRef<'_>) -> bool {
        line.stage().is_some() && self.levels & level_bit(line.level()) != 0
    }

    fn is_in(self, line: LineRef<'_>) -> bool {
        self.is_stage(line) || self.is_level(line)
    }
}

/// A needle and its slot.
#[derive(Clone, Debug)]
pub(super) struct Slotted {
    pub(super) needle: Needle,
    pub(super) slot: usize,
}

/// A check on a line.
#[derive(Clone, Debug)]
pub(super) enum Check {
    Stages(StageSet),
    Levels(u8),
    Duration(Bounds),
    Projects(Vec<String>),
    Text { slotted: Slotted, names: Names },
    Id { slotted: Slotted },
    Data { path: String, test: DataCheck, hints: Vec<Slotted> },
}

/// A check on a detail.
#[derive(Clone, Debug)]
pub(super) enum DataCheck {
    Present,
    Contains { needle: Needle, number: Option<f64> },
    Is { needle: Needle, wanted: String },
    Within(Bounds),
}

/// A compiled term.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    pub(super) negated: bool,
    pub(super) check: Check,
}

/// A compiled query.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    pub(super) inverted: bool,
    pub(super) terms: Vec<Ready>,
    /// The number of needles.
    pub(super) slots: usize,
    /// A note for the user on how a word was interpreted.
    pub(super) note: Option<String>,
}

impl Compiled {
    pub(super) fn of(ast: &Ast) -> Result<Self, String> {
        let mut compiled = Self { inverted: ast.inverted, terms: Vec::new(), slots: 0, note: None };
        for Term { negated, test } in &ast.terms {
            let check = compiled.check(test)?;
            compiled.terms.push(Ready { negated: *negated, check });
        }
        compiled.terms.sort_by_key(|term| cost(&term.check));
        Ok(compiled)
    }

    fn slot(&mut self, needle: Needle) -> Slotted {
        self.slots += 1;
        Slotted { needle, slot: self.slots - 1 }
    }

    fn text(&mut self, text: &str) -> Check {
        let names = if text.chars().any(char::is_uppercase) {
            Names::found(|name| begins(name, text))
        } else {
            Names::found(|name| begins(&name.to_lowercase(), text))
        };
        Check::Text { slotted: self.slot(Needle::text(text)), names }
    }

    fn regex(&mut self, source: &str) -> Result<Check, String> {
        let needle = Needle::regex(source)?;
        let names = Names::found(|name| {
            let mut found = Vec::new();
            needle.find_all(name, &mut found);
            found.first().is_some_and(|found| found.start == 0 && found.len() >= NAME_LETTERS)
        });
        Ok(Check::Text { slotted: self.slot(needle), names })
    }

    fn check(&mut self, test: &Test) -> Result<Check, String> {
        Ok(match test {
            Test::Stages(set) => Check::Stages(*set),
            Test::Levels(bits) => Check::Levels(*bits),
            Test::Duration(bounds) => Check::Duration(*bounds),
            Test::Projects(ids) => Check::Projects(ids.clone()),
            Test::Id(part) => Check::Id { slotted: self.slot(Needle::text(part)) },
            Test::Phrase(phrase) => self.text(phrase),
            Test::Regex(source) => self.regex(source)?,
            Test::Word(word) if !word.contains(REGEX_SIGNS) => self.text(word),
            Test::Word(word) => match self.regex(word) {
                Ok(check) => check,
                Err(why) => {
                    self.note = Some(format!("`{word}` is taken as text: no regex ({why})"));
                    self.text(word)
                }
            },
            Test::Data(path, test) => self.data(path, test),
        })
    }

    fn data(&mut self, path: &str, test: &DataTest) -> Check {
        let mut hints = Vec::new();
        // A line whose text does not contain the value cannot match. Quoted values may be escaped
        // in the text, so this only works for text without such characters.
        let is_plain = |text: &str| text::is_safe(text) && !text.contains(['"', '\\']);
        let in_text = |text: &str| is_plain(text) && !text.contains([':', ',', '{', '[']);
        let test = match test {
            DataTest::Present => DataCheck::Present,
            DataTest::Within(bounds) => DataCheck::Within(*bounds),
            DataTest::Contains(part) => {
                let number = part.parse().ok().filter(|number: &f64| number.is_finite());
                if number.is_none() && in_text(part) {
                    hints.push(self.slot(Needle::text(part)));
                }
                DataCheck::Contains { needle: Needle::text(part), number }
            }
            DataTest::Is(wanted) => {
                if in_text(wanted) {
                    hints.push(self.slot(Needle::exact(wanted)));
                }
                DataCheck::Is { needle: Needle::exact(wanted), wanted: wanted.clone() }
            }
        };
        let name = path.rsplit('.').next().unwrap_or(path);
        if is_plain(name) && name.parse::<usize>().is_err() {
            hints.push(self.slot(Needle::exact(name)));
        }
        Check::Data { path: path.to_owned(), test, hints }
    }

    /// Text that every matching line must contain, if there is any; if there are several, probably
    /// the rarest.
    pub(super) fn required(&self) -> Option<&Slotted> {
        let wanted = self.terms.iter().filter(|term| !term.negated && !self.inverted);
        let needed = wanted.flat_map(|term| match &term.check {
            Check::Text { slotted, names } if names.is_empty() => std::slice::from_ref(slotted),
            Check::Id { slotted } => std::slice::from_ref(slotted),
            Check::Data { hints, .. } => hints,
            _ => &[],
        });
        needed.filter(|slotted| slotted.needle.can_skip()).max_by_key(|s| s.needle.rarity())
    }

    /// The slot of its needle, if it has nothing else to check.
    pub(super) fn only_slot(&self) -> Option<usize> {
        match &*self.terms {
            [Ready { negated: false, check: Check::Text { slotted, names } }] => {
                let is_enough = names.is_empty() && !slotted.needle.must_be_checked();
                (is_enough && slotted.needle.can_skip() && !self.inverted).then_some(slotted.slot)
            }
            _ => None,
        }
    }

    /// Whether a line matches the query; `has` says whether a needle is in its text.
    pub(super) fn matches(&self, line: LineRef<'_>, mut has: impl FnMut(&Slotted) -> bool) -> bool {
        let all = self.terms.iter().all(|term| term.check.is(line, &mut has) != term.negated);
        all != self.inverted
    }

    /// Where the query matches in a line's text, in order.
    pub(super) fn found_in(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for term in self.terms.iter().filter(|term| !term.negated) {
            match &term.check {
                Check::Text { slotted, .. } | Check::Id { slotted } => {
                    slotted.needle.find_all(text, &mut found);
                }
                Check::Data {
                    test: DataCheck::Contains { needle, .. } | DataCheck::Is { needle, .. },
                    ..
                } => needle.find_all(text, &mut found),
                _ => {}
            }
        }
        found.retain(|range| !range.is_empty());
        found.sort_by_key(|range| range.start);
        found
    }

    /// Whether the query matches a line's stage and its level, as shown.
    pub(super) fn names_found(&self, line: LineRef<'_>) -> (bool, bool) {
        let wanted = self.terms.iter().filter(|term| !term.negated);
        wanted.fold((false, false), |(stage, level), term| match &term.check {
            Check::Text { names, .. } => {
                (stage || names.is_stage(line), level || names.is_level(line))
            }
            _ => (stage, level),
        })
    }
}

fn begins(name: &str, text: &str) -> bool {
    text.len() >= NAME_LETTERS && name.starts_with(text)
}

/// The cost of a check; cheap ones come first.
fn cost(check: &Check) -> u8 {
    match check {
        Check::Stages(_) | Check::Levels(_) | Check::Duration(_) => 0,
        Check::Projects(_) => 1,
        Check::Text { slotted: Slotted { needle: Needle::Regex { .. }, .. }, .. } => 4,
        Check::Text { .. } | Check::Id { .. } => 2,
        Check::Data { .. } => 3,
    }
}

impl Check {
    fn is(&self, line: LineRef<'_>, has: &mut impl FnMut(&Slotted) -> bool) -> bool {
        match self {
            Self::Stages(set) => set.contains(line.stage()),
            Self::Levels(bits) => bits & level_bit(line.level()) != 0,
            Self::Duration(bounds) => line.duration().is_some_and(|d| bounds.contain(d.into())),
            Self::Projects(ids) => {
                line.project_id().is_some_and(|id| ids.iter().any(|wanted| wanted == id))
            }
            Self::Text { slotted, names } => names.is_in(line) || has(slotted),
            Self::Id { slotted } => {
                let is_in = |id| slotted.needle.is_in(id);
                line.event_id().is_some_and(|id| has(slotted) && is_in(id))
            }
            Self::Data { path, test, hints } => {
                hints.iter().all(has)
                    && fields::find(line.fields(), path).is_some_and(|found| test.is(&found))
            }
        }
    }
}

impl DataCheck {
    fn is(&self, found: &Found<'_>) -> bool {
        match self {
            Self::Present => true,
            Self::Within(bounds) => number(found).is_some_and(|number| bounds.contain(number)),
            Self::Contains { needle, number: wanted } => match (number(found), wanted) {
                (Some(number), Some(wanted)) => number == *wanted,
                _ => needle.is_in(&found.text()),
            },
            Self::Is { wanted, .. } => is_exactly(&found.text(), wanted),
        }
    }
}

/// Whether a value is the one wanted, apart from the query and fragment of a URL. The root of a host
/// may lack its slash.
fn is_exactly(value: &str, wanted: &str) -> bool {
    let is_url = wanted.contains("://");
    let is = |wanted: &str| {
        let rest = value.strip_prefix(wanted);
        rest.is_some_and(|rest| rest.is_empty() || is_url && rest.starts_with(['?', '#']))
    };
    let host = wanted.split_once("://").and_then(|(_, host)| host.strip_suffix('/'));
    let is_root = host.is_some_and(|host| !host.contains('/'));
    is(wanted) || is_root && is(&wanted[..wanted.len() - 1])
}

/// The value as a number, including numbers stored as text.
fn number(found: &Found<'_>) -> Option<f64> {
    found.text().parse().ok().filter(|number: &f64| number.is_finite())
}
