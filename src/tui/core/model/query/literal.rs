//! Text and regular expressions, compiled for fast search.

use std::collections::BTreeSet;
use std::ops::Range;

use icu_normalizer::{
    ComposingNormalizerBorrowed as ComposingNormalizer,
    DecomposingNormalizerBorrowed as DecomposingNormalizer,
};
use memchr::memmem;
use regex::{Regex, RegexBuilder};
use unicode_segmentation::UnicodeSegmentation;

use super::folded::Folded;

/// The maximum size of a compiled expression.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// What to search for in a text. Case-sensitive only if it contains a capital.
#[derive(Clone, Debug)]
pub(super) enum Needle {
    /// Case-sensitive text.
    Exact(Box<memmem::Finder<'static>>),
    /// Case-insensitive text.
    Folded(Folded),
    /// Text in several spellings: case-insensitive with letters that are too common, or too many, for
    /// [`Folded`], or with accents, which Unicode writes in several ways.
    Spellings(Regex),
    /// A regular expression.
    Regex {
        regex: Regex,
        /// Whether it gives the same results for joined lines as for single ones.
        knows_lines: bool,
    },
}

impl Needle {
    pub(super) fn text(text: &str) -> Self {
        let has_case = text.chars().any(char::is_alphabetic);
        let ignores_case = has_case && !text.chars().any(char::is_uppercase);
        if ignores_case && let Some(folded) = Folded::new(text) {
            return Self::Folded(folded);
        }
        let pattern = spellings(text);
        if (ignores_case || pattern.is_some())
            // Fails only for a text far longer than the input field allows.
            && let Ok(regex) = compile(&pattern.unwrap_or_else(|| regex::escape(text)), !ignores_case)
        {
            return Self::Spellings(regex);
        }
        Self::exact(text)
    }

    pub(super) fn exact(text: &str) -> Self {
        Self::Exact(Box::new(memmem::Finder::new(text).into_owned()))
    }

    /// A regular expression as typed.
    pub(super) fn regex(source: &str) -> Result<Self, String> {
        let regex = regex(source)?;
        Ok(Self::Regex { regex, knows_lines: !asks_for_ends_of_text(source) })
    }

    /// The first match from `start` on. For a regular expression only the end of the match is
    /// known, because that is much faster to find.
    pub(super) fn find_from(&self, text: &str, start: usize) -> Option<Range<usize>> {
        match self {
            Self::Exact(finder) => {
                let at = start + finder.find(&text.as_bytes()[start..])?;
                Some(at..at + finder.needle().len())
            }
            Self::Folded(folded) => folded.find_from(text, start),
            Self::Spellings(regex) => regex.find_at(text, start).map(|found| found.range()),
            Self::Regex { regex, .. } => {
                regex.shortest_match_at(text, start).map(|found| found..found)
            }
        }
    }

    pub(super) fn is_in(&self, text: &str) -> bool {
        match self {
            Self::Exact(finder) => finder.find(text.as_bytes()).is_some(),
            Self::Folded(folded) => folded.find_from(text, 0).is_some(),
            Self::Spellings(regex) | Self::Regex { regex, .. } => regex.is_match(text),
        }
    }

    pub(super) fn find_all(&self, text: &str, found: &mut Vec<Range<usize>>) {
        if let Self::Regex { regex, .. } = self {
            found.extend(regex.find_iter(text).map(|found| found.range()));
            return;
        }
        let mut start = 0;
        while let Some(range) = self.find_from(text, start) {
            start = range.end.max(start + 1);
            found.push(range);
        }
    }

    /// Whether it gives the same results for joined lines as for single ones.
    pub(super) fn knows_lines(&self) -> bool {
        !matches!(self, Self::Regex { knows_lines: false, .. })
    }

    /// Estimates by its length how rare it is. The rarer it is, the more lines can be skipped.
    pub(super) fn rarity(&self) -> usize {
        match self {
            Self::Exact(finder) => finder.needle().len(),
            Self::Folded(folded) => folded.len(),
            Self::Spellings(regex) => regex.as_str().len(),
            Self::Regex { .. } => 0,
        }
    }
}

/// A pattern for a text with characters that can be written as one or as several, such as `é`: it
/// matches all of them. `None` if there are no such characters.
fn spellings(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    let (nfd, nfc) = (DecomposingNormalizer::new_nfd(), ComposingNormalizer::new_nfc());
    let (mut pattern, mut has_several) = (String::new(), false);
    for grapheme in text.graphemes(true) {
        let parts = nfd.normalize(grapheme);
        let ends = parts.char_indices().skip(1).map(|(at, _)| at).chain([parts.len()]);
        // The first so many parts as one character, and the others after it.
        let written = ends.map(|end| format!("{}{}", nfc.normalize(&parts[..end]), &parts[end..]));
        let forms: BTreeSet<_> = written.map(|form| regex::escape(&form)).collect();
        has_several |= forms.len() > 1;
        pattern.push_str("(?:");
        pattern.push_str(&Vec::from_iter(forms).join("|"));
        pattern.push(')');
    }
    has_several.then_some(pattern)
}

/// Whether an expression may match the start or end of the whole text, where results differ for
/// joined lines: by `\A`, `\z`, or `^` and `$` outside multi-line mode.
fn asks_for_ends_of_text(source: &str) -> bool {
    let changes_meaning = |flags: &str| {
        let flags = flags.split([':', ')']).next().unwrap_or_default();
        flags.contains(['m', 'x'])
    };
    let ends = [r"\A", r"\z"];
    ends.iter().any(|end| source.contains(end)) || source.split("(?").skip(1).any(changes_meaning)
}

fn regex(source: &str) -> Result<Regex, String> {
    compile(source, has_capitals(source)).map_err(|error| describe(&error))
}

/// Checks that it is a valid regular expression.
pub(super) fn check_regex(source: &str) -> Result<(), String> {
    regex(source).map(drop)
}

fn compile(pattern: &str, case_sensitive: bool) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern)
        .case_insensitive(!case_sensitive)
        // The parts of a line are separate lines, so `^` and `$` match at each part.
        .multi_line(true)
        .size_limit(MAX_REGEX_BYTES)
        .build()
}

/// Whether a pattern contains a capital letter outside of escapes such as `\S`.
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
        // The last line of the message says what is wrong.
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.trim_start_matches("error: ").to_owned()
        }
    }
}
