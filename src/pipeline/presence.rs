//! The port `Presence`: which sessions are active, for the visitors that dashboards show.

use async_trait::async_trait;
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

/// Which sessions are active, for the visitors that dashboards show.
#[async_trait]
pub trait Presence: Send + Sync {
    /// Notes when sessions were last active; an earlier moment than is known changes nothing.
    ///
    /// # Errors
    /// Why it could not be noted, for the operator. Nothing depends on it.
    async fn active(&self, sessions: &[(SessionKey, UtcMillis)]) -> Result<(), String>;

    /// Notes that sessions have ended.
    ///
    /// # Errors
    /// Why it could not be noted, for the operator.
    async fn ended(&self, sessions: &[SessionKey]) -> Result<(), String>;

    /// How many sessions of a project are active.
    ///
    /// # Errors
    /// Why it is not known, for the operator.
    async fn count(&self, project_id: &str) -> Result<u64, String>;
}
