//! `sql`: queries the store.

use std::io::{self, Read, Write};

use color_eyre::eyre::{Context, bail};

use crate::cli::SqlArgs;
use bklit_pipeline::store::{QueryLimits, QueryResult, Store};
use bklit_wire::sql::{cell, row_json, unique};
use bklit_wire::table::Table;
use bklit_wire::text::safe_json;

/// The longest query read from standard input.
const QUERY_BYTES: u64 = 1 << 20;

/// Runs the query and prints its result.
///
/// # Errors
/// When the query is wrong, the store is unavailable, or the output cannot be written.
pub async fn run(args: &SqlArgs, store: &dyn Store) -> color_eyre::Result<()> {
    let query = if args.query == "-" { read_query(io::stdin())? } else { args.query.clone() };
    let limits = QueryLimits::new(args.limit, args.timeout);
    let result = store.query(&query, limits).await?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let printed =
        if args.json { print_json(&result, &mut out) } else { print_table(&result, &mut out) };
    match printed.and_then(|()| out.flush()) {
        // The reader closed the pipe, as in `… | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        other => other.wrap_err("cannot write the result")?,
    }
    if result.truncated {
        eprintln!("{}", truncated(result.rows.len(), limits));
    }
    Ok(())
}

/// What to say about a result that was cut off after this many rows.
fn truncated(rows: usize, limits: QueryLimits) -> String {
    let why = if rows >= limits.rows {
        "see --limit".to_owned()
    } else {
        format!("the result is larger than {} MiB; select less", limits.bytes >> 20)
    };
    format!("Output truncated: only the first {rows} rows are shown ({why})")
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

/// One object per row, its fields in column order.
fn print_json(result: &QueryResult, out: &mut impl Write) -> io::Result<()> {
    let names = unique(&result.columns);
    for row in &result.rows {
        // JSON may contain characters that terminals interpret.
        writeln!(out, "{}", safe_json(&row_json(&names, row)))?;
    }
    Ok(())
}

/// Numbers are aligned to the right.
fn print_table(result: &QueryResult, out: &mut impl Write) -> io::Result<()> {
    let mut table = Table::new(&result.columns).ruled();
    for column in 0..result.columns.len() {
        if result.rows.iter().all(|row| row[column].is_number()) {
            table = table.right_aligned(column);
        }
    }
    for row in &result.rows {
        table.push(row.iter().map(cell));
    }
    write!(out, "{table}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

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
    fn characters_that_terminals_interpret_or_hide_are_escaped() {
        let hidden = ["\u{61c}", "\u{ad}", "\u{e0041}", "\u{1b}", "\u{9b}", "\u{202e}", "\u{feff}"];
        let text = hidden.concat();
        let result = result(&[&text], vec![vec![json!(text)]]);
        let (table, json) = (table(&result), objects(&result));
        for c in hidden {
            assert!(!table.contains(c) && !json.contains(c), "{c:?} in {table:?} or {json:?}");
        }
        assert_eq!(table.matches(r"\u{61c}\u{ad}\u{e0041}").count(), 2, "{table}");
        let read: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read[&text], json!(text));
    }

    #[test]
    fn an_empty_result_is_a_header() {
        assert_eq!(table(&result(&["count()"], vec![])), "count()\n───────\n");
        assert_eq!(objects(&result(&["count()"], vec![])), "");
    }

    #[test]
    fn json_keeps_all_columns_in_order() {
        let rows = vec![vec![json!(1), Value::Null, json!("x\u{9b}\u{202e}\"")]];
        assert_eq!(
            objects(&result(&["z", "a", "z"], rows)),
            "{\"z\":1,\"a\":null,\"z_2\":\"x\\u009b\\u202e\\\"\"}\n"
        );
    }

    #[test]
    fn a_truncated_result_names_the_limit_that_it_has_reached() {
        let limits = QueryLimits::new(10, std::time::Duration::from_secs(1));
        let by_rows = truncated(10, limits);
        assert_eq!(by_rows, "Output truncated: only the first 10 rows are shown (see --limit)");
        let by_size = truncated(9, limits);
        assert!(by_size.contains("64 MiB") && !by_size.contains("--limit"), "{by_size}");
    }

    #[test]
    fn a_query_from_standard_input_has_a_bound() {
        assert_eq!(read_query(&b"SELECT 1"[..]).unwrap(), "SELECT 1");
        assert!(read_query(io::repeat(b' ')).is_err());
    }
}
