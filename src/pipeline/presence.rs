//! The port `Presence`: active sessions, which dashboards show as visitors.

use async_trait::async_trait;
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

/// Records which sessions are active.
#[async_trait]
pub trait Presence: Send + Sync {
    /// Records when sessions were last active; an earlier time than the recorded one changes
    /// nothing.
    ///
    /// # Errors
    /// Why it could not be recorded, for the operator. Nothing depends on it.
    async fn active(&self, sessions: &[(SessionKey, UtcMillis)]) -> Result<(), String>;

    /// Records that sessions have ended.
    ///
    /// # Errors
    /// Why it could not be recorded, for the operator.
    async fn ended(&self, sessions: &[SessionKey]) -> Result<(), String>;

    /// The number of a project's active sessions.
    ///
    /// # Errors
    /// Why it is not known, for the operator.
    async fn count(&self, project_id: &str) -> Result<u64, String>;
}
