//! Why an event is rejected.

use std::borrow::Cow;
use std::time::Duration;

use hyper::StatusCode;

use crate::auth::Denied;
use crate::queue::QueueError;
use crate::throttle::Throttled;

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
    Denied(Denied),
    /// It is over a limit.
    #[error(transparent)]
    Throttled(#[from] Throttled),
    /// Its client has used its id for a different event.
    #[error(transparent)]
    IdTaken(QueueError),
    /// It cannot be queued now.
    #[error("{0}; try again later")]
    Queue(QueueError),
}

impl From<Denied> for Rejection {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Throttled(throttled) => Self::Throttled(throttled),
            denied => Self::Denied(denied),
        }
    }
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
            Self::Queue(
                QueueError::Unavailable(_) | QueueError::Partly { .. } | QueueError::InDoubt { .. },
            ) => "the queue is unavailable; try again later".to_owned(),
            // Who has paused it, and why, must not be revealed to clients either.
            Self::Queue(QueueError::Paused(_)) => {
                "no events are accepted for a while; try again later".to_owned()
            }
            // The allowed domains must not be revealed to clients.
            Self::Denied(Denied::Domain(_)) => {
                "the token may not be used from this site: it is limited to certain domains"
                    .to_owned()
            }
            other => other.to_string(),
        }
    }

    /// What kind of rejection it is: for counting and for folding log lines.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Field { .. } => "invalid event",
            Self::Throttled(throttled) => throttled.limit.as_str(),
            Self::IdTaken(_) => "event id taken",
            Self::Queue(QueueError::Paused(_)) => "paused",
            Self::Queue(_) => "queue",
            Self::Denied(denied) => match denied {
                Denied::Domain(_) => "domain not allowed",
                Denied::Unavailable(_) => "tokens unavailable",
                Denied::Missing | Denied::NoBearer => "token missing",
                Denied::Unknown => "token not valid",
                Denied::Expired => "token expired",
                Denied::Project => "token of another project",
                _ => "not authorized",
            },
        }
    }

    /// The status code of its response.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Field { .. } => StatusCode::BAD_REQUEST,
            Self::IdTaken(_) => StatusCode::CONFLICT,
            Self::Throttled(_) | Self::Denied(Denied::Throttled(_)) => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::Denied(Denied::Domain(_)) => StatusCode::FORBIDDEN,
            Self::Denied(Denied::Unavailable(_)) | Self::Queue(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Denied(
                Denied::Missing
                | Denied::NoBearer
                | Denied::NotLocal
                | Denied::NotAdmin
                | Denied::Unknown
                | Denied::Expired
                | Denied::Scope(_)
                | Denied::Project
                | Denied::AllProjects,
            ) => StatusCode::UNAUTHORIZED,
        }
    }

    /// Whether it concerns a project as a whole, not what a single client did.
    pub fn is_about_project(&self) -> bool {
        match self {
            Self::Throttled(throttled) => throttled.limit.is_about_project(),
            Self::Denied(Denied::Domain(_)) | Self::Queue(_) => true,
            _ => false,
        }
    }

    /// When to try again, if it was over a limit.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled(throttled) => Some(throttled.retry_after),
            _ => None,
        }
    }

    /// Whether the same event may be accepted later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Denied(Denied::Unavailable(_)) | Self::Queue(_) | Self::Throttled(_))
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
