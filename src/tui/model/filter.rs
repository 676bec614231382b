//! Which lines are shown, and which of them are highlighted.

use regex::{Regex, RegexBuilder};

use super::line::LineRef;
use crate::pipeline::debug_log::{Level, Stage};

/// What a compiled expression may take.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// A set of stages. Lines that could not be parsed have none: they are shown until only certain
/// stages are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageSet(u8);

const UNPARSED: u8 = 1 << Stage::ALL.len();

impl StageSet {
    /// All stages, and unparsed lines.
    pub const ALL: Self = Self((UNPARSED << 1) - 1);

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

fn bit(stage: Option<Stage>) -> u8 {
    stage.map_or(UNPARSED, |stage| 1 << stage.index())
}

/// How a text is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As it is written.
    Text,
    /// As a regular expression.
    Regex,
}

/// What was typed into a box, ready to look for.
#[derive(Clone, Debug)]
pub struct TextQuery {
    source: String,
    regex: Regex,
    kind: Kind,
    inverted: bool,
    problem: Option<String>,
}

impl TextQuery {
    /// What a search looks for; `None` when nothing was typed.
    pub fn search(source: &str) -> Option<Self> {
        Self::parse(source, source, false)
    }

    /// What a filter keeps; a `!` before it keeps all others.
    pub fn filter(source: &str) -> Option<Self> {
        match source.strip_prefix('!') {
            Some(rest) => Self::parse(source, rest, true),
            None => Self::parse(source, source, false),
        }
    }

    fn parse(source: &str, pattern: &str, inverted: bool) -> Option<Self> {
        if pattern.is_empty() {
            return None;
        }
        let sensitive = has_capitals(pattern);
        let mut query = Self {
            source: source.to_owned(),
            regex: compile(&regex::escape(pattern), sensitive).ok()?,
            kind: Kind::Text,
            inverted,
            problem: None,
        };
        if regex::escape(pattern) != pattern {
            match compile(pattern, sensitive) {
                Ok(regex) => (query.regex, query.kind) = (regex, Kind::Regex),
                Err(error) => query.problem = Some(describe(&error)),
            }
        }
        Some(query)
    }

    /// What was typed.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// How it is looked for.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Why it is no regular expression, though it looks like one; then it is looked for as it is
    /// written.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Whether the line is what the query asks for.
    pub fn matches(&self, line: LineRef<'_>) -> bool {
        self.regex.is_match(line.text()) != self.inverted
    }

    /// Where in a line's text the query is found.
    pub fn found_in(&self, text: &str) -> impl Iterator<Item = std::ops::Range<usize>> {
        let found = self.regex.find_iter(text).map(|found| found.range());
        found.filter(|range| !range.is_empty())
    }
}

fn compile(pattern: &str, case_sensitive: bool) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern)
        .case_insensitive(!case_sensitive)
        // The parts of a line are lines of their own: `^` and `$` mean a part.
        .multi_line(true)
        .size_limit(MAX_REGEX_BYTES)
        .build()
}

/// Whether a pattern has a capital letter that is not part of an escape such as `\S`.
fn has_capitals(pattern: &str) -> bool {
    let mut escaped = false;
    pattern.chars().any(|c| {
        let counts = !escaped && c.is_uppercase();
        escaped = !escaped && c == '\\';
        counts
    })
}

fn describe(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "too big for a regular expression".to_owned(),
        // The last line of many says what is wrong.
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.trim_start_matches("error: ").to_owned()
        }
    }
}

/// Which lines are shown.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Of these stages.
    pub stages: StageSet,
    /// Of this level or above.
    pub level: Level,
    /// With this text.
    pub text: Option<TextQuery>,
}

impl Default for Filter {
    fn default() -> Self {
        Self { stages: StageSet::ALL, level: Level::Info, text: None }
    }
}

impl Filter {
    /// Whether a line is shown.
    pub fn shows(&self, line: LineRef<'_>) -> bool {
        line.level() >= self.level
            && self.stages.contains(line.stage())
            && self.text.as_ref().is_none_or(|text| text.matches(line))
    }

    /// Whether all lines are shown.
    pub fn shows_all(&self) -> bool {
        self.stages == StageSet::ALL && self.level == Level::Info && self.text.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(query: &str, text: &str) -> bool {
        TextQuery::search(query).is_some_and(|query| query.found_in(text).next().is_some())
    }

    #[test]
    fn capitals_matter_once_there_is_one() {
        assert!(found("checkout", "Checkout") && found("Checkout", "Checkout"));
        assert!(!found("CHECKOUT", "Checkout"));
        assert!(found(r"\Seckout", "CHECKOUT"), "an escape's capital is none");
    }

    #[test]
    fn regular_expressions_are_known_by_their_signs() {
        let kind = |query| TextQuery::search(query).unwrap().kind();
        assert_eq!(
            (kind("evt_1"), kind("a.*b"), kind("a(b")),
            (Kind::Text, Kind::Regex, Kind::Text)
        );
        assert!(found("a.*b", "axxb") && found("a(b", "xa(b)"));
        let broken = TextQuery::search("a(b").unwrap();
        assert_eq!(broken.problem(), Some("unclosed group"));
        let big = TextQuery::search(r"\w{500}{500}").unwrap();
        assert!(big.problem().unwrap().contains("too big"));
    }

    #[test]
    fn parts_of_a_line_are_lines_of_their_own() {
        assert!(found("^url=", "Queued\nurl=/a status=200\nevt_1\n"));
        assert!(!found("queued.*url", "Queued\nurl=/a"));
    }

    #[test]
    fn nothing_typed_is_no_query() {
        assert!(TextQuery::search("").is_none() && TextQuery::filter("!").is_none());
        assert!(TextQuery::filter("!x").unwrap().inverted);
        assert!(!TextQuery::search("!x").unwrap().inverted);
    }

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
