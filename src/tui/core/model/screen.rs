//! The screens.

use std::sync::Arc;

use super::edit::EditScreen;
use super::line::OwnedLine;
use super::panels::BatchPanel;
use super::projects::Projects;
use super::session::Session;
use super::sql::table::ResultTable;
use super::trace::Trace;
use crate::keymap::Context;
use bklit_wire::queue::FailedView;

/// A screen and its state.
#[derive(Debug)]
pub enum Screen {
    /// Figures and log.
    Log(LogScreen),
    /// One line in full.
    Detail(Detail),
    /// The path of an event through the stages.
    Trace(Trace),
    /// The projects, to choose one.
    Projects(Projects),
    /// The queue and the failed events.
    Queue(QueueScreen),
    /// One failed event in full.
    Failed(Box<FailedDetail>),
    /// Edited failed events.
    Edit(Box<EditScreen>),
    /// One batch in flight in full.
    Batch(Box<BatchPanel>),
    /// Current visitors.
    Visitors(VisitorsScreen),
    /// The results of dual-write verification.
    Verify(VerifyScreen),
    /// The problems.
    Problems(ProblemsScreen),
    /// The session of a visitor.
    Session(Box<Session>),
    /// Figures over time.
    History(HistoryScreen),
    /// The processes of the pipeline.
    Processes(ProcessesScreen),
    /// Queries on the store.
    Sql(SqlScreen),
    /// One row of a result in full.
    SqlRow(Box<SqlRow>),
    /// Where events come from.
    Who(WhoScreen),
    /// The keys and commands.
    Help(Help),
}

/// Evaluates an expression with `$shown` as the type of a screen's state. All dispatch on the
/// screen uses this `match`: each layer has a trait that these types implement.
macro_rules! on_screen {
    ($screen:expr, $shown:ident => $result:expr) => {
        match $screen {
            $crate::model::Screen::Log(_) => {
                type $shown = $crate::model::screen::LogScreen;
                $result
            }
            $crate::model::Screen::Detail(_) => {
                type $shown = $crate::model::screen::Detail;
                $result
            }
            $crate::model::Screen::Trace(_) => {
                type $shown = $crate::model::trace::Trace;
                $result
            }
            $crate::model::Screen::Projects(_) => {
                type $shown = $crate::model::projects::Projects;
                $result
            }
            $crate::model::Screen::Queue(_) => {
                type $shown = $crate::model::screen::QueueScreen;
                $result
            }
            $crate::model::Screen::Failed(_) => {
                type $shown = $crate::model::screen::FailedDetail;
                $result
            }
            $crate::model::Screen::Edit(_) => {
                type $shown = $crate::model::edit::EditScreen;
                $result
            }
            $crate::model::Screen::Batch(_) => {
                type $shown = $crate::model::panels::BatchPanel;
                $result
            }
            $crate::model::Screen::Visitors(_) => {
                type $shown = $crate::model::screen::VisitorsScreen;
                $result
            }
            $crate::model::Screen::Verify(_) => {
                type $shown = $crate::model::screen::VerifyScreen;
                $result
            }
            $crate::model::Screen::Problems(_) => {
                type $shown = $crate::model::screen::ProblemsScreen;
                $result
            }
            $crate::model::Screen::Session(_) => {
                type $shown = $crate::model::session::Session;
                $result
            }
            $crate::model::Screen::History(_) => {
                type $shown = $crate::model::screen::HistoryScreen;
                $result
            }
            $crate::model::Screen::Processes(_) => {
                type $shown = $crate::model::screen::ProcessesScreen;
                $result
            }
            $crate::model::Screen::Sql(_) => {
                type $shown = $crate::model::screen::SqlScreen;
                $result
            }
            $crate::model::Screen::SqlRow(_) => {
                type $shown = $crate::model::screen::SqlRow;
                $result
            }
            $crate::model::Screen::Who(_) => {
                type $shown = $crate::model::screen::WhoScreen;
                $result
            }
            $crate::model::Screen::Help(_) => {
                type $shown = $crate::model::screen::Help;
                $result
            }
        }
    };
}
pub(crate) use on_screen;

/// The state of a screen.
pub trait Shown: Sized {
    /// Its context in the key table.
    const CONTEXT: Context;

    /// The state of the screen, if it is of this type.
    fn of(screen: &Screen) -> Option<&Self>;

    /// The same, mutable.
    fn of_mut(screen: &mut Screen) -> Option<&mut Self>;
}

macro_rules! shown {
    ($($variant:ident => $shown:ty, $context:ident;)*) => {$(
        impl Shown for $shown {
            const CONTEXT: Context = Context::$context;

            fn of(screen: &Screen) -> Option<&Self> {
                let Screen::$variant(shown) = screen else { return None };
                let shown: &Self = shown;
                Some(shown)
            }

            fn of_mut(screen: &mut Screen) -> Option<&mut Self> {
                let Screen::$variant(shown) = screen else { return None };
                let shown: &mut Self = shown;
                Some(shown)
            }
        }
    )*};
}

shown! {
    Log => LogScreen, Log;
    Detail => Detail, Detail;
    Trace => Trace, Trace;
    Projects => Projects, Projects;
    Queue => QueueScreen, Queue;
    Failed => FailedDetail, Failed;
    Edit => EditScreen, Edit;
    Batch => BatchPanel, Batch;
    Visitors => VisitorsScreen, Live;
    Verify => VerifyScreen, Verify;
    Problems => ProblemsScreen, Problems;
    Session => Session, Session;
    History => HistoryScreen, History;
    Processes => ProcessesScreen, Processes;
    Sql => SqlScreen, Sql;
    SqlRow => SqlRow, SqlRow;
    Who => WhoScreen, Who;
    Help => Help, Help;
}

/// Figures and log; the panes belong to the model.
#[derive(Debug)]
pub struct LogScreen;

/// The queue; its lists outlive the screen, see [`super::panels`].
#[derive(Debug)]
pub struct QueueScreen;

/// Current visitors; the lists outlive the screen.
#[derive(Debug)]
pub struct VisitorsScreen;

/// The results of dual-write verification; they outlive the screen.
#[derive(Debug)]
pub struct VerifyScreen;

/// The problems; the groups outlive the screen.
#[derive(Debug)]
pub struct ProblemsScreen;
/// The processes of the pipeline; the selection outlives the screen.
#[derive(Debug)]
pub struct ProcessesScreen;

/// Where events come from; the selection outlives the screen.
#[derive(Debug)]
pub struct WhoScreen;

/// Figures over time; the selection outlives the screen.
#[derive(Debug)]
pub struct HistoryScreen;

/// Queries on the store; query and result outlive the screen.
#[derive(Debug)]
pub struct SqlScreen;

/// One row of a result in full.
#[derive(Debug)]
pub struct SqlRow {
    /// The result.
    pub table: Arc<ResultTable>,
    /// Which row.
    pub row: usize,
    /// The number of rows scrolled off at the top.
    pub scroll: usize,
}

/// One line in full. It is a copy, so it stays when the ring drops the line.
#[derive(Debug)]
pub struct Detail {
    /// The line's number.
    pub number: u64,
    /// The line.
    pub line: OwnedLine,
    /// The number of rows scrolled off at the top.
    pub scroll: usize,
}

/// One failed event in full. It is a copy, so it stays when the event is retried.
#[derive(Debug)]
pub struct FailedDetail {
    /// The event.
    pub item: FailedView,
    /// The number of rows scrolled off at the top.
    pub scroll: usize,
}

/// The keys and commands.
#[derive(Debug)]
pub struct Help {
    /// The number of rows scrolled off at the top.
    pub scroll: usize,
    /// The context from which it was opened; its keys come first.
    pub of: Context,
    /// Only keys and commands with this text, in lower case.
    pub filter: String,
}
