//! The language of filter and search boxes. A line must match all terms:
//!
//! | | |
//! | --- | --- |
//! | `timeout` `"bad gateway"` | words and phrases, in what the line shows; stages and levels too |
//! | `/wor.er/` `a.*b` | regular expressions; a word with special characters is one, if valid |
//! | `stage:worker,clickhouse` | stages |
//! | `level:warn` `level:>=warn` | levels |
//! | `project:p1` | the complete project id |
//! | `id:3f2a` | part of the event id: the log shows its end |
//! | `dur:>50` `dur:>1.5s` `dur:10..50` | the duration, in ms without a unit |
//! | `data.url:/checkout` `data.peer:=::1` `data.size:>10` `data.a.b:*` | a detail contains this, is this, compares, exists |
//! | `-stage:queue` `-word` | lines that do not match |
//! | `!…` | in a filter: all other lines |
//!
//! A word that contains a capital letter is case-sensitive.
//!
//! - `ast`: the syntax tree of a query
//! - `compiled`: a query's terms, compiled
//! - `fields`: reads one detail of a line
//! - `folded`: case-insensitive search
//! - `literal`: text and regular expressions to search for
//! - `parser`: parses what was typed
//! - `pattern`: what is known about the matches of a regular expression
//! - `scanner`: checks a query against many lines at once

pub mod ast;
mod compiled;
mod fields;
mod folded;
mod literal;
mod parser;
mod pattern;
pub mod scanner;

use std::borrow::Cow;
use std::ops::Range;

use self::ast::Ast;
use self::compiled::Compiled;
use super::line::LineRef;

/// The purpose of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Selects what to highlight.
    Search,
    /// Selects which lines to show; a `!` at the start inverts it.
    Filter,
}

/// A mistake in what was typed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at {}: {message}", at + 1)]
pub struct QueryError {
    /// The position, in characters from the start.
    pub at: usize,
    /// The number of wrong characters; at least one.
    pub length: usize,
    /// What is wrong, and what is valid.
    pub message: String,
}

/// A compiled query, with its source.
#[derive(Clone, Debug)]
pub struct Query {
    source: String,
    ast: Ast,
    compiled: Compiled,
}

impl Query {
    /// Parses a query; `None` if it is empty.
    ///
    /// # Errors
    /// The first mistake and its position.
    pub fn parse(source: &str, purpose: Purpose) -> Result<Option<Self>, QueryError> {
        match Self::read(source, purpose) {
            (_, Some(mistake)) => Err(mistake),
            (query, None) => Ok(query),
        }
    }

    /// Parses an incomplete query: returns its valid part, and the first mistake.
    pub fn read(source: &str, purpose: Purpose) -> (Option<Self>, Option<QueryError>) {
        let (ast, mistake) = parser::parse(source, purpose);
        let Some(ast) = ast else { return (None, mistake) };
        match Compiled::of(&ast) {
            Ok(compiled) => (Some(Self { source: source.to_owned(), ast, compiled }), mistake),
            Err(message) => {
                let whole = QueryError { at: 0, length: source.chars().count(), message };
                (None, mistake.or(Some(whole)))
            }
        }
    }

    /// Compiles a query made by the program; `None` if that fails.
    pub fn of(ast: Ast) -> Option<Self> {
        let compiled = Compiled::of(&ast).ok()?;
        Some(Self { source: ast.to_string(), ast, compiled })
    }

    /// The text as typed.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The syntax tree.
    pub fn ast(&self) -> &Ast {
        &self.ast
    }

    /// A note for the user on how it was interpreted, if there is one.
    pub fn note(&self) -> Option<&str> {
        self.compiled.note.as_deref()
    }

    /// Whether a line matches the query.
    pub fn matches(&self, line: LineRef<'_>) -> bool {
        self.compiled.matches(line, |slotted| slotted.needle.is_in(line.text()))
    }

    /// Where the query matches in a line's text, in order.
    pub fn found_in(&self, text: &str) -> Vec<Range<usize>> {
        self.compiled.found_in(text)
    }

    /// Whether the query matches a line's stage and its level, as shown.
    pub fn names_found(&self, line: LineRef<'_>) -> (bool, bool) {
        self.compiled.names_found(line)
    }
}

/// One detail of a line, as shown.
pub fn detail(line: LineRef<'_>, path: &str) -> Option<String> {
    detail_text(line, path).map(Cow::into_owned)
}

/// The same, borrowed from the line where it is stored as shown.
pub fn detail_text<'a>(line: LineRef<'a>, path: &str) -> Option<Cow<'a, str>> {
    fields::find(line.fields(), path).map(fields::Found::into_text)
}

#[cfg(test)]
mod tests;
