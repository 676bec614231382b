//! Completes the word before the cursor of a query: tables, columns, keywords, functions and saved
//! queries.

use std::collections::HashMap;

use super::saved::SavedQuery;
use super::tokens::{KEYWORDS, Kind, Token, is_keyword, is_of_word, tokens};
use crate::model::palette::{Candidate, MAX_CANDIDATES, cycled};
use bklit_wire::sql::{Engine, SqlSchema, SqlTable};

/// Functions that all stores have.
const FUNCTIONS: &[&str] = &[
    "count(",
    "sum(",
    "avg(",
    "min(",
    "max(",
    "round(",
    "length(",
    "lower(",
    "upper(",
    "coalesce(",
];

/// The completions of the word before the cursor.
#[derive(Debug, Default)]
pub struct Completion {
    /// What could be inserted.
    pub candidates: Vec<Candidate>,
    /// What was inserted.
    pub chosen: Option<usize>,
    /// The start of the word, in bytes.
    start: usize,
}

/// What completions come from.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'s> {
    /// The tables, if known.
    pub schema: Option<&'s SqlSchema>,
    /// The saved queries.
    pub saved: &'s [SavedQuery],
}

impl Completion {
    /// The completions at the cursor, a position in bytes; without a word there only if `always`.
    pub fn of(sql: &str, cursor: usize, sources: Sources<'_>, always: bool) -> Self {
        let engine = sources.schema.map(|schema| schema.engine);
        let before = tokens(&sql[..cursor], engine);
        let word = before.last().filter(|token| token.kind == Kind::Word);
        let start = word.map_or(cursor, |word| word.start);
        let word = word.map_or("", |word| word.text);
        let before = significant(&before, start);
        let is_inside = before.last().is_some_and(|last| {
            matches!(last.kind, Kind::Text | Kind::Name) && last.start + last.text.len() == cursor
        });
        let is_wanted = !word.is_empty() || always || before.last().is_some_and(|t| t.text == ".");
        let is_within = sql[cursor..].starts_with(is_of_word);
        let is_number = word.starts_with(|c: char| c.is_ascii_digit());
        if !is_wanted || is_within || is_number || is_inside {
            return Self::default();
        }
        let mut candidates = all(sql, &before, word, sources);
        candidates.retain(|one| fits(&one.word, word));
        candidates.truncate(MAX_CANDIDATES);
        Self { candidates, chosen: None, start }
    }

    /// Chooses the next or previous one. Returns the statement with it, and the cursor's position in
    /// bytes.
    pub fn choose(&mut self, sql: &str, cursor: usize, forward: bool) -> Option<(String, usize)> {
        let next = cycled(self.chosen, self.candidates.len(), forward);
        let candidate = self.candidates.get(next)?;
        let (head, tail) = (sql.get(..self.start)?, sql.get(cursor..)?);
        self.chosen = Some(next);
        let end = head.len() + candidate.word.len();
        let completed = (format!("{head}{}{tail}", candidate.word), end);
        if self.candidates.len() == 1 {
            *self = Self::default();
        }
        Some(completed)
    }

    /// The number of completions scrolled off at the top.
    pub fn top(&self, height: usize) -> usize {
        self.chosen.map_or(0, |nth| (nth + 1).saturating_sub(height))
    }
}

/// The tokens before a position without spaces and comments.
fn significant<'s>(all: &[Token<'s>], end: usize) -> Vec<Token<'s>> {
    let tokens = all.iter().copied().filter(|token| token.start < end);
    tokens.filter(|token| !matches!(token.kind, Kind::Space | Kind::Comment)).collect()
}

/// Whether a word completes the start of one.
fn fits(word: &str, start: &str) -> bool {
    let mut chars = word.trim_start_matches('"').chars();
    start.chars().all(|wanted| chars.next().is_some_and(|c| c.eq_ignore_ascii_case(&wanted)))
        && word != start
}

fn all(sql: &str, before: &[Token<'_>], word: &str, sources: Sources<'_>) -> Vec<Candidate> {
    let tables = sources.schema.map_or(&[][..], |schema| &schema.tables);
    let used = used_tables(sql, sources.schema.map(|schema| schema.engine), tables);
    if let [.., table, dot] = before
        && dot.text == "."
    {
        let named = used.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(table.text));
        let table = named.map(|(_, table)| *table).or_else(|| find(tables, table.text));
        return table.map(|table| columns(&[table], word)).unwrap_or_default();
    }
    let follows =
        |keyword: &str| before.last().is_some_and(|last| last.text.eq_ignore_ascii_case(keyword));
    if follows("FROM") || follows("JOIN") {
        return tables.iter().map(table_candidate).collect();
    }
    let mut found = Vec::new();
    if before.is_empty() {
        let saved = sources.saved.iter();
        found.extend(saved.map(|saved| plain(&saved.name, &saved.help)));
    } else {
        let mut of: Vec<_> = used.iter().map(|(_, table)| *table).collect();
        if of.is_empty() {
            of = tables.iter().collect();
        }
        found.extend(columns(&of, word));
        found.extend(tables.iter().map(table_candidate));
    }
    let is_lower = word.starts_with(|c: char| c.is_lowercase());
    let cased = |word: &str| if is_lower { word.to_lowercase() } else { word.to_owned() };
    found.extend(KEYWORDS.iter().map(|word| plain(&cased(word), "")));
    if !before.is_empty() {
        found.extend(FUNCTIONS.iter().map(|name| plain(name, "function")));
    }
    found
}

fn plain(word: &str, help: &str) -> Candidate {
    Candidate { word: word.to_owned(), help: help.to_owned() }
}

fn table_candidate(table: &SqlTable) -> Candidate {
    let count = bklit_wire::numbers::plural(table.columns.len() as u64, "column");
    Candidate { word: quoted(&table.name), help: format!("table, {count}") }
}

/// The columns of tables that complete a word, as many as are offered; one that several tables have is
/// listed once.
fn columns(tables: &[&SqlTable], start: &str) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for table in tables {
        for column in table.columns.iter().filter(|column| fits(&quoted(&column.name), start)) {
            match places.get(column.name.as_str()) {
                Some(&place) => found[place].help.push_str(&format!(", {}", table.name)),
                None if found.len() < MAX_CANDIDATES => {
                    places.insert(&column.name, found.len());
                    found.push(Candidate {
                        word: quoted(&column.name),
                        help: format!("{} {}", column.r#type, table.name),
                    });
                }
                None => {}
            }
        }
    }
    found
}

/// A name, in quotes if it needs them.
fn quoted(name: &str) -> String {
    let is_plain = name.chars().all(is_of_word)
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !is_keyword(name);
    if is_plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn find<'t>(tables: &'t [SqlTable], name: &str) -> Option<&'t SqlTable> {
    let name = name.trim_matches(['"', '`']);
    tables.iter().find(|table| table.name.eq_ignore_ascii_case(name))
}

/// The tables that a statement reads, with the names that it gives them.
fn used_tables<'s>(
    sql: &'s str,
    engine: Option<Engine>,
    tables: &'s [SqlTable],
) -> Vec<(&'s str, &'s SqlTable)> {
    let all = tokens(sql, engine);
    let all = significant(&all, sql.len());
    let mut used = Vec::new();
    for (nth, token) in all.iter().enumerate() {
        let reads = ["FROM", "JOIN"].iter().any(|word| token.text.eq_ignore_ascii_case(word));
        let Some(name) = all.get(nth + 1).filter(|_| reads) else { continue };
        let Some(table) = find(tables, name.text) else { continue };
        let mut rest = all[nth + 2..].iter();
        let mut alias = rest.next();
        if alias.is_some_and(|word| word.text.eq_ignore_ascii_case("AS")) {
            alias = rest.next();
        }
        let is_alias = |word: &&Token<'_>| word.kind == Kind::Word && !is_keyword(word.text);
        used.push((alias.filter(is_alias).map_or(name.text, |alias| alias.text), table));
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;
    use bklit_wire::sql::SqlColumn;

    fn schema() -> SqlSchema {
        let table = |name: &str, columns: &[&str]| SqlTable {
            name: name.to_owned(),
            columns: columns
                .iter()
                .map(|name| SqlColumn { name: (*name).to_owned(), r#type: "TEXT".to_owned() })
                .collect(),
        };
        let tables = vec![
            table("page_view_event", &["id", "url", "project_id", "utm source"]),
            table("tracked_event", &["id", "event_definition_id", "project_id"]),
        ];
        SqlSchema { engine: Engine::Sqlite, tables }
    }

    /// The completions where `|` is.
    fn words(sql: &str, always: bool) -> Vec<String> {
        let (schema, cursor) = (schema(), sql.find('|').unwrap());
        let saved = [SavedQuery {
            name: "pages".to_owned(),
            query: "SELECT 1".to_owned(),
            help: String::new(),
            is_own: true,
        }];
        let sources = Sources { schema: Some(&schema), saved: &saved };
        let found = Completion::of(&sql.replace('|', ""), cursor, sources, always);
        found.candidates.into_iter().map(|candidate| candidate.word).collect()
    }

    #[test]
    fn completions_depend_on_the_text_before() {
        assert_eq!(words("pa|", false), ["pages", "PARTITION".to_lowercase().as_str()]);
        assert_eq!(words("SEL|", false), ["SELECT"]);
        assert_eq!(words("sel|", false), ["select"]);
        assert_eq!(words("SELECT u| FROM page_view_event", false)[..1], ["url"]);
        assert_eq!(words("SELECT * FROM p|", false), ["page_view_event"]);
        assert_eq!(words("SELECT * FROM |", true), ["page_view_event", "tracked_event"]);
        assert_eq!(words("SELECT v.| FROM page_view_event AS v", false).len(), 4);
        assert_eq!(words("SELECT v.u| FROM page_view_event v", false), ["url", "\"utm source\""]);
        assert_eq!(words("SELECT tracked_event.ev|", false), ["event_definition_id"]);
        let of_one = words("SELECT e| FROM page_view_event", false);
        assert!(!of_one.contains(&"event_definition_id".to_owned()), "{of_one:?}");
        assert!(words("SELECT COU| FROM t", false).contains(&"count(".to_owned()));
    }

    #[test]
    fn nothing_is_completed_in_strings_numbers_or_within_words() {
        for sql in ["SELECT 'ur|", "SELECT 'ur'|", "SELECT 12|", "SELECT u|rl", "SELECT url |", "|"]
        {
            assert_eq!(words(sql, false), [""; 0], "{sql}");
        }
        assert_eq!(words("SELECT project_id|", false), [""; 0], "complete");
    }

    #[test]
    fn thousands_of_columns_are_completed_at_once() {
        let column =
            |nth: usize| SqlColumn { name: format!("column_{nth}"), r#type: "TEXT".into() };
        let table = |nth: usize| SqlTable {
            name: format!("table_{nth}"),
            columns: (0..10_000).map(column).collect(),
        };
        let schema = SqlSchema { engine: Engine::Clickhouse, tables: (0..2).map(table).collect() };
        let sources = Sources { schema: Some(&schema), saved: &[] };
        for sql in ["SELECT c", "SELECT col", "SELECT column_9999"].repeat(10) {
            let found = Completion::of(sql, sql.len(), sources, false).candidates;
            assert!(found.len() <= MAX_CANDIDATES);
        }
        let found = Completion::of("SELECT column_999", 17, sources, false).candidates;
        assert_eq!(found[0].help, "TEXT table_0, table_1");
        assert_eq!(found.len(), 10);
        // More are never collected.
        let tables: Vec<_> = schema.tables.iter().collect();
        assert_eq!(columns(&tables, "c").len(), MAX_CANDIDATES);
    }

    #[test]
    fn completions_cycle_and_replace_only_the_word() {
        let schema = schema();
        let sources = Sources { schema: Some(&schema), saved: &[] };
        let sql = "SELECT i FROM tracked_event";
        let mut completion = Completion::of(sql, 8, sources, false);
        let all = completion.candidates.len();
        assert!(all > 2);
        let (mut sql, mut cursor) = (sql.to_owned(), 8);
        let mut seen = Vec::new();
        for _ in 0..=all {
            (sql, cursor) = completion.choose(&sql, cursor, true).unwrap();
            assert!(sql.ends_with(" FROM tracked_event"), "{sql}");
            seen.push(sql[7..cursor].to_owned());
        }
        assert_eq!((seen[0].as_str(), &seen[0]), ("id", &seen[all]));
        (_, cursor) = completion.choose(&sql, cursor, false).unwrap();
        assert!(cursor > 7);
        assert_eq!(Completion::default().choose("", 0, true), None);
    }
}
