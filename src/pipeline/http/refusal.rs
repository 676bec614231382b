//! Why a request is not done, and the status that says so.

use std::borrow::Cow;

use hyper::StatusCode;

use crate::pipeline::auth::Denied;
use crate::pipeline::queue::QueueError;
use crate::pipeline::store::StoreError;
use crate::pipeline::store::live::NO_STORE;

/// Why a request is not done.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A field of the body, or of the query, is missing or wrong.
    #[error("{field}: {problem}")]
    Field { field: Cow<'static, str>, problem: Cow<'static, str> },
    /// The body never came whole.
    #[error("body: {0}")]
    Broken(String),
    /// The body took too long.
    #[error("body: did not arrive within {0}")]
    Slow(humantime::FormattedDuration),
    /// The request has neither a length nor chunks.
    #[error("body: send a JSON object with Content-Length or chunked")]
    NoLength,
    /// The body is too large.
    #[error("body: larger than {0} bytes")]
    TooLarge(usize),
    /// The body is something else.
    #[error("{0}")]
    Unsupported(&'static str),
    /// No such route.
    #[error("no such path: see POST /track, /track-event, /session-end and GET /health")]
    NotFound,
    /// The process has other roles.
    #[error(
        "this process accepts no events: it runs without the role ingestion; send them to one \
         that has it"
    )]
    NoIngestion,
    /// The route knows other methods.
    #[error("method not allowed here: use {0}")]
    Method(&'static str),
    /// Not with this token, or without one.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The event cannot be kept now.
    #[error("{0}; try again later")]
    Queue(#[from] QueueError),
    /// There is no store here.
    #[error("{NO_STORE}")]
    NoStore,
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Too many debug streams.
    #[error("{0} debug streams are open, which is the most; try again later")]
    Streams(usize),
}

impl Refusal {
    /// A field with a problem.
    pub fn field(
        field: impl Into<Cow<'static, str>>,
        problem: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::Field { field: field.into(), problem: problem.into() }
    }

    /// What the client is told. Where our servers are and how they fail is for our own log: ingest
    /// tokens stand in web pages.
    pub fn for_client(&self) -> String {
        match self {
            Self::Denied(Denied::Unavailable(_)) => {
                "tokens cannot be checked now; try again later".to_owned()
            }
            Self::Queue(QueueError::Unavailable(_) | QueueError::InDoubt { .. }) => {
                "the queue is not available now; try again later".to_owned()
            }
            Self::Store(_) => "the store does not answer now; try again later".to_owned(),
            other => other.to_string(),
        }
    }

    /// The status that says so.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Field { .. } | Self::Broken(_) => StatusCode::BAD_REQUEST,
            Self::Slow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::NoLength => StatusCode::LENGTH_REQUIRED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unsupported(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NotFound | Self::NoIngestion => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Denied(Denied::Domain) => StatusCode::FORBIDDEN,
            Self::Denied(Denied::Unavailable(_))
            | Self::Queue(_)
            | Self::NoStore
            | Self::Store(_)
            | Self::Streams(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Denied(
                Denied::Missing
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
}
