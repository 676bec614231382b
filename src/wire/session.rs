//! The key of a visitor's session.

/// A visitor's session: project and session id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey {
    /// The project.
    pub project_id: String,
    /// The session within it.
    pub session_id: String,
}
