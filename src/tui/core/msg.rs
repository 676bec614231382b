//! The messages that the console handles, and the effects that it requests. Nothing else crosses
//! the border between the loop, which does I/O, and the model, which does not.

use crossterm::event::{KeyEvent, MouseEvent};

use super::bulk::{BulkReport, Plan};
use super::histories::Histories;
use super::playback::{ReplayCommand, Replayed};
use super::remembered::Remembered;
use super::requests::{Answer, Request};
use bklit_alerts::Alert;
use bklit_wire::debug_bus::DebugMessage;
use bklit_wire::time::UtcMillis;

/// An input to the console.
#[derive(Clone, Debug)]
pub enum Msg {
    /// A key was pressed or repeats.
    Key(KeyEvent),
    /// Text was pasted.
    Paste(String),
    /// The mouse was clicked, or its wheel turned.
    Mouse(MouseEvent),
    /// The terminal has this many columns and rows.
    Resize(u16, u16),
    /// Messages of the bus, in order.
    Feed(Vec<DebugMessage>),
    /// The loop is idle: do a slice of the work that [`has_work`] announces.
    ///
    /// [`has_work`]: super::model::Model::has_work
    Work,
    /// The answer to an [`Effect::Ask`]; each gets exactly one.
    Answer(Answer),
    /// The time; about once a second, and before the first frame.
    Tick(UtcMillis),
    /// What a replay delivers.
    Replay(Vec<Replayed>),
    /// The progress or outcome of a job.
    Report(Report),
}

/// The progress or outcome of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The export's file was created, or a piece of it written.
    PieceWritten,
    /// The export is complete, with its path; or why it failed.
    Exported(Result<String, String>),
    /// The edited text, or why there is none.
    Edited(Result<String, String>),
    /// The progress or end of a change of many failed events.
    Bulk(BulkReport),
    /// Recording has started, with the file's path.
    RecordBegan(String),
    /// How much was recorded so far.
    Recorded {
        /// Bytes written.
        bytes: u64,
        /// Messages lost.
        lost: u64,
    },
    /// Recording was stopped or could not start, with the notice to show.
    RecordEnded(String),
    /// Recording stopped on its own, and why.
    RecordBroke(String),
    /// The files of a directory.
    Files {
        /// The directory as it was requested.
        dir: String,
        /// Their names.
        names: Vec<String>,
    },
    /// Another notice to show.
    Notice(String),
}

/// A file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its path as typed.
    pub path: String,
    /// Whether an existing file may be overwritten.
    pub overwrite: bool,
}

/// Something done outside the loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// Create the file of an export.
    BeginExport(Target),
    /// Write a piece of it.
    ExportPiece(String),
    /// Complete it.
    EndExport,
    /// Record to a file, or stop recording.
    Record(Option<Target>),
    /// List a directory.
    ListFiles(String),
    /// Save a filter.
    SaveFilter {
        /// Its name.
        name: String,
        /// Its query.
        query: String,
    },
    /// Save what was typed, for later runs.
    SaveHistories(Histories),
    /// Save the layout, for later runs.
    SaveLayout(Remembered),
    /// Run the user's command for an alert, with how often it was raised.
    Alert(Alert, u64),
}

/// Something that the loop does for the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Quit the console.
    Quit,
    /// Suspend as on Ctrl-Z; resumed by `fg`.
    Suspend,
    /// Copy this text to the terminal's clipboard.
    Copy(String),
    /// Redraw the whole screen.
    Redraw,
    /// Turn the terminal's mouse reports on or off.
    Mouse(bool),
    /// Send a request to the pipeline; the loop does not wait for the answer.
    Ask(Request),
    /// Leave the terminal to the user's editor with this text; [`Report::Edited`] follows.
    Edit(String),
    /// Change many failed events; reports follow until it has ended.
    Bulk(Plan),
    /// Stop doing so.
    StopBulk,
    /// Stop the running query; it gets no answer.
    StopSql,
    /// Start a job.
    Job(Job),
    /// Ring the terminal's bell.
    Bell,
    /// Control the replay.
    Replay(ReplayCommand),
}
