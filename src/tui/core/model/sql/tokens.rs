//! The parts of an SQL statement, as far as completion, colours and pasting need them.

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
pub fn tokens(sql: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut start = 0;
    while let Some((kind, length)) = first(&sql[start..]) {
        tokens.push(Token { kind, text: &sql[start..start + length], start });
        start += length;
    }
    tokens
}

/// The kind and the length of the first part.
fn first(sql: &str) -> Option<(Kind, usize)> {
    let c = sql.chars().next()?;
    let run = |is: fn(char) -> bool| sql.find(|c| !is(c)).unwrap_or(sql.len());
    let until = |end: &str, from: usize| {
        sql[from..].find(end).map_or(sql.len(), |at| from + at + end.len())
    };
    Some(match c {
        c if c.is_whitespace() => (Kind::Space, run(char::is_whitespace)),
        c if is_of_word(c) => (Kind::Word, run(is_of_word)),
        // Two quotes within a text are read as two texts.
        '\'' => (Kind::Text, until("'", 1)),
        '"' => (Kind::Name, until("\"", 1)),
        '`' => (Kind::Name, until("`", 1)),
        '-' if sql.starts_with("--") => (Kind::Comment, sql.find('\n').unwrap_or(sql.len())),
        '/' if sql.starts_with("/*") => (Kind::Comment, until("*/", 2)),
        c => (Kind::Other, c.len_utf8()),
    })
}

/// Whether a character can be part of a name without quotes.
pub fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// A statement as one line: comments are left out, since the end of a line ends them, and other line
/// ends become spaces.
pub fn one_line(sql: &str) -> String {
    let parts = tokens(sql.trim()).into_iter().map(|token| match token.kind {
        Kind::Comment => " ".to_owned(),
        _ => token.text.replace(|c: char| c.is_control(), " "),
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds(sql: &str) -> Vec<(Kind, &str)> {
        let shown = tokens(sql).into_iter().filter(|token| token.kind != Kind::Space);
        shown.map(|token| (token.kind, token.text)).collect()
    }

    #[test]
    fn a_statement_has_words_texts_and_comments() {
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
    fn a_pasted_statement_keeps_its_meaning_on_one_line() {
        let pasted = "SELECT url, -- the page\n\t'--x'\nFROM page_view_event\n-- all\n";
        assert_eq!(one_line(pasted), "SELECT url,    '--x' FROM page_view_event  ");
        assert_eq!(one_line("a /* b\nc */ d"), "a   d");
    }

    proptest! {
        #[test]
        fn tokens_are_the_whole_statement(sql in "[a-z'\"`/*\\- \n,.ü]{0,40}") {
            let all = tokens(&sql);
            prop_assert_eq!(all.iter().map(|token| token.text).collect::<String>(), sql.clone());
            prop_assert!(all.iter().all(|token| sql[token.start..].starts_with(token.text)));
            prop_assert!(!one_line(&sql).contains('\n'));
        }
    }
}
