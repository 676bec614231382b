//! `GET /api/debug-stream`: the debug log as Server-Sent Events.
//!
//! Lines are unnamed messages. The bus's other messages have event names (`gauges`, `lost`,
//! `unparsed`, `history-end`), which an `EventSource` that only listens for `message` ignores.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::Response;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use super::Peer;
use super::refusal::Refusal;
use super::response::{self, ResponseBody};
use crate::auth::Denied;
use crate::intake::validate;
use crate::server::access::{authorize, query};
use bklit_wire::debug_bus::{DebugMessage, DebugStream};
use bklit_wire::debug_log::{DebugLog, Level, Stage};
use bklit_wire::text::safe_json;
use bklit_wire::time::UtcMillis;

/// Streams at once: every line is serialised once more for each.
const MAX_STREAMS: usize = 64;
/// How often a comment is sent, so that proxies keep the connection open and a dead client is
/// noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How often the reader's permission is checked again: its token may have been revoked.
const RECHECK: Duration = Duration::from_secs(3);
/// Available lines are sent together, up to about this many bytes.
const CHUNK: usize = 16 * 1024;
/// The least time between two chunks that are not full: lines that follow each other closely are sent
/// together, because sending a chunk takes as long as accepting an event.
const PACE: Duration = Duration::from_millis(10);
/// Chunks buffered for a slow reader. Further lines stay on the bus and, beyond its bound, are lost
/// to this reader.
const CHUNKS: usize = 4;

/// The most lines of the history that can be requested.
const MAX_HISTORY: usize = 1_000_000;

/// Opens a stream. With `history=N` it begins with the last N lines kept, and with `follow=false` it
/// ends after them.
pub fn open(peer: &Arc<Peer>, head: &Parts) -> Result<Response<ResponseBody>, Refusal> {
    let project = query(&head.uri, "projectId");
    if let Some(project) = &project {
        validate::id("projectId", project)?;
    }
    let history = match query(&head.uri, "history") {
        None => 0,
        Some(text) => text
            .parse::<usize>()
            .map_err(|_| Refusal::field("history", "must be a number of lines"))?
            .min(MAX_HISTORY),
    };
    let follows = query(&head.uri, "follow").is_none_or(|text| text != "false");
    let guard = StreamGuard::new(peer, head, project.as_deref())?;
    let (chunks, receiver) = mpsc::channel(CHUNKS);
    let mut connected = DebugLog::new(Stage::Websocket, Level::Info, "Debug stream connected");
    connected.project_id.clone_from(&project);
    let mut first = BytesMut::new();
    let bus = &peer.context.debug_bus;
    let source: Box<dyn DebugStream> =
        if follows { bus.subscribe_after(history) } else { bus.recall(history) };
    let connected = match (follows, history) {
        (false, _) => None,
        (true, 0) => {
            write_message(&mut first, "", &connected);
            None
        }
        (true, _) => Some(connected),
    };
    let stream = Stream { source, chunks, guard, head: head.clone(), connected };
    peer.streams.spawn(stream.run(first));
    let body = ResponseBody::Stream(receiver);
    let mut response = response::no_store(response::with_body("text/event-stream", body));
    // nginx would buffer the lines.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

struct Stream {
    source: Box<dyn DebugStream>,
    chunks: mpsc::Sender<Bytes>,
    guard: StreamGuard,
    /// The request's head, to check permission again.
    head: Parts,
    /// The line to send between earlier lines and new ones.
    connected: Option<DebugLog>,
}

impl Stream {
    /// Sends until the reader disconnects, the bus closes or the server stops.
    async fn run(mut self, first: BytesMut) {
        let mut chunk = first;
        let mut keep_alive = interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut recheck = interval_at(Instant::now() + RECHECK, RECHECK);
        recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let shutdown = self.guard.peer.shutdown.clone();
        let mut next = Instant::now();
        loop {
            if !chunk.is_empty() {
                if chunk.len() < CHUNK && Instant::now() < next {
                    tokio::select! {
                        biased;
                        () = shutdown.cancelled() => return,
                        () = self.chunks.closed() => return,
                        () = sleep_until(next) => {}
                    }
                    self.write_available(&mut chunk).await;
                }
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => return,
                    sent = self.chunks.send(chunk.split().freeze()) => if sent.is_err() { return },
                }
                next = Instant::now() + PACE;
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = self.chunks.closed() => return,
                _ = recheck.tick() => if !is_still_allowed(&self.guard, &self.head).await { return },
                message = self.source.next() => {
                    let Some(message) = message else { return };
                    self.write(&mut chunk, &message);
                    self.write_available(&mut chunk).await;
                }
                _ = keep_alive.tick() => chunk.extend_from_slice(b": keep-alive\n\n"),
            }
        }
    }

    /// Adds available messages until the chunk is full.
    async fn write_available(&mut self, chunk: &mut BytesMut) {
        while chunk.len() < CHUNK {
            tokio::select! {
                biased;
                message = self.source.next() => match message {
                    Some(message) => self.write(chunk, &message),
                    // The next call sees it again.
                    None => return,
                },
                () = std::future::ready(()) => return,
            }
        }
    }

    fn write(&mut self, chunk: &mut BytesMut, message: &DebugMessage) {
        match message {
            DebugMessage::Log(log) => {
                let wanted = &self.guard.project;
                if wanted.is_none() || log.project_id == *wanted {
                    write_message(chunk, "", &**log);
                }
            }
            // Gauges cover all projects, so a stream of one project gets only the sampling rate,
            // which it needs to interpret its lines.
            DebugMessage::Gauges(gauges) if self.guard.project.is_some() => {
                if gauges.sampling > 1 {
                    let sampling = serde_json::json!({
                        "process": gauges.process, "at": gauges.at, "sampling": gauges.sampling,
                    });
                    write_message(chunk, "event: gauges\n", &sampling);
                }
            }
            DebugMessage::Unparsed(_) if self.guard.project.is_some() => {}
            DebugMessage::Gauges(gauges) => write_message(chunk, "event: gauges\n", &**gauges),
            DebugMessage::Unparsed(line) => write_message(chunk, "event: unparsed\n", &**line),
            DebugMessage::Lost(lost) => {
                write_message(chunk, "event: lost\n", &serde_json::json!({ "lost": lost }));
            }
            DebugMessage::HistoryEnd => {
                if let Some(mut connected) = self.connected.take() {
                    connected.timestamp = UtcMillis::now();
                    write_message(chunk, "", &connected);
                }
                write_message(chunk, "event: history-end\n", &serde_json::json!({}));
            }
            // What this process observes is in its gauges.
            DebugMessage::Queue(_) => {}
            // The state of this process's own connection to a remote bus.
            DebugMessage::Connected | DebugMessage::Disconnected(_) => {}
        }
    }
}

/// False once the token was revoked or has expired, but not while it cannot be checked.
async fn is_still_allowed(guard: &StreamGuard, head: &Parts) -> bool {
    let allowed = authorize(guard.peer.caller(&head.headers), head, guard.project.as_deref()).await;
    matches!(allowed, Ok(()) | Err(Denied::Unavailable(_)))
}

/// Serialised JSON contains no line breaks, so the data is a single line.
fn write_message(chunk: &mut BytesMut, event: &str, data: &(impl Serialize + ?Sized)) {
    // Messages of the bus have text keys only and always serialise.
    let Ok(json) = serde_json::to_string(data) else { return };
    for part in [event.as_bytes(), b"data: ", safe_json(&json).as_bytes(), b"\n\n"] {
        chunk.extend_from_slice(part);
    }
}

/// Counts an open stream, and logs when it opens and closes.
struct StreamGuard {
    peer: Arc<Peer>,
    /// The client, as far as it may be shown.
    client: Option<(String, Value)>,
    project: Option<String>,
}

impl StreamGuard {
    fn new(peer: &Arc<Peer>, head: &Parts, project: Option<&str>) -> Result<Self, Refusal> {
        let streams = &peer.context.streams;
        let next = |open| (open < MAX_STREAMS).then_some(open + 1);
        let before = streams
            .fetch_update(Relaxed, Relaxed, next)
            .map_err(|_| Refusal::Streams(MAX_STREAMS))?;
        let client = peer.shown(peer.client(&head.headers).ip);
        let project = project.map(str::to_owned);
        let guard = Self { peer: Arc::clone(peer), client, project };
        guard.log("Debug stream connected", before + 1);
        Ok(guard)
    }

    fn log(&self, message: &'static str, open: usize) {
        let mut step = self.peer.context.intake.log().step(Stage::Websocket);
        if let Some(project) = &self.project {
            step = step.project(project);
        }
        step.info(message, || {
            let streams = [("streams".to_owned(), open.into())];
            streams.into_iter().chain(self.client.clone()).collect()
        });
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        let before = self.peer.context.streams.fetch_sub(1, Relaxed);
        self.log("Debug stream disconnected", before - 1);
    }
}
