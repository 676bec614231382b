//! Reads and decodes request bodies within bounds on size and time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use encoding_rs::Encoding;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, TRANSFER_ENCODING};

use super::charset;
use super::encoding::Encodings;
use super::refusal::Refusal;

/// The body that a route expects.
#[derive(Clone, Copy)]
pub struct Expected {
    /// The largest size in bytes, as sent and decompressed.
    pub most: usize,
    /// Whether it may be lines of JSON.
    pub lines: bool,
}

/// The content types of lines of JSON.
const LINES: [&[u8]; 4] = [
    b"application/x-ndjson",
    b"application/ndjson",
    b"application/jsonl",
    b"application/x-jsonlines",
];

/// The most bytes of an event that are read although its sender is not known.
pub const MAX_OF_STRANGER: usize = 16 * 1024;
/// How long reading it may take.
const STRANGER_TIMEOUT: Duration = Duration::from_secs(1);

/// How a body has to be decoded.
pub struct Coding {
    charset: &'static Encoding,
    encodings: Encodings,
    most: usize,
}

impl Coding {
    /// The most bytes that a body of `bytes` may have once it is decoded.
    pub fn most_decoded(&self, bytes: usize) -> usize {
        let is_plain = self.encodings.is_empty() && self.charset == encoding_rs::UTF_8;
        if is_plain { bytes } else { self.most }
    }

    /// Decompresses a body, within the bound for its size, and converts it to UTF-8.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`], or an invalid `body`.
    pub async fn decode(self, body: Bytes) -> Result<Bytes, Refusal> {
        charset::decode(self.encodings.decode(body, self.most).await?, self.charset)
    }
}

/// Checks that the head announces a body that can be read: JSON, in a known encoding, and not too
/// large. Returns how to decode it.
pub fn check_head(
    headers: &HeaderMap,
    body: &Incoming,
    expected: Expected,
) -> Result<Coding, Refusal> {
    if !headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(TRANSFER_ENCODING) {
        return Err(Refusal::NoLength);
    }
    // `sendBeacon` sends text/plain, and some clients send no Content-Type.
    if let Some(kind) = headers.get(CONTENT_TYPE) {
        let kind = kind.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        let known: [&[u8]; 2] = [b"application/json", b"text/plain"];
        let lines: &[&[u8]] = if expected.lines { &LINES } else { &[] };
        let mut known = known.iter().chain(lines);
        if !known.any(|known| kind.trim_ascii().eq_ignore_ascii_case(known)) {
            let is_lines = LINES.iter().any(|lines| kind.trim_ascii().eq_ignore_ascii_case(lines));
            return Err(Refusal::Unsupported(match (expected.lines, is_lines) {
                (true, _) => "Content-Type must be application/json or application/x-ndjson",
                (false, true) => {
                    "Content-Type must be application/json; send several events to POST /batch"
                }
                (false, false) => "Content-Type must be application/json or text/plain",
            }));
        }
    }
    let charset = charset::named_in(headers)?;
    let encodings = Encodings::of(headers)?;
    if body.size_hint().lower() > expected.most as u64 {
        return Err(Refusal::TooLarge(expected.most));
    }
    Ok(Coding { charset, encodings, most: expected.most })
}

/// Whether the head announces plain text, which pages of any site may send without a preflight.
pub fn is_text(headers: &HeaderMap) -> bool {
    let is = |kind: &hyper::header::HeaderValue| {
        let kind = kind.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        kind.trim_ascii().eq_ignore_ascii_case(b"text/plain")
    };
    headers.get_all(CONTENT_TYPE).iter().any(is)
}

/// Reads the whole body of at most `most` bytes, which are counted as they arrive, whatever the head
/// announced.
pub async fn read(body: Incoming, within: Duration, most: usize) -> Result<Bytes, Refusal> {
    read_with(body, within, most, |_| Ok(())).await
}

/// Like [`read`]; `grow` is called with the size so far before more is kept, and may refuse it.
pub async fn read_with(
    body: Incoming,
    within: Duration,
    most: usize,
    grow: impl FnMut(usize) -> Result<(), Refusal>,
) -> Result<Bytes, Refusal> {
    // Usually the body has already arrived, and the timer is never armed.
    let read = tokio::time::timeout(within, collect(body, most, grow));
    read.await.unwrap_or_else(|_| Err(Refusal::Slow(bklit_wire::duration::format(within))))
}

/// Reads an event whose sender is not known, so that the log can say what was lost, and the event
/// can be sent again. `None` if it is compressed, larger than [`MAX_OF_STRANGER`] or slow.
pub async fn read_of_stranger(body: Incoming, coding: Coding) -> Option<Bytes> {
    let is_short = body.size_hint().exact().is_some_and(|size| size <= MAX_OF_STRANGER as u64);
    if !is_short || !coding.encodings.is_empty() {
        return None;
    }
    let bytes = read(body, STRANGER_TIMEOUT, MAX_OF_STRANGER).await.ok()?;
    coding.decode(bytes).await.ok()
}

async fn collect(
    mut body: Incoming,
    most: usize,
    mut grow: impl FnMut(usize) -> Result<(), Refusal>,
) -> Result<Bytes, Refusal> {
    let mut first = Bytes::new();
    // Most bodies are a single frame and need no copy.
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refusal::Broken(error.to_string()))?;
        // Trailers are ignored.
        let Ok(data) = frame.into_data() else { continue };
        let size = first.len() + rest.len() + data.len();
        if size > most {
            return Err(Refusal::TooLarge(most));
        }
        grow(size)?;
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
