//! Why an event is rejected.

use std::borrow::Cow;

use crate::auth::Denied;
use crate::queue::QueueError;

/// Why an event is rejected.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// A field is missing or invalid.
    #[error("{field}: {problem}")]
    Field {
        /// The field; `body` for the body as a whole.
        field: Cow<'static, str>,
        /// What is wrong with it.
        problem: Cow<'static, str>,
    },
    /// Its token is missing or does not allow it.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Its client has used its id for a different event.
    #[error(transparent)]
    IdTaken(QueueError),
    /// It cannot be queued now.
    #[error("{0}; try again later")]
    Queue(QueueError),
}

impl From<QueueError> for Rejection {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::IdTaken => Self::IdTaken(error),
            error => Self::Queue(error),
        }
    }
}

impl Rejection {
    /// An invalid field.
    pub fn field(
        field: impl Into<Cow<'static, str>>,
        problem: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::Field { field: field.into(), problem: problem.into() }
    }

    /// The text for the client. Ingest tokens are public, so names of our servers and reasons of
    /// their failures appear only in our own log.
    pub fn for_client(&self) -> String {
        match self {
            Self::Denied(Denied::Unavailable(_)) => {
                "tokens cannot be checked now; try again later".to_owned()
            }
            Self::Queue(QueueError::Unavailable(_) | QueueError::InDoubt { .. }) => {
                "the queue is unavailable; try again later".to_owned()
            }
            other => other.to_string(),
        }
    }

    /// Whether the same event may be accepted later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Denied(Denied::Unavailable(_)) | Self::Queue(_))
    }
}

/// A rejection, with the project it concerns if that is known.
pub struct Rejected {
    /// Why.
    pub why: Rejection,
    /// The event's project.
    pub project: Option<String>,
}

impl<T: Into<Rejection>> From<T> for Rejected {
    fn from(why: T) -> Self {
        Self { why: why.into(), project: None }
    }
}
