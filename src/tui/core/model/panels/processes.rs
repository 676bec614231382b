//! The processes of the pipeline: those that publish figures now, and those that ran in the last hour.

use std::cmp::Reverse;

use crate::model::Model;
use crate::model::cursor::Cursor;
use crate::model::figures::ProcessFigures;
use bklit_wire::gauges::About;
use bklit_wire::history::MINUTE;
use bklit_wire::time::UtcMillis;

/// Whether a process runs.
#[derive(Clone, Debug)]
pub enum ProcessState {
    /// It publishes figures: these.
    Running(ProcessFigures),
    /// No figures have been received since then, but the connection to it is lost, too.
    Unknown(UtcMillis),
    /// It published its last figures then, without announcing that it was stopping.
    Lost(UtcMillis),
    /// It stopped as it was asked to.
    Stopped(UtcMillis),
    /// It published nothing while this console was open; its figures in the history end in the
    /// minute before this.
    Past(Option<UtcMillis>),
}

/// A process.
#[derive(Clone, Debug)]
pub struct ProcessRow {
    /// Its name, as in figures and lines.
    pub process: String,
    /// Where and what it is; empty for an older program.
    pub about: About,
    /// Whether it runs.
    pub state: ProcessState,
    /// Failed steps in the last minute or, for one known only from the history, in the last hour.
    pub errors: u64,
}

impl ProcessRow {
    /// Its figures, if it publishes any.
    pub fn figures(&self) -> Option<&ProcessFigures> {
        match &self.state {
            ProcessState::Running(figures) => Some(figures),
            _ => None,
        }
    }

    /// The time of the last sign of life of a process that is not running; 0 for one that is.
    fn ended(&self) -> i64 {
        match &self.state {
            ProcessState::Running(_) => 0,
            ProcessState::Unknown(last)
            | ProcessState::Lost(last)
            | ProcessState::Stopped(last) => last.epoch_millis(),
            ProcessState::Past(last) => last.map_or(i64::MIN, UtcMillis::epoch_millis),
        }
    }
}

/// The list of processes.
#[derive(Debug, Default)]
pub struct ProcessesPanel {
    rows: Vec<ProcessRow>,
    /// The selected row.
    pub(crate) cursor: Cursor,
}

impl ProcessesPanel {
    /// The processes, as of this second: running ones first, by host; then those that have
    /// published figures, then those in the history, latest first.
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
            let key = |row: &ProcessRow| (row.figures().is_none(), Reverse(row.ended()));
            let name =
                |row: &ProcessRow| (row.about.host.clone(), row.about.since, row.process.clone());
            key(a).cmp(&key(b)).then_with(|| name(a).cmp(&name(b)))
        });
        let heard = rows.len();
        let known = self.panels.bars.polled.data();
        for seen in known.map_or(&[][..], |history| &history.processes) {
            if rows.iter().take(heard).any(|row| row.process == seen.process) {
                continue;
            }
            // It may have ended at any time in the minute.
            let end = seen.last.map(|last| last.epoch_millis() + MINUTE);
            rows.push(ProcessRow {
                process: seen.process.clone(),
                about: seen.about.clone(),
                state: ProcessState::Past(end.map(UtcMillis::from_epoch_millis)),
                errors: seen.errors,
            });
        }
        rows
    }
}
