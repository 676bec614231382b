//! Why a request is refused, and the status code for it.

use std::borrow::Cow;
use std::time::Duration;

use hyper::StatusCode;

use super::encoding::{MAX_ENCODINGS, SUPPORTED};
use crate::auth::Denied;
use crate::intake::Rejection;
use crate::queue::QueueError;
use crate::store::StoreError;
use crate::store::live_view::NO_STORE;

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Its event is rejected, a field of its query is invalid, or it is not authorized.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The body did not arrive completely.
    #[error("body: {0}")]
    Broken(String),
    /// The body took too long to arrive.
    #[error("body: not received within {0}")]
    Slow(String),
    /// The request has neither a length nor chunks.
    #[error("body: send a JSON object with Content-Length or chunked")]
    NoLength,
    /// The body is too large.
    #[error("body: larger than {0} bytes")]
    TooLarge(usize),
    /// The body has an unsupported type.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The body's character encoding is unknown.
    #[error("the charset {0} is not supported; send UTF-8")]
    Charset(String),
    /// The body is compressed in an unsupported way.
    #[error("Content-Encoding must be {SUPPORTED}, identity, or up to {MAX_ENCODINGS} of them")]
    Encoding,
    /// The batch has too many events.
    #[error("body: more than {0} events")]
    TooMany(usize),
    /// Too many batches are being received.
    #[error("too many batches are being received; try again later")]
    Busy,
    /// A browser's preflight cannot be granted.
    #[error("the preflight {0}")]
    Preflight(&'static str),
    /// The path is unknown.
    #[error("no such path: see POST /track, /track-event, /session-end, /batch and GET /health")]
    NotFound,
    /// The process has other roles.
    #[error(
        "this process accepts no events: it runs without the role ingestion; send them to one \
         that has it"
    )]
    NoIngestion,
    /// The route has other methods.
    #[error("method not allowed here: use {0}")]
    Method(&'static str),
    /// This process has no store.
    #[error("{NO_STORE}")]
    NoStore,
    /// The store is unavailable.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The history of figures cannot be read.
    #[error("the history of figures is unavailable; try again later")]
    NoHistory,
    /// There are too many debug streams.
    #[error("{0} debug streams are open, which is the limit; try again later")]
    Streams(usize),
    /// All connections have a request in progress.
    #[error("too many requests are in progress; try again later")]
    NoSlot,
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        Self::Rejected(denied.into())
    }
}

impl From<QueueError> for Refusal {
    fn from(error: QueueError) -> Self {
        Self::Rejected(error.into())
    }
}

impl Refusal {
    /// An invalid field.
    pub fn field(
        field: impl Into<Cow<'static, str>>,
        problem: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::Rejected(Rejection::field(field, problem))
    }

    /// The text for the client. Names of our servers and reasons of their failures appear only in
    /// our own log.
    pub fn for_client(&self) -> String {
        match self {
            Self::Rejected(rejection) => rejection.for_client(),
            Self::Store(_) => "the store is unavailable; try again later".to_owned(),
            other => other.to_string(),
        }
    }

    /// When to try again, if a limit was reached.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Rejected(rejection) => rejection.retry_after(),
            _ => None,
        }
    }

    /// Its kind: the reason in `GET /api/refused` and in metrics, and how log lines are folded.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Rejected(rejection) => rejection.kind(),
            Self::Broken(_) | Self::Slow(_) | Self::NoLength => "incomplete body",
            Self::TooLarge(_) | Self::TooMany(_) => "body too large",
            Self::Unsupported(_) | Self::Charset(_) | Self::Encoding => "unsupported body",
            Self::NotFound | Self::NoIngestion | Self::Method(_) => "no such route",
            Self::Preflight(_) => "preflight",
            Self::Busy
            | Self::NoSlot
            | Self::NoStore
            | Self::NoHistory
            | Self::Store(_)
            | Self::Streams(_) => "unavailable",
        }
    }

    /// The status code.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Rejected(rejection) => rejection.status(),
            Self::Broken(_) | Self::Preflight(_) => StatusCode::BAD_REQUEST,
            Self::Slow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::NoLength => StatusCode::LENGTH_REQUIRED,
            Self::TooLarge(_) | Self::TooMany(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unsupported(_) | Self::Charset(_) | Self::Encoding => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::NotFound | Self::NoIngestion => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoStore
            | Self::NoHistory
            | Self::Store(_)
            | Self::Streams(_)
            | Self::Busy
            | Self::NoSlot => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}
