//! Text and regular expressions, ready to be found fast.

use std::ops::Range;

use memchr::memmem;
use regex::{Regex, RegexBuilder};

/// What a compiled expression may take.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// Text to be found, with capitals mattering once there is one.
#[derive(Clone, Debug)]
pub(super) enum Literal {
    /// As it is.
    Exact(Box<memmem::Finder<'static>>),
    /// In capitals or not.
    Folded(Regex),
}

impl Literal {
    pub(super) fn new(text: &str) -> Self {
        let has_case = text.chars().any(char::is_alphabetic);
        if has_case && !text.chars().any(char::is_uppercase) {
            // Only a text far longer than a field takes could be too big.
            if let Ok(regex) = compile(&regex::escape(text), false) {
                return Self::Folded(regex);
            }
        }
        Self::exact(text)
    }

    pub(super) fn exact(text: &str) -> Self {
        Self::Exact(Box::new(memmem::Finder::new(text).into_owned()))
    }

    /// Where it is found first, from `start` on.
    pub(super) fn find_from(&self, text: &str, start: usize) -> Option<Range<usize>> {
        match self {
            Self::Exact(finder) => {
                let at = start + finder.find(&text.as_bytes()[start..])?;
                Some(at..at + finder.needle().len())
            }
            Self::Folded(regex) => regex.find_at(text, start).map(|found| found.range()),
        }
    }

    pub(super) fn is_in(&self, text: &str) -> bool {
        match self {
            Self::Exact(finder) => finder.find(text.as_bytes()).is_some(),
            Self::Folded(regex) => regex.is_match(text),
        }
    }

    pub(super) fn find_all(&self, text: &str, found: &mut Vec<Range<usize>>) {
        let mut start = 0;
        while let Some(range) = self.find_from(text, start) {
            start = range.end.max(start + 1);
            found.push(range);
        }
    }
}

/// A regular expression as it is typed.
pub(super) fn regex(source: &str) -> Result<Regex, String> {
    compile(source, has_capitals(source)).map_err(|error| describe(&error))
}

/// Whether it can be one.
pub(super) fn check_regex(source: &str) -> Result<(), String> {
    regex(source).map(drop)
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
