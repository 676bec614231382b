//! The [`DebugBus`](bklit_wire::debug_bus::DebugBus) of another process, over its `GET
//! /api/debug-stream`.
//!
//! A separate task reads and reconnects. Messages are buffered in a bounded channel; while it is
//! full, the task stops reading, so the sending process detects a slow reader and counts the lines
//! it drops.

mod parser;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

use crate::client::{Client, cause};
use bklit_net::backoff::Backoff;
use bklit_wire::debug_bus::{DebugMessage, DebugStream};
pub use parser::{MAX_EVENT, MAX_LINE, Parser, ServerEvent};

/// Messages buffered for the reader.
const CAPACITY: usize = 1024;
/// Time limit until the response headers are received.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// The daemon sends a comment every 15 s: after this long without a byte the connection is dead.
const SILENCE: Duration = Duration::from_secs(45);
/// Maximum pause between connection attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The reason of a disconnection when the stream was read to its end.
pub const ENDED: &str = "the daemon ended the stream";
/// Maximum bytes of an error response that are read.
const MAX_REFUSAL: usize = 4096;

/// Permanent errors: connecting again would not help.
#[derive(Debug, thiserror::Error)]
pub enum SseError {
    /// Not the URL of a daemon.
    #[error("invalid daemon URL `{url}` ({reason}); try http://127.0.0.1:3001")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The token contains characters that are not allowed in a header.
    #[error("the token contains invalid characters")]
    Token,
    /// 401 or 403.
    #[error(
        "access to {url} was denied ({reason}); create a token on its machine with \
         `bklit-tui token create --project '*' --scope read` and pass it with --token or BKLIT_TOKEN"
    )]
    Unauthorized {
        /// The stream.
        url: Url,
        /// The daemon's error message.
        reason: String,
    },
    /// The server is not a daemon.
    #[error("{url} is not the stream of a daemon ({reason}); check the address")]
    NotADaemon {
        /// The stream.
        url: Url,
        /// What it responded.
        reason: String,
    },
}

/// The URL of a stream and the token to use.
#[derive(Clone, Debug)]
pub struct Endpoint {
    url: Url,
    authorization: Option<HeaderValue>,
    /// Number of earlier lines to start with.
    history: Option<usize>,
}

impl Endpoint {
    /// The stream of the daemon at `base`, such as `http://host:3001`.
    ///
    /// # Errors
    /// If the URL or the token is invalid.
    pub fn new(base: &str, token: Option<&str>) -> Result<Self, SseError> {
        let invalid = |reason: &str| SseError::Url { url: base.to_owned(), reason: reason.into() };
        let mut url: Url = base.parse().map_err(|e: url::ParseError| invalid(&e.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid("it must start with http:// or https://"));
        }
        let path = format!("{}/api/debug-stream", url.path().trim_end_matches('/'));
        url.set_path(&path);
        // URLs are shown on screens, so credentials are removed; there is --token.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        let authorization = token.map(|token| {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))?;
            value.set_sensitive(true);
            Ok::<_, hyper::header::InvalidHeaderValue>(value)
        });
        let authorization = authorization.transpose().map_err(|_| SseError::Token)?;
        Ok(Self { url, authorization, history: None })
    }

    /// Only the lines of `project`, which a token for that project alone may read.
    #[must_use]
    pub fn of_project(mut self, project: &str) -> Self {
        self.url.query_pairs_mut().append_pair("projectId", project);
        self
    }

    /// Starts with up to `lines` earlier lines. Only once: after a reconnect only new lines follow.
    #[must_use]
    pub fn after_history(mut self, lines: usize) -> Self {
        self.history = Some(lines);
        self
    }

    /// Only earlier lines; the stream ends after them.
    #[must_use]
    pub fn ending(mut self) -> Self {
        self.url.query_pairs_mut().append_pair("follow", "false");
        self
    }

    /// The daemon, for the header of the console: scheme, host and port.
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    fn request(&self) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let mut url = self.url.clone();
        if let Some(lines) = self.history {
            url.query_pairs_mut().append_pair("history", &lines.to_string());
        }
        let mut request = Request::get(url.as_str()).header(ACCEPT, "text/event-stream");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.body(Full::default())
    }
}

/// A message, with its original text if it is a line.
#[derive(Clone, Debug)]
pub struct Received {
    /// The message.
    pub message: DebugMessage,
    /// The JSON of a line.
    pub raw: Option<String>,
}

impl From<DebugMessage> for Received {
    fn from(message: DebugMessage) -> Self {
        Self { message, raw: None }
    }
}

/// A subscription to another process's bus, which reconnects automatically.
pub struct SseDebugStream {
    received: mpsc::Receiver<Received>,
    _ends_the_task: DropGuard,
}

impl SseDebugStream {
    /// Connects. If the daemon cannot be reached, retries forever and reports this in the stream.
    ///
    /// # Errors
    /// If connecting again would not help.
    pub async fn connect(client: Client, endpoint: Endpoint) -> Result<Self, SseError> {
        let first = open(&client, &endpoint).await;
        let first = match first {
            Err(Failure::Permanent(error)) => return Err(error),
            Err(Failure::Transient(reason)) => Err(reason),
            Ok(response) => Ok(response),
        };
        let (sender, received) = mpsc::channel(CAPACITY);
        let stop = CancellationToken::new();
        let task = follow(client, endpoint, first, sender);
        let stopped = stop.clone();
        tokio::spawn(async move { stopped.run_until_cancelled(task).await });
        Ok(Self { received, _ends_the_task: stop.drop_guard() })
    }

    /// The next message with its text. Cancel-safe.
    pub async fn next_received(&mut self) -> Option<Received> {
        self.received.recv().await
    }
}

#[async_trait]
impl DebugStream for SseDebugStream {
    async fn next(&mut self) -> Option<DebugMessage> {
        self.next_received().await.map(|received| received.message)
    }
}

enum Failure {
    Transient(String),
    Permanent(SseError),
}

/// The subscriber has been dropped.
struct Gone;

async fn follow(
    client: Client,
    mut endpoint: Endpoint,
    mut connection: Result<Response<Incoming>, String>,
    sender: mpsc::Sender<Received>,
) {
    let mut backoff = Backoff::new(LONGEST_PAUSE);
    loop {
        let reason = match connection {
            Ok(response) => {
                endpoint.history = None;
                let Ok((reason, was_useful)) = read(response, &sender).await else { return };
                if was_useful {
                    backoff.reset();
                }
                reason
            }
            Err(reason) => reason,
        };
        let message = DebugMessage::Disconnected(reason.into());
        if sender.send(message.into()).await.is_err() {
            return;
        }
        backoff.pause().await;
        connection = open(&client, &endpoint).await.map_err(|failure| match failure {
            Failure::Transient(reason) => reason,
            Failure::Permanent(error) => error.to_string(),
        });
    }
}

async fn open(client: &Client, endpoint: &Endpoint) -> Result<Response<Incoming>, Failure> {
    let request = endpoint.request().map_err(|error| Failure::Transient(error.to_string()))?;
    let response = match timeout(RESPONSE_TIMEOUT, client.request(request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return Err(Failure::Transient(cause(&error))),
        Err(_) => {
            let seconds = RESPONSE_TIMEOUT.as_secs();
            return Err(Failure::Transient(format!("no response within {seconds} s")));
        }
    };
    let status = response.status();
    if status == StatusCode::OK {
        let content_type = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        if content_type.is_some_and(|value| value.starts_with(b"text/event-stream")) {
            return Ok(response);
        }
        let reason = "the response is not an event stream".to_owned();
        return Err(Failure::Permanent(SseError::NotADaemon { url: endpoint.url.clone(), reason }));
    }
    let reason = refusal(response).await;
    let url = endpoint.url.clone();
    Err(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Failure::Permanent(SseError::Unauthorized { url, reason })
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Failure::Transient(reason),
        _ if status.is_server_error() => Failure::Transient(reason),
        _ => Failure::Permanent(SseError::NotADaemon { url, reason }),
    })
}

/// The status, and the daemon's `{"error": "…"}` if the body has one.
async fn refusal(response: Response<Incoming>) -> String {
    #[derive(serde::Deserialize)]
    struct Refusal {
        error: String,
    }
    let status = response.status();
    let body = http_body_util::Limited::new(response.into_body(), MAX_REFUSAL).collect();
    let body = timeout(RESPONSE_TIMEOUT, body).await.ok().and_then(Result::ok);
    let refusal = body.and_then(|body| serde_json::from_slice::<Refusal>(&body.to_bytes()).ok());
    match refusal {
        Some(Refusal { error }) => format!("{status}: {error}"),
        None => status.to_string(),
    }
}

/// Reads until the connection ends; returns the reason, and whether any data was received.
async fn read(
    response: Response<Incoming>,
    sender: &mpsc::Sender<Received>,
) -> Result<(String, bool), Gone> {
    sender.send(DebugMessage::Connected.into()).await.map_err(|_| Gone)?;
    let mut body = response.into_body();
    let mut parser = Parser::default();
    let mut was_useful = false;
    loop {
        let frame = tokio::select! {
            frame = timeout(SILENCE, body.frame()) => frame,
            // Without lines, nothing else would detect it.
            () = sender.closed() => return Err(Gone),
        };
        let frame = match frame {
            Err(_) => {
                let reason = format!("no data for {} s", SILENCE.as_secs());
                return Ok((reason, was_useful));
            }
            Ok(None) => return Ok((ENDED.to_owned(), was_useful)),
            Ok(Some(Err(error))) => return Ok((cause(&error), was_useful)),
            Ok(Some(Ok(frame))) => frame,
        };
        let Some(bytes) = frame.data_ref() else { continue };
        was_useful = true;
        for event in parser.push(bytes) {
            if let Some(received) = message(event) {
                sender.send(received).await.map_err(|_| Gone)?;
            }
        }
    }
}

/// Converts an event to a message; `None` if its type is unknown.
fn message(event: ServerEvent) -> Option<Received> {
    #[derive(serde::Deserialize)]
    struct Lost {
        lost: u64,
    }
    let (name, data) = match event {
        ServerEvent::TooLong => return Some(DebugMessage::Lost(1).into()),
        ServerEvent::Event { name, data } => (name, data),
    };
    let unparsed = |text: &str| DebugMessage::Unparsed(Arc::from(text)).into();
    Some(match name.as_str() {
        "" | "message" => match serde_json::from_str(&data) {
            Ok(log) => Received { message: DebugMessage::Log(Arc::new(log)), raw: Some(data) },
            Err(_) => unparsed(&data),
        },
        "gauges" => match serde_json::from_str(&data) {
            Ok(gauges) => DebugMessage::Gauges(Arc::new(gauges)).into(),
            Err(_) => unparsed(&data),
        },
        "lost" => match serde_json::from_str::<Lost>(&data) {
            Ok(Lost { lost }) => DebugMessage::Lost(lost).into(),
            Err(_) => unparsed(&data),
        },
        "history-end" => DebugMessage::HistoryEnd.into(),
        "unparsed" => {
            let text = serde_json::from_str::<String>(&data);
            unparsed(text.as_deref().unwrap_or(&data))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_belongs_to_its_daemon() {
        for (base, url) in [
            ("http://host:3001", "http://host:3001/api/debug-stream"),
            ("http://user:secret@host:3001/", "http://host:3001/api/debug-stream"),
            ("https://host/bklit", "https://host/bklit/api/debug-stream"),
        ] {
            assert_eq!(Endpoint::new(base, None).unwrap().url.as_str(), url);
        }
        let of_project = Endpoint::new("http://host", None).unwrap().of_project("a&b");
        assert_eq!(of_project.url.as_str(), "http://host/api/debug-stream?projectId=a%26b");
        for base in ["", "host:3001", "ftp://host", "http://"] {
            assert!(matches!(Endpoint::new(base, None), Err(SseError::Url { .. })), "{base}");
        }
        let odd = Endpoint::new("http://host", Some("a\nb"));
        assert!(matches!(odd, Err(SseError::Token)));
    }

    #[test]
    fn every_kind_of_event_becomes_its_message() {
        let event = |name: &str, data: &str| {
            let event = ServerEvent::Event { name: name.to_owned(), data: data.to_owned() };
            message(event).map(|received| received.message)
        };
        let log = r#"{"timestamp":"2026-01-31T12:00:00.000Z","stage":"queue","level":"info","message":"m","data":{}}"#;
        assert!(matches!(event("", log), Some(DebugMessage::Log(log)) if log.message == "m"));
        assert!(matches!(event("", "{"), Some(DebugMessage::Unparsed(text)) if &*text == "{"));
        assert!(matches!(event("gauges", r#"{"process":"p"}"#), Some(DebugMessage::Gauges(_))));
        assert!(matches!(event("gauges", "1"), Some(DebugMessage::Unparsed(_))));
        assert!(matches!(event("lost", r#"{"lost":7}"#), Some(DebugMessage::Lost(7))));
        let text = event("unparsed", r#""a\nb""#);
        assert!(matches!(text, Some(DebugMessage::Unparsed(text)) if &*text == "a\nb"));
        assert!(event("of-the-future", "{}").is_none());
        let long = message(ServerEvent::TooLong).map(|received| received.message);
        assert!(matches!(long, Some(DebugMessage::Lost(1))));
    }
}
