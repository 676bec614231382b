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
use super::pattern::{Pattern, Required};

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
        /// How it can be found in joined lines.
        joined: Joined,
    },
}

/// How the lines that match a regular expression can be found in a text of joined lines.
#[derive(Clone, Debug)]
pub(super) enum Joined {
    /// By this needle, which every match contains. The line has to be checked.
    Required(Box<Needle>),
    /// By the end of a match, which is in the line that matches.
    Ends,
    /// By the end of a match. It may have started in an earlier line, so the line has to be checked.
    MayEnd,
    /// Not at all: it depends on where the text starts or ends.
    Unknown,
}

impl Joined {
    fn of(source: &str, case_sensitive: bool) -> Self {
        match Pattern::of(source, case_sensitive) {
            Pattern { required: Some(Required { text, ignores_case }), .. } => {
                let needle = if ignores_case { Needle::text(&text) } else { Needle::exact(&text) };
                Self::Required(Box::new(needle))
            }
            Pattern { sees_ends: true, .. } => Self::Unknown,
            Pattern { spans_lines: true, .. } => Self::MayEnd,
            Pattern { .. } => Self::Ends,
        }
    }
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
        let joined = Joined::of(source, has_capitals(source));
        Ok(Self::Regex { regex: regex(source)?, joined })
    }

    /// The first match from `start` on. For a regular expression it is that of the needle which its
    /// matches contain, or the end of a match, because that is much faster to find.
    pub(super) fn find_from(&self, text: &str, start: usize) -> Option<Range<usize>> {
        match self {
            Self::Exact(finder) => {
                let at = start + finder.find(&text.as_bytes()[start..])?;
                Some(at..at + finder.needle().len())
            }
            Self::Folded(folded) => folded.find_from(text, start),
            Self::Spellings(regex) => regex.find_at(text, start).map(|found| found.range()),
            Self::Regex { joined: Joined::Required(needle), .. } => needle.find_from(text, start),
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

    /// Whether lines can be skipped that come before what [`Needle::find_from`] finds.
    pub(super) fn can_skip(&self) -> bool {
        !matches!(self, Self::Regex { joined: Joined::Unknown, .. })
    }

    /// Whether a line in which [`Needle::find_from`] finds something may still not match.
    pub(super) fn must_be_checked(&self) -> bool {
        matches!(self, Self::Regex { joined: Joined::Required(_) | Joined::MayEnd, .. })
    }

    /// Estimates by its length how rare it is. The rarer it is, the more lines can be skipped.
    pub(super) fn rarity(&self) -> usize {
        match self {
            Self::Exact(finder) => finder.needle().len(),
            Self::Folded(folded) => folded.len(),
            Self::Spellings(regex) => regex.as_str().len(),
            Self::Regex { joined: Joined::Required(needle), .. } => needle.rarity(),
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
