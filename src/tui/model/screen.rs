//! What can be on the screen.

use super::boards::BatchBoard;
use super::line::OwnedLine;
use super::projects::Projects;
use super::trace::Trace;
use crate::keymap::Context;
use bklit_wire::queue::FailedView;

/// What is on the screen.
#[derive(Debug)]
pub enum Screen {
    /// Figures and log.
    Log,
    /// One line in full.
    Detail(Detail),
    /// The way of an event.
    Trace(Trace),
    /// The projects, to choose one.
    Projects(Projects),
    /// The queue and what failed.
    Queue,
    /// One failed event in full.
    Failed(Box<FailedDetail>),
    /// One batch in flight in full.
    Batch(Box<BatchBoard>),
    /// Who is there now.
    Live,
    /// What dual-write verification found.
    Verify,
    /// The keys.
    Help {
        /// Rows scrolled out at the top.
        scroll: usize,
        /// Of which context.
        of: Context,
    },
}

/// One line in full. It is a copy: it stays when the ring forgets the line.
#[derive(Debug)]
pub struct Detail {
    /// The line's number.
    pub number: u64,
    /// The line.
    pub line: OwnedLine,
    /// Rows scrolled out at the top.
    pub scroll: usize,
}

/// One failed event in full. It is a copy: it stays when the event is retried.
#[derive(Debug)]
pub struct FailedDetail {
    /// The event.
    pub item: FailedView,
    /// Rows scrolled out at the top.
    pub scroll: usize,
}
