//! Reads request bodies within bounds on size and time.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, TRANSFER_ENCODING};

use super::refusal::Refusal;
use crate::http::HttpSettings;

/// Checks that the head announces a body that can be read: JSON, and not too large.
pub fn check_head(headers: &HeaderMap, body: &Incoming, most: usize) -> Result<(), Refusal> {
    if !headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(TRANSFER_ENCODING) {
        return Err(Refusal::NoLength);
    }
    // `sendBeacon` sends text/plain, and some clients send no Content-Type.
    if let Some(kind) = headers.get(CONTENT_TYPE) {
        let kind = kind.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        let known: [&[u8]; 2] = [b"application/json", b"text/plain"];
        if !known.iter().any(|known| kind.trim_ascii().eq_ignore_ascii_case(known)) {
            return Err(Refusal::Unsupported("Content-Type must be application/json"));
        }
    }
    match headers.get(CONTENT_ENCODING) {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            Err(Refusal::Unsupported("compressed bodies are not supported: send plain JSON"))
        }
        _ if body.size_hint().lower() > most as u64 => Err(Refusal::TooLarge(most)),
        _ => Ok(()),
    }
}

/// Whether the head announces plain text, which pages of any site may send without a preflight.
pub fn is_text(headers: &HeaderMap) -> bool {
    let is = |kind: &hyper::header::HeaderValue| {
        let kind = kind.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        kind.trim_ascii().eq_ignore_ascii_case(b"text/plain")
    };
    headers.get_all(CONTENT_TYPE).iter().any(is)
}

/// Reads the whole body. Its bytes are counted as they arrive, whatever the head announced.
pub async fn read(body: Incoming, settings: &HttpSettings) -> Result<Bytes, Refusal> {
    let read = tokio::time::timeout(settings.body_timeout, collect(body, settings.max_body_bytes));
    // Usually the body has already arrived, and the timer is never armed.
    read.await
        .unwrap_or_else(|_| Err(Refusal::Slow(bklit_wire::duration::format(settings.body_timeout))))
}

async fn collect(mut body: Incoming, most: usize) -> Result<Bytes, Refusal> {
    let mut first = Bytes::new();
    // Most bodies are a single frame and need no copy.
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refusal::Broken(error.to_string()))?;
        // Trailers are ignored.
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + rest.len() + data.len() > most {
            return Err(Refusal::TooLarge(most));
        }
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}
