//! Replacements for functions of SQLite whose time grows with the product of the lengths of their
//! arguments. SQLite does not check the time limit within a call, so a single call could take
//! hours. The time of the replacements grows with the sum.

use std::borrow::Cow;
use std::collections::HashSet;

use memchr::memmem;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, Result};

/// Replaces the functions in the queries of a connection; their results have at most `longest` bytes.
pub(super) fn replace_slow(connection: &Connection, longest: usize) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    for (name, start, end) in [("trim", true, true), ("ltrim", true, false), ("rtrim", false, true)]
    {
        let trim = move |context: &Context<'_>| trimmed(context, start, end);
        connection.create_scalar_function(name, 2, flags, trim)?;
    }
    connection.create_scalar_function("instr", 2, flags, position)?;
    let replace = move |context: &Context<'_>| replaced(context, longest);
    connection.create_scalar_function("replace", 3, flags, replace)
}

/// An argument as text; `None` if it is null.
fn text<'c>(context: &'c Context<'_>, nth: usize) -> Result<Option<Cow<'c, [u8]>>> {
    Ok(match context.get_raw(nth) {
        ValueRef::Null => None,
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes.into()),
        ValueRef::Integer(number) => Some(number.to_string().into_bytes().into()),
        // How SQLite writes it is not known here.
        ValueRef::Real(_) => {
            let says = "this function takes text; use CAST(… AS TEXT) for a real number";
            return Err(Error::UserFunctionError(says.into()));
        }
    })
}

/// `trim(X, Y)`: X without the characters of Y at its start, its end or both.
fn trimmed(context: &Context<'_>, start: bool, end: bool) -> Result<Option<String>> {
    let (Some(text), Some(set)) = (text(context, 0)?, text(context, 1)?) else { return Ok(None) };
    let (text, set) = (String::from_utf8_lossy(&text), String::from_utf8_lossy(&set));
    let set: HashSet<char> = set.chars().collect();
    let mut rest: &str = &text;
    if start {
        rest = rest.trim_start_matches(|c| set.contains(&c));
    }
    if end {
        rest = rest.trim_end_matches(|c| set.contains(&c));
    }
    Ok(Some(rest.to_owned()))
}

/// `instr(X, Y)`: the place of Y in X, from 1 on, in characters, or in bytes if both are blobs.
fn position(context: &Context<'_>) -> Result<Option<i64>> {
    let (Some(text), Some(part)) = (text(context, 0)?, text(context, 1)?) else { return Ok(None) };
    let is_blob = |nth| matches!(context.get_raw(nth), ValueRef::Blob(_));
    let Some(at) = memmem::find(&text, &part) else { return Ok(Some(0)) };
    let before = &text[..at];
    let units = if is_blob(0) && is_blob(1) {
        before.len()
    } else {
        // Of each character, all bytes but the first one start with the bits 10.
        before.iter().filter(|&&byte| byte & 0xc0 != 0x80).count()
    };
    Ok(i64::try_from(units).ok().map(|units| units + 1))
}

/// `replace(X, Y, Z)`: X with Z for each Y.
fn replaced(context: &Context<'_>, longest: usize) -> Result<Option<String>> {
    let (Some(text), Some(part)) = (text(context, 0)?, text(context, 1)?) else { return Ok(None) };
    if part.is_empty() {
        return Ok(Some(String::from_utf8_lossy(&text).into_owned()));
    }
    let Some(other) = self::text(context, 2)? else { return Ok(None) };
    let mut found = Vec::with_capacity(text.len());
    let mut rest = 0;
    for at in memmem::find_iter(&text, &part) {
        found.extend_from_slice(&text[rest..at]);
        found.extend_from_slice(&other);
        rest = at + part.len();
        if found.len() > longest {
            return Err(Error::UserFunctionError("string or blob too big".into()));
        }
    }
    found.extend_from_slice(&text[rest..]);
    Ok(Some(String::from_utf8_lossy(&found).into_owned()))
}
