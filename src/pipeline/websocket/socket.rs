//! One open socket: messages in and out, pings, and the way to close it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message, Utf8Bytes};

/// The close code for who may not be here.
pub const POLICY: CloseCode = CloseCode::Policy;
/// The close code of a server that stops.
pub const AWAY: CloseCode = CloseCode::Away;

/// How long the other end may take to say goodbye too.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest reason that fits into a closing frame.
const MAX_REASON: usize = 123;
/// What is read at once.
const READ_BUFFER: usize = 8 * 1024;
/// What is gathered before it is written, and the most that may wait to be written: a message of
/// ours is far smaller.
const WRITE_BUFFER: usize = 16 * 1024;
const MAX_WRITE_BUFFER: usize = 1024 * 1024;

/// What came of waiting for a message.
#[derive(Debug)]
pub enum Received {
    /// A message.
    Text(Utf8Bytes),
    /// It cannot go on: close with this code and reason.
    Unusable(CloseCode, String),
    /// The other end has closed, or is gone without a word; and which of it.
    Ended(&'static str),
}

pub struct Socket {
    stream: WebSocketStream<TokioIo<Upgraded>>,
    /// Set: the connection is not closed before the other end has stopped sending.
    linger: Arc<AtomicBool>,
    pings: Interval,
    /// Something came since the last ping.
    heard: bool,
    /// The longest message, in bytes.
    longest: usize,
}

impl Socket {
    /// A socket on an upgraded connection, which takes messages of up to `longest` bytes.
    pub async fn open(
        upgraded: Upgraded,
        linger: Arc<AtomicBool>,
        longest: usize,
        ping_interval: Duration,
    ) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_write_buffer_size(MAX_WRITE_BUFFER)
            .max_message_size(Some(longest))
            .max_frame_size(Some(longest));
        let io = TokioIo::new(upgraded);
        let stream = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        let mut pings = interval_at(Instant::now() + ping_interval, ping_interval);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { stream, linger, pings, heard: true, longest }
    }

    /// The next message. Sends pings meanwhile. Safe to cancel.
    pub async fn next(&mut self) -> Received {
        loop {
            tokio::select! {
                biased;
                frame = self.stream.next() => {
                    self.heard = true;
                    match frame {
                        Some(Ok(Message::Text(text))) => return Received::Text(text),
                        Some(Ok(Message::Binary(_))) => {
                            let reason = "messages are JSON in text frames".to_owned();
                            return Received::Unusable(CloseCode::Unsupported, reason);
                        }
                        // Pings and closings are answered below.
                        Some(Ok(_)) => {}
                        None => return Received::Ended("closed"),
                        Some(Err(error)) => return self.broken(&error),
                    }
                }
                _ = self.pings.tick() => {
                    if !std::mem::replace(&mut self.heard, false) {
                        return Received::Ended("no answer to a ping");
                    }
                    if self.stream.send(Message::Ping(Bytes::new())).await.is_err() {
                        return Received::Ended("a ping cannot be sent");
                    }
                }
            }
        }
    }

    fn broken(&self, error: &Error) -> Received {
        match error {
            Error::Capacity(CapacityError::MessageTooLong { .. }) => Received::Unusable(
                CloseCode::Size,
                format!("message: larger than {} bytes", self.longest),
            ),
            Error::Utf8(_) => Received::Unusable(CloseCode::Invalid, "not UTF-8".to_owned()),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                Received::Ended("the connection ended without a goodbye")
            }
            Error::Protocol(error) => {
                Received::Unusable(CloseCode::Protocol, format!("not WebSocket: {error}"))
            }
            _ => Received::Ended("the connection broke"),
        }
    }

    /// Adds a message to those that go out with the next [`Socket::flush`], or before when they
    /// are many. Waits for a slow reader, who fails it after a time.
    pub async fn feed(&mut self, text: String) -> Result<(), Error> {
        self.stream.feed(Message::Text(text.into())).await
    }

    /// Sends what was fed.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.stream.flush().await
    }

    /// Sends a message.
    pub async fn send(&mut self, text: String) -> Result<(), Error> {
        self.stream.send(Message::Text(text.into())).await
    }

    /// Says goodbye and why, and waits a little for the other end to do so too.
    pub async fn close(&mut self, code: CloseCode, reason: &str) {
        self.linger.store(true, Relaxed);
        let mut end = reason.len().min(MAX_REASON);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let frame = CloseFrame { code, reason: reason[..end].into() };
        let farewell = async {
            // What fails here is over anyway.
            let _ = self.stream.close(Some(frame)).await;
            while let Some(Ok(_)) = self.stream.next().await {}
            let _ = self.stream.get_mut().shutdown().await;
        };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, farewell).await;
    }

    /// Ends it without a word.
    pub async fn hang_up(&mut self) {
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.stream.get_mut().shutdown()).await;
    }
}
