//! The language of filter and search boxes.
//!
//! All that is typed must be true of a line:
//!
//! | | |
//! | --- | --- |
//! | `timeout` `"bad gateway"` | words and phrases, in what the line shows; stages and levels too |
//! | `/wor.er/` `a.*b` | regular expressions; a word with the signs of one is one |
//! | `stage:worker,clickhouse` | stages |
//! | `level:warn` `level:>=warn` | levels |
//! | `project:p1` | the project's whole id |
//! | `id:3f2a` | a part of the event id: its end is what the log shows |
//! | `dur:>50` `dur:>1.5s` `dur:10..50` | the duration, in ms without a unit |
//! | `data.url:/checkout` `data.size:>10` `data.a.b:*` | a detail has this in it, compares, is there |
//! | `-stage:queue` `-word` | not that |
//! | `!…` | in a filter: all other lines |
//!
//! Capitals matter in a word once it has one.

pub mod ast;
mod compiled;
mod fields;
mod folded;
mod literal;
mod parser;
pub mod scanner;

use std::ops::Range;

use self::ast::Ast;
use self::compiled::Compiled;
use super::line::LineRef;

/// What a query is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// What is highlighted.
    Search,
    /// What is shown; a `!` before it keeps all other lines.
    Filter,
}

/// A mistake in what was typed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at {}: {message}", at + 1)]
pub struct QueryError {
    /// Where, in characters from the beginning.
    pub at: usize,
    /// How many characters are meant; at least one.
    pub length: usize,
    /// What is wrong and what would be right.
    pub message: String,
}

/// What was typed into a box, ready to look for.
#[derive(Clone, Debug)]
pub struct Query {
    source: String,
    ast: Ast,
    compiled: Compiled,
}

impl Query {
    /// Reads what was typed; `None` when nothing was.
    ///
    /// # Errors
    /// With the first mistake and its place.
    pub fn parse(source: &str, purpose: Purpose) -> Result<Option<Self>, QueryError> {
        match Self::read(source, purpose) {
            (_, Some(mistake)) => Err(mistake),
            (query, None) => Ok(query),
        }
    }

    /// Reads what was typed so far: what is right of it, and the first mistake.
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

    /// A query made by the program itself; `None` if it cannot be looked for.
    pub fn of(ast: Ast) -> Option<Self> {
        let compiled = Compiled::of(&ast).ok()?;
        Some(Self { source: ast.to_string(), ast, compiled })
    }

    /// What was typed.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What it says.
    pub fn ast(&self) -> &Ast {
        &self.ast
    }

    /// What is to be told about how it was taken, if anything.
    pub fn note(&self) -> Option<&str> {
        self.compiled.note.as_deref()
    }

    /// Whether the line is what the query asks for.
    pub fn matches(&self, line: LineRef<'_>) -> bool {
        self.compiled.matches(line, |slotted| slotted.needle.is_in(line.text()))
    }

    /// Where in a line's text what is asked for is found, in order.
    pub fn found_in(&self, text: &str) -> Vec<Range<usize>> {
        self.compiled.found_in(text)
    }

    /// Whether a line's stage and level, as they are shown, are found.
    pub fn names_found(&self, line: LineRef<'_>) -> (bool, bool) {
        self.compiled.names_found(line)
    }
}

/// One detail of a line, as it is shown.
pub fn detail(line: LineRef<'_>, path: &str) -> Option<String> {
    fields::find(line.fields(), path).map(|found| found.text().into_owned())
}

#[cfg(test)]
mod tests;
