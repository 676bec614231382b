//! The port `Backend`: what a console can query and change, in addition to the stream it follows.

use async_trait::async_trait;

use crate::event_lookup::EventTrace;
use crate::history::{History, HistoryQuery};
use crate::live_view::LiveView;
use crate::pause::PauseRequest;
use crate::queue::{BatchView, ChangeError, EditRequest, Edited, FailedPage, QueueView};
use crate::session_lookup::SessionTrace;
use crate::sql::{SqlAnswer, SqlSchema};
use crate::who::{WhoQuery, WhoView};

/// What to do with failed events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Put them back into the queue.
    Retry,
    /// Delete them permanently.
    Delete,
}

/// The queries and changes that the watched pipeline supports. Errors are texts for the operator.
#[async_trait]
pub trait Backend: Send + Sync {
    /// The current state of the queue.
    ///
    /// # Errors
    /// Why it could not be queried.
    async fn queue(&self) -> Result<QueueView, String>;

    /// A page of the failed events, newest first; `after` is the `next` of the page before.
    ///
    /// # Errors
    /// Why they could not be queried.
    async fn failed(&self, after: Option<&str>, most: usize) -> Result<FailedPage, String>;

    /// Retries or deletes up to [`MAX_PAGE`](crate::queue::MAX_PAGE) failed events; returns how many
    /// of them existed.
    ///
    /// # Errors
    /// Why it was not done, or only partly.
    async fn change(&self, change: Change, ids: &[String]) -> Result<u64, ChangeError>;

    /// Puts up to [`MAX_PAGE`](crate::queue::MAX_PAGE) failed events back into the queue with other
    /// bodies, or only checks those.
    ///
    /// # Errors
    /// Why it was not done, or only partly.
    async fn edit(&self, request: &EditRequest) -> Result<Edited, ChangeError>;

    /// Pauses or resumes a part of all processes of the queue.
    ///
    /// # Errors
    /// Why it was not done.
    async fn pause(&self, request: &PauseRequest) -> Result<(), String>;

    /// The content of a batch in flight; `None` once it has been acknowledged.
    ///
    /// # Errors
    /// Why it could not be queried.
    async fn batch(&self, id: &str) -> Result<Option<BatchView>, String>;

    /// Looks an event up in the queue, the store and the debug lines.
    ///
    /// # Errors
    /// Why it could not be queried.
    async fn event(&self, id: &str) -> Result<EventTrace, String>;

    /// The events of a session; without a project, of all sessions with this id.
    ///
    /// # Errors
    /// Why it could not be searched.
    async fn session(&self, id: &str, project: Option<&str>) -> Result<SessionTrace, String>;

    /// The current visitors.
    ///
    /// # Errors
    /// Why it could not be queried.
    async fn live(&self) -> Result<LiveView, String>;

    /// Part of the history of figures.
    ///
    /// # Errors
    /// Why it could not be queried.
    async fn history(&self, query: HistoryQuery) -> Result<History, String>;

    /// Runs a read-only query on the store, within the bounds in [`crate::sql`]. Dropping the future
    /// stops the query. A backend may run one after the other.
    ///
    /// # Errors
    /// What the store says about it, or why it could not be run.
    async fn sql(&self, query: &str) -> Result<SqlAnswer, String>;

    /// The tables that can be queried.
    ///
    /// # Errors
    /// Why they could not be read.
    async fn sql_schema(&self) -> Result<SqlSchema, String>;

    /// Where the events of the process come from.
    ///
    /// # Errors
    /// Why it could not be queried.
    async fn who(&self, query: WhoQuery) -> Result<WhoView, String>;
}
