//! The key of a visitor's session.

use crate::event::QueuedEvent;

/// A visitor's session: project and session id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey {
    /// The project.
    pub project_id: String,
    /// The session within it.
    pub session_id: String,
}

impl SessionKey {
    /// The session of an event, if it has one.
    pub fn of(event: &QueuedEvent) -> Option<Self> {
        let session_id = event.payload.session_id()?.to_owned();
        Some(Self { project_id: event.project_id.clone(), session_id })
    }
}
