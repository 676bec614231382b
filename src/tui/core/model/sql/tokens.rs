//! The parts of an SQL statement, as far as completion and colours need them.

use bklit_wire::sql::Engine;

/// The kind of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A keyword, a name or a number.
    Word,
    /// A name in quotes.
    Name,
    /// A text in single quotes, possibly without its end.
    Text,
    /// A comment.
    Comment,
    /// White space.
    Space,
    /// Another character.
    Other,
}

/// A part of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'s> {
    /// Its kind.
    pub kind: Kind,
    /// Its text.
    pub text: &'s str,
    /// Its position, in bytes.
    pub start: usize,
}

/// Words that are part of the language, as far as they are completed and shown.
pub const KEYWORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "BY",
    "ORDER",
    "HAVING",
    "LIMIT",
    "OFFSET",
    "AS",
    "AND",
    "OR",
    "NOT",
    "IN",
    "IS",
    "NULL",
    "LIKE",
    "BETWEEN",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "DISTINCT",
    "JOIN",
    "LEFT",
    "INNER",
    "CROSS",
    "ON",
    "USING",
    "UNION",
    "ALL",
    "WITH",
    "ASC",
    "DESC",
    "EXISTS",
    "OVER",
    "PARTITION",
];

/// Whether a word is one of [`KEYWORDS`].
pub fn is_keyword(word: &str) -> bool {
    KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(word))
}

/// The parts of a statement; together they are the whole statement.
pub fn tokens(sql: &str, engine: Option<Engine>) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut start = 0;
    while let Some((kind, length)) = first(&sql[start..], engine == Some(Engine::Clickhouse)) {
        tokens.push(Token { kind, text: &sql[start..start + length], start });
        start += length;
    }
    tokens
}

/// The kind and the length of the first part. ClickHouse also knows escapes in quotes and comments
/// that start with `#`.
fn first(sql: &str, is_clickhouse: bool) -> Option<(Kind, usize)> {
    let c = sql.chars().next()?;
    let run = |is: fn(char) -> bool| sql.find(|c| !is(c)).unwrap_or(sql.len());
    // Two quotes within a text are read as two texts.
    let quoted = || {
        let mut is_escaped = false;
        let end = sql[1..].find(|other| {
            let is_end = other == c && !is_escaped;
            is_escaped = is_clickhouse && other == '\\' && !is_escaped;
            is_end
        });
        end.map_or(sql.len(), |end| end + 2)
    };
    let starts_line_comment = || {
        sql.starts_with("--") || is_clickhouse && (sql.starts_with("# ") || sql.starts_with("#!"))
    };
    Some(match c {
        c if c.is_whitespace() => (Kind::Space, run(char::is_whitespace)),
        c if is_of_word(c) => (Kind::Word, run(is_of_word)),
        '\'' => (Kind::Text, quoted()),
        '"' | '`' => (Kind::Name, quoted()),
        '-' | '#' if starts_line_comment() => (Kind::Comment, sql.find('\n').unwrap_or(sql.len())),
        '/' if sql.starts_with("/*") => {
            (Kind::Comment, sql[2..].find("*/").map_or(sql.len(), |end| end + 4))
        }
        c => (Kind::Other, c.len_utf8()),
    })
}

/// Whether a character can be part of a name without quotes.
pub fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds(sql: &str) -> Vec<(Kind, &str)> {
        let shown = tokens(sql, None).into_iter().filter(|token| token.kind != Kind::Space);
        shown.map(|token| (token.kind, token.text)).collect()
    }

    #[test]
    fn statements_are_split_into_words_strings_and_comments() {
        use Kind::{Comment, Name, Other, Text, Word};
        assert_eq!(
            kinds("SELECT e.id, 'it''s -- no' FROM \"a b\" -- end\n/* c */ x"),
            [
                (Word, "SELECT"),
                (Word, "e"),
                (Other, "."),
                (Word, "id"),
                (Other, ","),
                (Text, "'it'"),
                (Text, "'s -- no'"),
                (Word, "FROM"),
                (Name, "\"a b\""),
                (Comment, "-- end"),
                (Comment, "/* c */"),
                (Word, "x"),
            ]
        );
        assert_eq!(kinds("'open"), [(Text, "'open")]);
        assert_eq!(kinds("/* open"), [(Comment, "/* open")]);
        assert_eq!(kinds("größe-1"), [(Word, "größe"), (Other, "-"), (Word, "1")]);
        assert!(is_keyword("select") && !is_keyword("url"));
    }

    #[test]
    fn escapes_and_comments_are_those_of_the_store() {
        use Kind::{Comment, Other, Text, Word};
        let sql = "'it\\'s -- x', b # all\n";
        let of = |engine| {
            let shown = tokens(sql, Some(engine)).into_iter();
            let shown = shown.filter(|token| token.kind != Kind::Space);
            shown.map(|token| (token.kind, token.text)).collect::<Vec<_>>()
        };
        let clickhouse = [(Text, "'it\\'s -- x'"), (Other, ","), (Word, "b"), (Comment, "# all")];
        assert_eq!(of(Engine::Clickhouse), clickhouse);
        assert_eq!(
            of(Engine::Sqlite),
            [(Text, "'it\\'"), (Word, "s"), (Comment, "-- x', b # all")]
        );
        assert_eq!(tokens("'a\\\\' b", Some(Engine::Clickhouse)).len(), 3);
    }

    proptest! {
        #[test]
        fn tokens_are_the_whole_statement(sql in "[a-z'\"`/*\\\\#\\- \n,.ü]{0,40}", any: bool) {
            let all = tokens(&sql, any.then_some(Engine::Clickhouse));
            prop_assert_eq!(all.iter().map(|token| token.text).collect::<String>(), sql.clone());
            prop_assert!(all.iter().all(|token| sql[token.start..].starts_with(token.text)));
        }
    }
}
