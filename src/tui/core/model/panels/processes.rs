//! The processes of the pipeline: those that publish figures now, and those that ran in the last hour.

use crate::model::Model;
use crate::model::cursor::Cursor;
use crate::model::figures::ProcessFigures;
use bklit_wire::gauges::About;
use bklit_wire::time::UtcMillis;

/// A process.
#[derive(Clone, Debug)]
pub struct ProcessRow {
    /// Its name, as in figures and lines.
    pub process: String,
    /// Where and what it is; empty for an older program.
    pub about: About,
    /// Its figures; `None` if it no longer publishes any.
    pub figures: Option<ProcessFigures>,
    /// The last minute in which it ran, according to the history.
    pub last: Option<UtcMillis>,
    /// Failed steps in the last minute or, of one that no longer runs, in the last hour.
    pub errors: u64,
}

/// The list of processes.
#[derive(Debug, Default)]
pub struct ProcessesPanel {
    rows: Vec<ProcessRow>,
    /// The selected row.
    pub(crate) cursor: Cursor,
}

impl ProcessesPanel {
    /// The processes, as of this second: running ones first, by host; then the others, latest first.
    pub fn rows(&self) -> &[ProcessRow] {
        &self.rows
    }

    /// The selected one.
    pub fn selected(&self) -> Option<&ProcessRow> {
        self.rows.get(self.cursor.selected())
    }

    /// The position of the selected row, and the number of rows scrolled off at the top.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }
}

impl Model {
    /// Brings the list of processes up to date.
    pub(crate) fn refresh_processes(&mut self) {
        self.panels.processes.rows = self.process_rows();
    }

    fn process_rows(&self) -> Vec<ProcessRow> {
        let mut rows: Vec<_> = self.figures.by_process().collect();
        rows.sort_by(|a, b| {
            (&a.about.host, a.about.since, &a.process).cmp(&(
                &b.about.host,
                b.about.since,
                &b.process,
            ))
        });
        let running = rows.len();
        let known = self.panels.bars.polled.data().map_or(&[][..], |history| &history.processes);
        for seen in known {
            match rows.iter_mut().take(running).find(|row| row.process == seen.process) {
                Some(row) => row.last = seen.last,
                None => rows.push(ProcessRow {
                    process: seen.process.clone(),
                    about: seen.about.clone(),
                    figures: None,
                    last: seen.last,
                    errors: seen.errors,
                }),
            }
        }
        rows
    }
}
