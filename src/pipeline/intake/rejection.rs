//! Why an event is not accepted.

use std::borrow::Cow;

use crate::auth::Denied;
use crate::queue::QueueError;

/// Why an event is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// A field of it is missing or wrong.
    #[error("{field}: {problem}")]
    Field {
        /// The field; `body` for the whole.
        field: Cow<'static, str>,
        /// What is wrong with it.
        problem: Cow<'static, str>,
    },
    /// Its token does not allow it, or there is none.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// It cannot be kept now.
    #[error("{0}; try again later")]
    Queue(#[from] QueueError),
}

impl Rejection {
    /// A field with a problem.
    pub fn field(
        field: impl Into<Cow<'static, str>>,
        problem: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::Field { field: field.into(), problem: problem.into() }
    }

    /// The text for the client. Ingest tokens stand in web pages, so the names of our servers and
    /// the reasons of their failures go to our own log only.
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

/// A rejection, with the project it concerns as far as that is known.
pub struct Rejected {
    /// Why.
    pub why: Rejection,
    /// The project that the event names.
    pub project: Option<String>,
}

impl<T: Into<Rejection>> From<T> for Rejected {
    fn from(why: T) -> Self {
        Self { why: why.into(), project: None }
    }
}
