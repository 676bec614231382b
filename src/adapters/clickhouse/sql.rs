//! Literals and identifiers in SQL text.

use std::fmt::Write as _;

/// Quotes a text as a string literal.
pub(super) fn literal(text: &str) -> String {
    let mut sql = String::with_capacity(text.len() + 2);
    sql.push('\'');
    for c in text.chars() {
        match c {
            '\'' | '\\' => sql.extend(['\\', c]),
            '\0'..='\x1f' | '\x7f' => {
                // Writing to a String cannot fail.
                let _ = write!(sql, "\\x{:02X}", u32::from(c));
            }
            other => sql.push(other),
        }
    }
    sql.push('\'');
    sql
}

/// A text column of any type, as a `String`. NULL becomes an empty text.
pub(super) fn text(column: &str) -> String {
    format!("CAST(ifNull(toString({column}), ''), 'String')")
}

/// Quotes texts as a comma-separated list for `IN`.
pub(super) fn list<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    texts.into_iter().map(literal).collect::<Vec<_>>().join(", ")
}

/// A condition that is true if `column` is one of `texts`. The texts are passed as one literal,
/// because the server's parser takes longer for a list of thousands of literals than the query
/// itself.
pub(super) fn is_one_of<'a>(column: &str, texts: impl IntoIterator<Item = &'a str>) -> String {
    let (odd, plain): (Vec<_>, Vec<_>) = texts.into_iter().partition(|text| text.contains('\n'));
    let joined = literal(&plain.join("\n"));
    let mut condition = format!("{column} IN (SELECT arrayJoin(splitByChar('\\n', {joined})))");
    if !odd.is_empty() {
        condition = format!("({condition} OR {column} IN ({}))", list(odd));
    }
    condition
}

/// Quotes the name of a database, table or column if necessary.
pub(super) fn name(name: &str) -> String {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if first && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return name.to_owned();
    }
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_names_are_escaped() {
        assert_eq!(literal("it's \\ \n\0ø"), r"'it\'s \\ \x0A\x00ø'");
        assert_eq!(list(["a", "b'"]), r"'a', 'b\''");
        assert_eq!(name("analytics"), "analytics");
        assert_eq!(name("a-b`c"), r"`a-b\`c`");
    }

    #[test]
    fn texts_with_the_separator_are_listed_separately() {
        assert_eq!(
            is_one_of("id", ["a", "b\nc", "d"]),
            r"(id IN (SELECT arrayJoin(splitByChar('\n', 'a\x0Ad'))) OR id IN ('b\x0Ac'))"
        );
    }
}
