//! What can happen to the console, and what the console asks for. Nothing else crosses the border
//! between the loop, which does I/O, and the model, which does none.

use crossterm::event::{KeyEvent, MouseEvent};

use super::playback::{ReplayCommand, Replayed};
use super::requests::{Answer, Request};
use crate::alerts::Alert;
use crate::pipeline::bus::DebugMessage;
use crate::pipeline::time::UtcMillis;

/// Something that happened.
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
    /// There is nothing better to do: a slice of the work that [`has_work`] tells of.
    ///
    /// [`has_work`]: super::model::Model::has_work
    Work,
    /// What became of an [`Effect::Ask`]. Each has one answer.
    Answer(Answer),
    /// The time; about once a second, and before the first frame.
    Tick(UtcMillis),
    /// What a replay does.
    Replay(Vec<Replayed>),
    /// How a job went.
    Report(Report),
}

/// How a job went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The export's file is there, or a piece of it.
    PieceWritten,
    /// The export's file is whole, with its path; or why there is none.
    Exported(Result<String, String>),
    /// The recording's file is there, with its path.
    RecordBegan(String),
    /// How much has been recorded, in bytes, and how many messages could not be.
    Recorded {
        /// Bytes written.
        bytes: u64,
        /// Messages lost.
        lost: u64,
    },
    /// Nothing is recorded any more: it was ended, or never began.
    RecordEnded(String),
    /// Nothing is recorded any more, which nobody asked for: why.
    RecordBroke(String),
    /// The files of a directory.
    Files {
        /// The directory as it was asked for.
        dir: String,
        /// Their names.
        names: Vec<String>,
    },
    /// Something else to be told.
    Notice(String),
}

/// A file to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where, as it was typed.
    pub path: String,
    /// Whether a file that is there may be written over.
    pub overwrite: bool,
}

/// Something that is done apart from the loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// Make the file of an export.
    BeginExport(Target),
    /// Write more of it.
    ExportPiece(String),
    /// It is whole.
    EndExport,
    /// Record to a file, or end that.
    Record(Option<Target>),
    /// List a directory.
    ListFiles(String),
    /// Keep a filter.
    SaveFilter {
        /// Its name.
        name: String,
        /// What it filters by.
        query: String,
    },
    /// Run the user's command for an alert that was told so often.
    Alert(Alert, u64),
}

/// Something the model cannot do itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// End the console.
    Quit,
    /// Stop as by Ctrl-Z, and come back with `fg`.
    Suspend,
    /// Put this text into the terminal's clipboard.
    Copy(String),
    /// Draw the whole screen anew.
    Redraw,
    /// Have the terminal tell what the mouse does, or not any more.
    Mouse(bool),
    /// Ask the pipeline, or write a file; nothing waits for the answer.
    Ask(Request),
    /// Have something done.
    Job(Job),
    /// Ring the terminal's bell.
    Bell,
    /// Change the replay.
    Replay(ReplayCommand),
}
