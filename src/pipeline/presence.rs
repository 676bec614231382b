//! The port `Presence`: active sessions, which dashboards show as visitors.

use std::time::Duration;

use async_trait::async_trait;
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

/// Records which sessions are active. Other programs may record them in the same place.
#[async_trait]
pub trait Presence: Send + Sync {
    /// Records when sessions were last active. Changes nothing for a time earlier than the recorded
    /// one, for a session that has ended since that time, and for one that has been idle for longer
    /// than `timeout`.
    ///
    /// # Errors
    /// Why it could not be recorded, for the operator. Nothing depends on it.
    async fn active(
        &self,
        sessions: &[(SessionKey, UtcMillis)],
        timeout: Duration,
    ) -> Result<(), String>;

    /// Records when sessions have ended. One that has been active since remains.
    ///
    /// # Errors
    /// Why it could not be recorded, for the operator.
    async fn ended(
        &self,
        sessions: &[(SessionKey, UtcMillis)],
        timeout: Duration,
    ) -> Result<(), String>;

    /// Removes sessions that have been idle for longer than `timeout`, whichever program recorded
    /// them. The work of one call is bounded; the next one continues.
    ///
    /// # Errors
    /// Why they could not be removed, for the operator.
    async fn remove_idle(&self, timeout: Duration) -> Result<(), String>;

    /// The number of a project's active sessions.
    ///
    /// # Errors
    /// Why it is not known, for the operator.
    async fn count(&self, project_id: &str) -> Result<u64, String>;

    /// Projects with active sessions, at most `most`, in no order. On a server with many other keys the
    /// search may find only some.
    ///
    /// # Errors
    /// Why they are not known, for the operator.
    async fn projects(&self, most: usize) -> Result<Vec<String>, String>;
}
