//! `sql`: asks the store.

use std::io::{self, Read, Write};

use color_eyre::eyre::{Context, bail};
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;
use unicode_width::UnicodeWidthStr;

use crate::cli::SqlArgs;
use bklit_pipeline::store::{QueryLimits, QueryResult, Store};

/// The longest query read from standard input.
const QUERY_BYTES: u64 = 1 << 20;

/// Prints what the store answers.
///
/// # Errors
/// What is wrong with the query, or why the store or the output cannot be used.
pub async fn run(args: &SqlArgs, store: &dyn Store) -> color_eyre::Result<()> {
    let query = if args.query == "-" { read_query(io::stdin())? } else { args.query.clone() };
    let limits = QueryLimits { rows: args.limit, time: args.timeout };
    let result = store.query(&query, limits).await?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let printed =
        if args.json { print_json(&result, &mut out) } else { print_table(&result, &mut out) };
    match printed.and_then(|()| out.flush()) {
        // Whoever read it has seen enough, as in `… | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        other => other.wrap_err("cannot write the result")?,
    }
    if result.truncated {
        eprintln!(
            "There is more: only the first {} rows are shown (see --limit)",
            result.rows.len()
        );
    }
    Ok(())
}

fn read_query(input: impl Read) -> color_eyre::Result<String> {
    let mut query = String::new();
    input
        .take(QUERY_BYTES + 1)
        .read_to_string(&mut query)
        .wrap_err("cannot read the query from standard input")?;
    if query.len() as u64 > QUERY_BYTES {
        bail!("the query on standard input is longer than {QUERY_BYTES} bytes");
    }
    Ok(query)
}

/// One object a row, its fields in the order of the columns.
fn print_json(result: &QueryResult, out: &mut impl Write) -> io::Result<()> {
    let names = unique(&result.columns);
    for row in &result.rows {
        let mut line = Vec::new();
        let mut serializer = serde_json::Serializer::new(&mut line);
        let mut object = serializer.serialize_map(Some(row.len()))?;
        for (name, value) in names.iter().zip(row) {
            object.serialize_entry(name, value)?;
        }
        object.end()?;
        let line = String::from_utf8_lossy(&line);
        // JSON lets through what some terminals obey.
        let safe = line.chars().fold(String::with_capacity(line.len()), |mut safe, c| {
            if unsafe_to_print(c) {
                c.encode_utf16(&mut [0; 2])
                    .iter()
                    .for_each(|unit| safe.push_str(&format!("\\u{unit:04x}")));
            } else {
                safe.push(c);
            }
            safe
        });
        writeln!(out, "{safe}")?;
    }
    Ok(())
}

/// Columns of the same name would be one field.
fn unique(columns: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(columns.len());
    for column in columns {
        let numbered = (2..).map(|n| format!("{column}_{n}"));
        let free =
            std::iter::once(column.clone()).chain(numbered).find(|name| !names.contains(name));
        names.extend(free);
    }
    names
}

/// Columns as wide as they need to be, numbers to the right.
fn print_table(result: &QueryResult, out: &mut impl Write) -> io::Result<()> {
    let header: Vec<_> = result.columns.iter().map(|name| escape(name)).collect();
    let rows: Vec<Vec<_>> = result.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    let mut widths: Vec<_> = header.iter().map(|name| name.width()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.text.width());
        }
    }
    let number = |column: usize| rows.iter().all(|row: &Vec<Cell>| row[column].number);
    let names = header.into_iter().enumerate();
    let names = names.map(|(column, text)| Cell { text, number: number(column) });
    print_row(&names.collect::<Vec<_>>(), &widths, out)?;
    let rules: Vec<_> = widths.iter().map(|&width| "─".repeat(width)).collect();
    writeln!(out, "{}", rules.join("  "))?;
    rows.iter().try_for_each(|row| print_row(row, &widths, out))
}

fn print_row(row: &[Cell], widths: &[usize], out: &mut impl Write) -> io::Result<()> {
    let mut line = String::new();
    for (Cell { text, number }, width) in row.iter().zip(widths) {
        let padding = " ".repeat(width.saturating_sub(text.width()));
        let parts = if *number { [&padding, text] } else { [text, &padding] };
        parts.into_iter().for_each(|part| line.push_str(part));
        line.push_str("  ");
    }
    writeln!(out, "{}", line.trim_end())
}

struct Cell {
    text: String,
    number: bool,
}

fn cell(value: &Value) -> Cell {
    let text = match value {
        Value::Null => "NULL".to_owned(),
        Value::String(text) => escape(text),
        other => other.to_string(),
    };
    Cell { text, number: value.is_number() }
}

/// What a terminal would obey instead of showing is written as an escape.
fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut safe, c| {
        if unsafe_to_print(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
        safe
    })
}

/// Control characters, and those that are invisible or turn the direction of writing.
fn unsafe_to_print(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn result(columns: &[&str], rows: Vec<Vec<Value>>) -> QueryResult {
        let columns = columns.iter().map(|&name| name.to_owned()).collect();
        QueryResult { columns, rows, truncated: false }
    }

    fn table(result: &QueryResult) -> String {
        let mut out = Vec::new();
        print_table(result, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn objects(result: &QueryResult) -> String {
        let mut out = Vec::new();
        print_json(result, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_is_aligned_by_what_terminals_show() {
        let rows = vec![
            vec![json!("東京"), json!(7), Value::Null],
            vec![json!("Oslo"), json!(1234.5), json!("a\nb\u{1b}[31m\u{202e}")],
        ];
        let expected = "\
city       n  note
────  ──────  ──────────────────────
東京       7  NULL
Oslo  1234.5  a\\nb\\u{1b}[31m\\u{202e}
";
        assert_eq!(table(&result(&["city", "n", "note"], rows)), expected);
    }

    #[test]
    fn no_rows_are_a_header() {
        assert_eq!(table(&result(&["count()"], vec![])), "count()\n───────\n");
        assert_eq!(objects(&result(&["count()"], vec![])), "");
    }

    #[test]
    fn json_keeps_the_columns_order_and_all_of_them() {
        let rows = vec![vec![json!(1), Value::Null, json!("x\u{9b}\u{202e}\"")]];
        assert_eq!(
            objects(&result(&["z", "a", "z"], rows)),
            "{\"z\":1,\"a\":null,\"z_2\":\"x\\u009b\\u202e\\\"\"}\n"
        );
    }

    #[test]
    fn a_query_from_standard_input_has_a_bound() {
        assert_eq!(read_query(&b"SELECT 1"[..]).unwrap(), "SELECT 1");
        assert!(read_query(io::repeat(b' ')).is_err());
    }
}
