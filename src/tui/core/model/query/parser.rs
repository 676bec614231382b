//! Parses a query.
//!
//! ```text
//! query   = ["!"] { ["-"] term }            the "!" only in a filter
//! term    = phrase | "/" regex "/" | key ":" value | word
//! key     = "stage" | "level" | "project" | "id" | "dur" | "data." path
//! ```
//!
//! A word with a colon and an unknown key is a mistake only if it looks like a key and a value:
//! `12:30`, `https://…` and `Error:` are words.

use super::ast::{Ast, Bounds, DataTest, SQLITE, Term, Test, UNPARSED, level_bit};
use super::{Purpose, QueryError};
use crate::model::filter::StageSet;
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::suggestion::did_you_mean;

const KEYS: &str = "stage, level, project, id, dur, data.…";
const KEY_NAMES: [&str; 5] = ["stage", "level", "project", "id", "dur"];

/// Parses a query without its invalid terms; also returns the first mistake. The query is `None` if
/// no term is left.
pub(super) fn parse(source: &str, purpose: Purpose) -> (Option<Ast>, Option<QueryError>) {
    let mut parser = Parser { source, at: 0 };
    parser.skip_spaces();
    let inverted = purpose == Purpose::Filter && parser.rest().starts_with('!');
    if inverted {
        parser.at += 1;
        parser.skip_spaces();
    }
    let (mut terms, mut mistake) = (Vec::new(), None);
    while !parser.rest().is_empty() {
        match parser.term() {
            Ok(term) => terms.push(term),
            Err(error) => {
                mistake.get_or_insert(error);
                let rest = parser.rest();
                parser.at += rest.find(char::is_whitespace).unwrap_or(rest.len());
            }
        }
        parser.skip_spaces();
    }
    ((!terms.is_empty()).then_some(Ast { inverted, terms }), mistake)
}

struct Parser<'a> {
    source: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn skip_spaces(&mut self) {
        self.at = self.source.len() - self.rest().trim_start().len();
    }

    fn error<T>(
        &self,
        at: usize,
        length: usize,
        message: impl Into<String>,
    ) -> Result<T, QueryError> {
        let chars = |bytes: &str| bytes.chars().count();
        Err(QueryError {
            at: chars(&self.source[..at]),
            length: chars(&self.source[at..at + length]).max(1),
            message: message.into(),
        })
    }

    fn term(&mut self) -> Result<Term, QueryError> {
        let rest = self.rest();
        let negated =
            rest.len() > 1 && rest.starts_with('-') && !rest[1..].starts_with(char::is_whitespace);
        self.at += usize::from(negated);
        Ok(Term { negated, test: self.test()? })
    }

    fn test(&mut self) -> Result<Test, QueryError> {
        let rest = self.rest();
        if rest.starts_with('"') {
            return Ok(Test::Phrase(self.quoted()?));
        }
        if let Some(end) = regex_end(rest) {
            let (start, regex) = (self.at, &rest[1..end]);
            self.at += end + 1;
            if let Err(why) = super::literal::check_regex(regex) {
                return self.error(start, end + 1, format!("not a regular expression: {why}"));
            }
            return Ok(Test::Regex(regex.to_owned()));
        }
        let word = &rest[..rest.find(char::is_whitespace).unwrap_or(rest.len())];
        match key_of(word) {
            Some(key) => self.keyed(key, word),
            None => {
                self.at += word.len();
                Ok(Test::Word(word.to_owned()))
            }
        }
    }

    /// Text in quotes; `\"` and `\\` are escapes.
    fn quoted(&mut self) -> Result<String, QueryError> {
        let start = self.at;
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' if text.is_empty() => {
                    return self.error(start, at + 1, "nothing between the quotes");
                }
                '"' => {
                    self.at = start + at + 1;
                    return Ok(text);
                }
                '\\' => {
                    let next = chars.next_if(|&(_, next)| matches!(next, '"' | '\\'));
                    text.push(next.map_or('\\', |(_, next)| next));
                }
                c => text.push(c),
            }
        }
        self.error(start, 1, "this quote is never closed")
    }

    fn keyed(&mut self, key: &str, word: &str) -> Result<Test, QueryError> {
        let start = self.at;
        self.at += key.len() + 1;
        let path = key.strip_prefix("data.");
        let known = KEY_NAMES.contains(&key);
        if !known && path.is_none_or(|path| path.split('.').any(str::is_empty)) {
            let said = match path {
                Some(_) => "a detail needs a name, as in data.url:/checkout".to_owned(),
                None => {
                    let meant = did_you_mean(key, KEY_NAMES);
                    let end = if meant.is_empty() { "; one" } else { " One" };
                    format!("unknown key `{key}`{meant}{end} of {KEYS}. For text, write \"{word}\"")
                }
            };
            return self.error(start, key.len(), said);
        }
        let value_at = self.at;
        let exactly = path.is_some() && self.rest().starts_with('=');
        self.at += usize::from(exactly);
        let values = self.values()?;
        let length = self.at - value_at;
        let made = match (key, path) {
            ("stage", _) => stages(&values),
            ("level", _) => levels(&values),
            ("project", _) => Ok(Test::Projects(values.into_iter().map(|v| v.text).collect())),
            (_, Some(path)) if exactly => {
                Ok(Test::Data(path.to_owned(), DataTest::Is(joined(&values))))
            }
            (_, Some(path)) => data(&values).map(|test| Test::Data(path.to_owned(), test)),
            ("id", _) => Ok(Test::Id(joined(&values))),
            _ => duration(&values),
        };
        match made {
            Ok(test) => Ok(test),
            Err(message) => self.error(value_at, length, message),
        }
    }

    /// Values separated by commas, each optionally in quotes.
    fn values(&mut self) -> Result<Vec<Given>, QueryError> {
        let mut values = Vec::new();
        loop {
            let rest = self.rest();
            let start = self.at;
            let quoted = rest.starts_with('"');
            let text = if quoted {
                self.quoted()?
            } else {
                let end = rest.find(|c: char| c.is_whitespace() || c == ',').unwrap_or(rest.len());
                self.at += end;
                rest[..end].to_owned()
            };
            if text.is_empty() {
                let before = self.source[..start].chars().next_back().map_or(0, char::len_utf8);
                return self.error(start - before, before, "a value is missing here");
            }
            values.push(Given { text, quoted });
            if !self.rest().starts_with(',') {
                return Ok(values);
            }
            self.at += 1;
        }
    }
}

/// A value as typed.
struct Given {
    text: String,
    quoted: bool,
}

/// The position of the slash that ends a regular expression: a space or nothing follows it. Without
/// one, the text is a path.
fn regex_end(rest: &str) -> Option<usize> {
    let mut chars = rest.strip_prefix('/')?.char_indices().peekable();
    let mut escaped = false;
    while let Some((at, c)) = chars.next() {
        let ends = c == '/' && !escaped && at > 0;
        if ends && chars.peek().is_none_or(|(_, next)| next.is_whitespace()) {
            return Some(at + 1);
        }
        escaped = c == '\\' && !escaped;
    }
    None
}

/// The part before the colon of a word that looks like a key and a value.
fn key_of(word: &str) -> Option<&str> {
    let (key, value) = word.split_once(':')?;
    if KEY_NAMES.contains(&key) || key.starts_with("data.") {
        return Some(key);
    }
    let looks_like_one = !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase());
    // `https://…`, `Error: …`, `std::io` are text.
    (looks_like_one && !value.is_empty() && !value.starts_with(['/', ':'])).then_some(key)
}

fn joined(values: &[Given]) -> String {
    values.iter().map(|value| value.text.as_str()).collect::<Vec<_>>().join(",")
}

fn stages(values: &[Given]) -> Result<Test, String> {
    let mut set = StageSet::NONE;
    for value in values {
        let name = value.text.to_lowercase();
        let stage = match name.as_str() {
            UNPARSED => None,
            // The stage's name in the log if the store is SQLite.
            SQLITE => Some(Stage::Clickhouse),
            name => Some(name.parse::<Stage>().map_err(|error| error.to_string())?),
        };
        set = set.with(stage);
    }
    Ok(Test::Stages(set))
}

fn levels(values: &[Given]) -> Result<Test, String> {
    let mut bits = 0;
    for value in values {
        let text = value.text.to_lowercase();
        let name = text.trim_start_matches(['<', '>', '=']);
        let level: Level = name.parse().map_err(|_| {
            format!("unknown level `{name}`; one of info, warn, error, or with >= before it")
        })?;
        let sign = &text[..text.len() - name.len()];
        let is_in = |other: &Level| match sign {
            "" | "=" => *other == level,
            ">=" => *other >= level,
            ">" => *other > level,
            "<=" => *other <= level,
            "<" => *other < level,
            _ => false,
        };
        let meant = Level::ALL.iter().filter(|level| is_in(level));
        let meant = meant.fold(0, |bits, &level| bits | level_bit(level));
        if meant == 0 {
            return Err(format!("no level is {text}; one of info, warn, error"));
        }
        bits |= meant;
    }
    Ok(Test::Levels(bits))
}

fn duration(values: &[Given]) -> Result<Test, String> {
    let text = joined(values);
    let said = || format!("invalid duration `{text}`: try dur:>50 (ms), dur:>1.5s, dur:10..50");
    bounds(&text, millis).ok_or_else(said)?.map(Test::Duration)
}

fn data(values: &[Given]) -> Result<DataTest, String> {
    if let [Given { text, quoted: false }] = values {
        if text == "*" {
            return Ok(DataTest::Present);
        }
        if text.starts_with(['<', '>']) {
            let said = || format!("invalid comparison `{text}`: try data.size:>10");
            return bounds(text, number).ok_or_else(said)?.map(DataTest::Within);
        }
        if text.contains("..")
            && let Some(bounds) = bounds(text, number)
        {
            return bounds.map(DataTest::Within);
        }
    }
    Ok(DataTest::Contains(joined(values)))
}

/// `>1`, `>=1`, `<1`, `<=1`, `1..2`, `1..`, `..2`, `1`; `None` for anything else.
fn bounds(text: &str, number: fn(&str) -> Option<f64>) -> Option<Result<Bounds, String>> {
    for (sign, counts) in [(">=", true), (">", false)] {
        if let Some(rest) = text.strip_prefix(sign) {
            return Some(Ok(Bounds { low: Some((number(rest)?, counts)), high: None }));
        }
    }
    for (sign, counts) in [("<=", true), ("<", false)] {
        if let Some(rest) = text.strip_prefix(sign) {
            return Some(Ok(Bounds { low: None, high: Some((number(rest)?, counts)) }));
        }
    }
    let Some((low, high)) = text.split_once("..") else {
        return Some(Ok(Bounds::exactly(number(text)?)));
    };
    let end = |text: &str| match text {
        "" => Some(None),
        text => Some(Some((number(text)?, true))),
    };
    let bounds = Bounds { low: end(low)?, high: end(high)? };
    match (bounds.low, bounds.high) {
        (None, None) => None,
        (Some((low, _)), Some((high, _))) if low > high => {
            Some(Err(format!("`{text}` is empty: the smaller number comes first")))
        }
        _ => Some(Ok(bounds)),
    }
}

fn number(text: &str) -> Option<f64> {
    // Rust's parser also accepts `inf` and `nan`.
    let is_one = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-'));
    text.parse().ok().filter(|number: &f64| is_one && number.is_finite())
}

/// Parses milliseconds, with or without a unit.
fn millis(text: &str) -> Option<f64> {
    let digits = text.trim_end_matches(|c: char| c.is_alphabetic());
    let factor = match &text[digits.len()..] {
        "us" | "µs" | "μs" => 1e-3,
        "" | "ms" => 1.0,
        "s" => 1e3,
        "m" | "min" => 60e3,
        _ => return None,
    };
    number(digits).map(|number| number * factor).filter(|millis| millis.is_finite())
}
