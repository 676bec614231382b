//! The port `Backend`: what a console can query and change, besides the stream it follows.

use async_trait::async_trait;

use crate::event_lookup::EventTrace;
use crate::live_view::LiveView;
use crate::queue::{BatchView, FailedPage, QueueView};

/// What to do with failed events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Back into the queue.
    Retry,
    /// Away for good.
    Delete,
}

/// The pipeline that is watched, as far as it answers questions. Errors are for the operator.
#[async_trait]
pub trait Backend: Send + Sync {
    /// The queue now.
    ///
    /// # Errors
    /// Why that is not known.
    async fn queue(&self) -> Result<QueueView, String>;

    /// A page of the failed events, newest first; `after` is the `next` of the page before.
    ///
    /// # Errors
    /// Why they are not known.
    async fn failed(&self, after: Option<&str>, most: usize) -> Result<FailedPage, String>;

    /// Does something with at most [`MAX_PAGE`](crate::queue::MAX_PAGE) failed events; returns how many were there.
    ///
    /// # Errors
    /// Why it was not done, or only in part.
    async fn change(&self, change: Change, ids: &[String]) -> Result<u64, String>;

    /// What is in a batch in flight; `None` once it is done.
    ///
    /// # Errors
    /// Why that is not known.
    async fn batch(&self, id: &str) -> Result<Option<BatchView>, String>;

    /// Where an event is.
    ///
    /// # Errors
    /// Why that is not known.
    async fn event(&self, id: &str) -> Result<EventTrace, String>;

    /// Who is there now.
    ///
    /// # Errors
    /// Why that is not known.
    async fn live(&self) -> Result<LiveView, String>;
}
