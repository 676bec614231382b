//! Exports the lines of a pane, or the rows of a query's result, to a file, piece by piece; the next
//! piece is requested when the previous one is on disk.

use std::sync::Arc;

use super::filter::Filter;
use super::line::LineRef;
use super::line_ring::LineRing;
use super::palette::commands::Format;
use super::sql::table::ResultTable;
use bklit_wire::debug_log::Level;
use bklit_wire::sql::cell;

/// The most lines examined per piece.
const PIECE_LINES: u64 = 20_000;
/// A piece ends with the line that exceeds this size.
const PIECE_BYTES: usize = 1 << 20;

/// An export in progress.
#[derive(Debug)]
pub struct Export {
    content: Content,
    format: Format,
    first: u64,
    next: u64,
    end: u64,
    begun: bool,
    /// Whether a piece is being written.
    pub waits: bool,
    /// The number of lines written.
    pub lines: u64,
    /// The number of lines that the ring dropped before they were written.
    pub missed: u64,
}

/// What is exported.
#[derive(Debug)]
enum Content {
    /// The lines that pass a filter.
    Lines(Box<Filter>),
    /// The rows of a result.
    Rows(Arc<ResultTable>),
}

impl Export {
    /// Starts an export of the lines in this range that pass the filter.
    pub fn new(filter: Filter, format: Format, first: u64, end: u64) -> Self {
        Self::of(Content::Lines(Box::new(filter)), format, first, end)
    }

    /// Starts an export of all rows of a result.
    pub fn of_rows(table: Arc<ResultTable>, format: Format) -> Self {
        let end = table.rows().len() as u64;
        Self::of(Content::Rows(table), format, 0, end)
    }

    fn of(content: Content, format: Format, first: u64, end: u64) -> Self {
        let (next, begun, lines, missed) = (first, false, 0, 0);
        // The file has to be created first.
        Self { content, format, first, next, end, begun, waits: true, lines, missed }
    }

    /// What is counted.
    pub fn noun(&self) -> &'static str {
        match self.content {
            Content::Lines(_) => "line",
            Content::Rows(_) => "row",
        }
    }

    /// The progress, in percent.
    pub fn progress(&self) -> u64 {
        (self.next - self.first) * 100 / (self.end - self.first).max(1)
    }

    /// The next piece; `None` at the end.
    pub fn piece(&mut self, ring: &LineRing) -> Option<String> {
        let mut piece = String::new();
        if !std::mem::replace(&mut self.begun, true) && self.format == Format::Csv {
            match &self.content {
                Content::Lines(_) => piece.push_str(LINE_COLUMNS),
                Content::Rows(table) => push_cells(&mut piece, table.columns()),
            }
        }
        if self.next >= self.end && piece.is_empty() {
            return None;
        }
        match &self.content {
            Content::Lines(filter) => {
                let filter = filter.clone();
                self.next = self.push_lines(&mut piece, &filter, ring);
            }
            Content::Rows(table) => self.push_rows(&mut piece, &Arc::clone(table)),
        }
        self.waits = true;
        Some(piece)
    }

    /// Adds lines to a piece. Returns the number of the next line.
    fn push_lines(&mut self, piece: &mut String, filter: &Filter, ring: &LineRing) -> u64 {
        let first = ring.first_of(filter.level).min(self.end);
        if filter.level == Level::Info {
            self.missed += first.saturating_sub(self.next);
        }
        let next = self.next.max(first);
        let slice = ring.newer(next..self.end.min(next + PIECE_LINES));
        let stop = slice.end.min(self.end);
        for (number, line) in ring.lines(next..stop) {
            if filter.shows(line) {
                self.lines += 1;
                match self.format {
                    Format::Jsonl => push_json(piece, line),
                    Format::Csv => push_row(piece, line),
                }
            }
            if piece.len() > PIECE_BYTES {
                return number + 1;
            }
        }
        stop
    }

    fn push_rows(&mut self, piece: &mut String, table: &ResultTable) {
        while self.next < self.end && piece.len() <= PIECE_BYTES {
            let nth = usize::try_from(self.next).unwrap_or(usize::MAX);
            self.next += 1;
            self.lines += 1;
            match (self.format, table.rows().get(nth), table.json(nth)) {
                (Format::Jsonl, _, Some(json)) => {
                    piece.push_str(&json);
                    piece.push('\n');
                }
                (Format::Csv, Some(row), _) => {
                    // No value is an empty cell, as other programs expect.
                    let cells = row.iter().map(|v| if v.is_null() { "".into() } else { cell(v) });
                    push_values(piece, row.iter().map(serde_json::Value::is_number).zip(cells));
                }
                _ => {}
            }
        }
    }
}

/// The head of a table of lines.
const LINE_COLUMNS: &str = "time,stage,level,message,event_id,project_id,duration_ms,data\r\n";

fn push_json(out: &mut String, line: LineRef<'_>) {
    if line.stage().is_some() {
        out.push_str(&line.to_json());
    } else {
        out.push_str(&serde_json::json!({ "unparsed": line.message() }).to_string());
    }
    out.push('\n');
}

/// A spreadsheet treats a cell that starts with one of these as a formula.
const FORMULA_STARTS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// Quotes as in RFC 4180, and marks formulas as text, because the data may come from strangers.
fn push_row(out: &mut String, line: LineRef<'_>) {
    let stage = line.stage().map_or("unparsed", |stage| stage.as_str());
    let duration = line.duration().map_or_else(String::new, |ms| ms.to_string());
    let data: serde_json::Map<_, _> = line.data().into_iter().collect();
    let data =
        if data.is_empty() { String::new() } else { serde_json::Value::from(data).to_string() };
    let columns = [
        &line.time().to_string(),
        stage,
        line.level().as_str(),
        line.message(),
        line.event_id().unwrap_or_default(),
        line.project_id().unwrap_or_default(),
        &duration,
        &data,
    ];
    push_cells(out, columns);
}

fn push_cells(out: &mut String, cells: impl IntoIterator<Item = impl AsRef<str>>) {
    push_values(out, cells.into_iter().map(|cell| (false, cell)));
}

/// Adds a row of cells, each with whether it is a number: a negative one is not a formula.
fn push_values(out: &mut String, cells: impl Iterator<Item = (bool, impl AsRef<str>)>) {
    for (nth, (is_number, cell)) in cells.enumerate() {
        if nth > 0 {
            out.push(',');
        }
        match is_number {
            true => out.push_str(cell.as_ref()),
            false => push_cell(out, cell.as_ref()),
        }
    }
    out.push_str("\r\n");
}

fn push_cell(out: &mut String, text: &str) {
    let guard = if text.starts_with(FORMULA_STARTS) { "'" } else { "" };
    if text.contains([',', '"', '\n', '\r']) {
        out.push('"');
        out.push_str(guard);
        out.push_str(&text.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(guard);
        out.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use bklit_wire::debug_log::{DebugLog, Level, Stage};
    use bklit_wire::time::UtcMillis;

    fn ring(lines: usize, keep: usize) -> LineRing {
        let mut ring = LineRing::new(keep, 1 << 30);
        for nth in 0..lines {
            let level = if nth % 2 == 0 { Level::Info } else { Level::Error };
            let mut log = DebugLog::new(Stage::Worker, level, format!("a \"{nth}\", b"));
            log.timestamp = UtcMillis::from_epoch_millis(0);
            log.data.insert("n".into(), json!(nth));
            ring.push_log(&log);
        }
        ring
    }

    fn whole(export: &mut Export, ring: &LineRing) -> String {
        let mut out = String::new();
        while let Some(piece) = export.piece(ring) {
            assert!(std::mem::take(&mut export.waits));
            out.push_str(&piece);
        }
        out
    }

    #[test]
    fn all_lines_that_are_shown_and_no_others() {
        let ring = ring(50_000, 100_000);
        let filter = Filter { level: Level::Error, ..Filter::default() };
        let mut export = Export::new(filter, Format::Jsonl, 0, 49_000);
        let out = whole(&mut export, &ring);
        let lines: Vec<DebugLog> =
            out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((lines.len(), export.lines, export.missed), (24_500, 24_500, 0));
        assert!(lines.iter().enumerate().all(|(i, line)| line.data["n"] == json!(2 * i + 1)));
        assert_eq!(export.progress(), 100);
    }

    #[test]
    fn a_table_has_a_head_and_quotes() {
        let mut ring = ring(1, 10);
        ring.push_unparsed(UtcMillis::from_epoch_millis(0), "plain");
        let mut export = Export::new(Filter::default(), Format::Csv, 0, 2);
        let out = whole(&mut export, &ring);
        let rows: Vec<_> = out.split("\r\n").collect();
        assert_eq!(rows[0], "time,stage,level,message,event_id,project_id,duration_ms,data");
        assert_eq!(
            rows[1],
            "1970-01-01T00:00:00.000Z,worker,info,\"a \"\"0\"\", b\",,,,\"{\"\"n\"\":0}\""
        );
        assert_eq!(rows[2], "1970-01-01T00:00:00.000Z,unparsed,warn,plain,,,,");
        let mut nothing = Export::new(Filter::default(), Format::Csv, 2, 2);
        assert_eq!(whole(&mut nothing, &ring).lines().count(), 1);
    }

    #[test]
    fn csv_cells_are_never_formulas() {
        let cell = |text: &str| {
            let mut out = String::new();
            push_cell(&mut out, text);
            out
        };
        for start in FORMULA_STARTS {
            let guarded = cell(&format!("{start}1"));
            assert!(guarded.trim_start_matches('"').starts_with('\''), "{guarded}");
        }
        assert_eq!(cell("=HYPERLINK(\"x\",1)"), "\"'=HYPERLINK(\"\"x\"\",1)\"");
        assert_eq!(cell("'=1"), "'=1");
        for harmless in ["", "a=1", "1-2", "a\tb", "evt_1"] {
            assert_eq!(cell(harmless), harmless);
        }
        let mut ring = LineRing::new(10, 1 << 20);
        let mut log = DebugLog::new(Stage::Queue, Level::Info, "@SUM(A1)");
        (log.event_id, log.project_id) = (Some("-1+2".into()), Some("=cmd|' /C calc'!A0".into()));
        ring.push_log(&log);
        let row = whole(&mut Export::new(Filter::default(), Format::Csv, 0, 1), &ring);
        assert!(row.contains(",'@SUM(A1),'-1+2,'=cmd|' /C calc'!A0,"), "{row}");
        // Other programs need the data as it was sent.
        let line = whole(&mut Export::new(Filter::default(), Format::Jsonl, 0, 1), &ring);
        let line: DebugLog = serde_json::from_str(line.trim_end()).unwrap();
        assert_eq!((line.message.as_ref(), line.event_id), ("@SUM(A1)", log.event_id));
    }

    #[test]
    fn evicted_lines_are_counted() {
        let ring = ring(50, 20);
        let mut export = Export::new(Filter::default(), Format::Jsonl, 10, 50);
        assert_eq!(whole(&mut export, &ring).lines().count(), 20);
        assert_eq!((export.lines, export.missed), (20, 20));
    }
}
