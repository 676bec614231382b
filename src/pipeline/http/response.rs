//! Builds responses.

use std::borrow::Cow;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue,
    RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio::sync::mpsc;

use super::encoding;
use super::refusal::Refusal;
use bklit_wire::text::safe_json;

/// Seconds after which a client should retry an event that could not be accepted.
const RETRY_AFTER_SECONDS: &str = "2";

/// A response's body.
pub enum ResponseBody {
    /// Complete.
    Whole(Bytes),
    /// In chunks, until the sender is dropped.
    Stream(mpsc::Receiver<Bytes>),
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Stream(chunks) => {
                chunks.poll_recv(cx).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// A response with a body of content type `kind`.
pub fn with_body(kind: &'static str, body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    set(&mut response, CONTENT_TYPE, kind);
    response
}

/// A response with `value` as JSON.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response<ResponseBody> {
    // The values have text keys only and always serialise.
    json_text(status, serde_json::to_string(value).unwrap_or_default())
}

/// A response with this JSON.
pub fn json_text(status: StatusCode, text: String) -> Response<ResponseBody> {
    // Operators print responses in terminals.
    let bytes = match safe_json(&text) {
        Cow::Borrowed(_) => text.into_bytes(),
        Cow::Owned(safe) => safe.into_bytes(),
    };
    let mut response = with_body("application/json", ResponseBody::Whole(bytes.into()));
    *response.status_mut() = status;
    response
}

/// A response with an error message.
pub fn error(status: StatusCode, error: String) -> Response<ResponseBody> {
    #[derive(Serialize)]
    struct Error {
        error: String,
    }
    json(status, &Error { error })
}

/// The response to a refused request.
pub fn refusal(refusal: &Refusal) -> Response<ResponseBody> {
    let status = refusal.status();
    let mut response = retryable(error(status, refusal.for_client()), refusal.retry_after());
    match refusal {
        Refusal::Method(allowed) => set(&mut response, ALLOW, allowed),
        // The rest of the body is not read.
        Refusal::Slow(_) | Refusal::TooLarge(_) | Refusal::Broken(_) | Refusal::Busy => {
            set(&mut response, CONNECTION, "close");
        }
        Refusal::Encoding => set(&mut response, ACCEPT_ENCODING, encoding::SUPPORTED),
        Refusal::Rejected(_) if status == StatusCode::UNAUTHORIZED => {
            set(&mut response, WWW_AUTHENTICATE, "Bearer");
        }
        _ => {}
    }
    response
}

/// Adds when to try again to a response whose status says so: after `wait`, if a limit was reached.
pub fn retryable(
    mut response: Response<ResponseBody>,
    wait: Option<Duration>,
) -> Response<ResponseBody> {
    if matches!(response.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
    {
        set(&mut response, RETRY_AFTER, RETRY_AFTER_SECONDS);
        if let Some(wait) = wait {
            response.headers_mut().insert(RETRY_AFTER, wait.as_secs().into());
        }
    }
    response
}

/// The response to `OPTIONS` on a route with the methods `allowed`.
pub fn options(allowed: &'static str) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Whole(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    set(&mut response, ALLOW, allowed);
    response
}

/// Keeps the response out of caches.
pub fn no_store(mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    set(&mut response, CACHE_CONTROL, "no-store");
    response
}

/// Sets a header to a fixed value.
pub fn set(response: &mut Response<ResponseBody>, name: HeaderName, value: &'static str) {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
}
