//! The parts of SQL that the HTTP interface itself has to understand: where an insert's data
//! begins, and whether there is exactly one statement.

/// What to do with a statement and the body that came with it.
#[derive(Debug, PartialEq, Eq)]
pub enum Statement<'a> {
    /// Runs as it is.
    Plain(&'a [u8]),
    /// An insert whose rows follow in a format. The engine would take them for more SQL (and end
    /// them at an empty line), so they are passed as a file between `head` and `tail`.
    Insert { head: &'a [u8], tail: &'a [u8], data: &'a [u8] },
    /// Only white space and comments.
    Empty,
    /// A query whose rows go into a file, which the HTTP interface refuses. The engine itself would
    /// write the file.
    IntoFile,
    /// More than one statement, which the HTTP interface refuses.
    Several,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Quoted,
    Open,
    Close,
    Semicolon,
    Other,
}

#[derive(Debug, Clone, Copy)]
struct Token {
    kind: Kind,
    start: usize,
    end: usize,
}

impl Token {
    fn is(&self, sql: &[u8], word: &str) -> bool {
        self.kind == Kind::Word && sql[self.start..self.end].eq_ignore_ascii_case(word.as_bytes())
    }
}

/// Classifies the statement in `sql`, which may be followed by data.
pub fn analyse(sql: &[u8]) -> Statement<'_> {
    let mut tokens = Tokens { sql, at: 0 };
    let Some(first) = tokens.next() else {
        return Statement::Empty;
    };
    if first.is(sql, "INSERT") {
        if let Some(insert) = insert(sql, &mut tokens) {
            return insert;
        }
        tokens.at = first.end;
    }
    let mut ended = first.kind == Kind::Semicolon;
    let mut before = first;
    for token in tokens {
        if before.is(sql, "INTO") && token.is(sql, "OUTFILE") {
            return Statement::IntoFile;
        }
        before = token;
        if ended && token.kind != Kind::Semicolon {
            return Statement::Several;
        }
        ended |= token.kind == Kind::Semicolon;
    }
    Statement::Plain(sql)
}

/// `None` when the rows don't follow in a format: `VALUES`, `SELECT`, a file.
fn insert<'a>(sql: &'a [u8], tokens: &mut Tokens<'a>) -> Option<Statement<'a>> {
    let mut depth = 0_usize;
    let mut settings = None;
    while let Some(token) = tokens.next() {
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            _ if ["VALUES", "SELECT", "WITH", "FROM"].iter().any(|word| token.is(sql, word)) => {
                return None;
            }
            _ if token.is(sql, "SETTINGS") => settings = Some(token.start),
            _ if token.is(sql, "FORMAT") => {
                let format = tokens.next().filter(|name| name.kind == Kind::Word)?;
                let split = settings.unwrap_or(token.start);
                return Some(Statement::Insert {
                    head: &sql[..split],
                    tail: &sql[split..format.end],
                    data: data(&sql[format.end..]),
                });
            }
            _ => {}
        }
    }
    None
}

/// White space and one line end separate the format's name from the data; anything after that
/// belongs to the data.
fn data(rest: &[u8]) -> &[u8] {
    let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\x0c')).count();
    let rest = &rest[blanks..];
    rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n")).unwrap_or(rest)
}

struct Tokens<'a> {
    sql: &'a [u8],
    at: usize,
}

impl Tokens<'_> {
    fn skip_blanks(&mut self) {
        loop {
            let rest = &self.sql[self.at..];
            let skipped = if rest.starts_with(b"--") {
                rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
            } else if rest.starts_with(b"/*") {
                rest.windows(2).position(|pair| pair == b"*/").map_or(rest.len(), |at| at + 2)
            } else {
                rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
            };
            if skipped == 0 {
                return;
            }
            self.at += skipped;
        }
    }

    /// The end of a quoted string: a backslash escapes, and so does doubling the quote, which reads
    /// as two adjacent strings.
    fn quoted(&self, quote: u8) -> usize {
        let mut at = self.at + 1;
        while at < self.sql.len() {
            match self.sql[at] {
                b'\\' => at += 2,
                byte if byte == quote => return at + 1,
                _ => at += 1,
            }
        }
        self.sql.len()
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.skip_blanks();
        let start = self.at;
        let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let (kind, end) = match *self.sql.get(start)? {
            quote @ (b'\'' | b'"' | b'`') => (Kind::Quoted, self.quoted(quote)),
            b'(' | b'[' | b'{' => (Kind::Open, start + 1),
            b')' | b']' | b'}' => (Kind::Close, start + 1),
            b';' => (Kind::Semicolon, start + 1),
            byte if word(&byte) => {
                (Kind::Word, start + self.sql[start..].iter().take_while(|byte| word(byte)).count())
            }
            _ => (Kind::Other, start + 1),
        };
        self.at = end;
        Some(Token { kind, start, end })
    }
}

#[cfg(test)]
mod tests {
    use super::{Statement, analyse};

    fn data(sql: &[u8]) -> &[u8] {
        match analyse(sql) {
            Statement::Insert { data, .. } => data,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rows_begin_after_the_format_and_one_line_end() {
        assert_eq!(data(b"INSERT INTO t(a) FORMAT RowBinary\n\n\n;x"), b"\n\n;x");
        assert_eq!(data(b"INSERT INTO t(a) FORMAT RowBinary \n x"), b" x");
        assert_eq!(data(b"insert into t format JSONEachRow {\"a\":1}"), b"{\"a\":1}");
        assert_eq!(data(b"INSERT INTO t FORMAT RowBinary"), b"");
    }

    #[test]
    fn the_file_goes_before_the_settings() {
        let sql = b"INSERT INTO `format`.t(a) SETTINGS x='FORMAT' FORMAT TSV\n1";
        let expected = Statement::Insert {
            head: b"INSERT INTO `format`.t(a) ",
            tail: b"SETTINGS x='FORMAT' FORMAT TSV",
            data: b"1",
        };
        assert_eq!(analyse(sql), expected);
    }

    #[test]
    fn other_inserts_stay_as_they_are() {
        for sql in ["INSERT INTO t VALUES (';', 'FORMAT x')", "INSERT INTO t SELECT 1 FORMAT Null"]
        {
            assert_eq!(analyse(sql.as_bytes()), Statement::Plain(sql.as_bytes()));
        }
    }

    #[test]
    fn rows_are_never_written_to_a_file() {
        for sql in ["SELECT 1 INTO OUTFILE 'x'", "select 1 into /* a */ outfile 'x' format CSV"] {
            assert_eq!(analyse(sql.as_bytes()), Statement::IntoFile, "{sql}");
        }
        let sql = "SELECT 'INTO OUTFILE', `into` AS outfile";
        assert_eq!(analyse(sql.as_bytes()), Statement::Plain(sql.as_bytes()));
    }

    #[test]
    fn one_statement_only() {
        assert_eq!(analyse(b" -- nothing\n/* here */ "), Statement::Empty);
        assert_eq!(analyse(b"SELECT 1; SELECT 2"), Statement::Several);
        for sql in ["SELECT ';1', 'it''s;'; -- end", "SELECT 1;", "SELECT '\\';'"] {
            assert_eq!(analyse(sql.as_bytes()), Statement::Plain(sql.as_bytes()), "{sql}");
        }
    }
}
