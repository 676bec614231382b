//! One open socket: messages in and out, pings, and closing.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message, Utf8Bytes};

use bklit_wire::time::UtcMillis;

/// The close code for a client that is not allowed.
pub const POLICY: CloseCode = CloseCode::Policy;
/// The close code of a server that stops.
pub const AWAY: CloseCode = CloseCode::Away;
/// The close code of a server that has no place for the client now.
pub const AGAIN: CloseCode = CloseCode::Again;

/// How long the peer may take to reply to a close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest reason that fits into a close frame, in bytes.
const MAX_REASON: usize = 123;
/// The size of the read buffer, in bytes.
const READ_BUFFER: usize = 8 * 1024;
/// Bytes gathered before they are written, and the most that may wait to be written: our messages are
/// far smaller.
const WRITE_BUFFER: usize = 16 * 1024;
const MAX_WRITE_BUFFER: usize = 1024 * 1024;

/// The result of waiting for a message.
#[derive(Debug)]
pub enum Received {
    /// A message.
    Text(Utf8Bytes),
    /// The socket cannot continue: close it with this code and reason.
    Unusable(CloseCode, String),
    /// The peer has closed the socket or the connection was lost, with the reason.
    Ended(&'static str),
}

/// Whether a connection is reported as broken, possibly long after the peer has gone. The end of
/// the stream, which is an error if it comes without TLS's own end, comes from the peer itself.
fn is_late(frame: &Option<Result<Message, Error>>) -> bool {
    let Some(Err(Error::Io(error))) = frame else { return false };
    error.kind() != std::io::ErrorKind::UnexpectedEof
}

/// How far the current ping has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ping {
    /// None is needed before the next tick.
    Later,
    /// It is due, but the socket has no room for it yet.
    Due,
    /// It is being written.
    Writing,
    /// It was sent, and nothing was received since.
    Unanswered,
}

pub struct Socket {
    stream: WebSocketStream<TokioIo<Upgraded>>,
    /// If set, the connection is not closed before the peer has stopped sending.
    linger: Arc<AtomicBool>,
    pings: Interval,
    ping: Ping,
    /// When something was last received.
    last_heard: UtcMillis,
    /// The longest message, in bytes.
    longest: usize,
}

impl Socket {
    /// A socket on an upgraded connection that accepts messages of up to `longest` bytes.
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
        let last_heard = UtcMillis::now();
        Self { stream, linger, pings, ping: Ping::Later, last_heard, longest }
    }

    /// When anything was last received, including the end of the connection, or an event was last
    /// accepted.
    pub fn last_heard(&self) -> UtcMillis {
        self.last_heard
    }

    /// The last message was accepted as an event. That counts as a sign of life: the event's time may be
    /// later than that of its receipt, and a session that ends before its last event goes on.
    pub fn accepted(&mut self) {
        self.last_heard = UtcMillis::now();
    }

    /// Receives the next message, sending pings meanwhile. Cancel-safe.
    pub async fn next(&mut self) -> Received {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        // First what was received: after a pause of this process, it shows that the peer is alive.
        while let Poll::Ready(frame) = self.stream.poll_next_unpin(cx) {
            if let Some(received) = self.receive(frame) {
                return Poll::Ready(received);
            }
        }
        self.poll_ping(cx).map(Received::Ended)
    }

    /// `None` for a frame that is not for the caller.
    fn receive(&mut self, frame: Option<Result<Message, Error>>) -> Option<Received> {
        if !is_late(&frame) {
            self.last_heard = UtcMillis::now();
        }
        if self.ping == Ping::Unanswered {
            self.ping = Ping::Later;
        }
        match frame {
            Some(Ok(Message::Text(text))) => Some(Received::Text(text)),
            Some(Ok(Message::Binary(_))) => {
                let reason = "messages are JSON in text frames".to_owned();
                Some(Received::Unusable(CloseCode::Unsupported, reason))
            }
            // tungstenite replies to pings and close frames.
            Some(Ok(_)) => None,
            None => Some(Received::Ended("closed")),
            Some(Err(error)) => Some(self.broken(&error)),
        }
    }

    /// Sends pings; ready with the reason once the peer is dead.
    fn poll_ping(&mut self, cx: &mut Context<'_>) -> Poll<&'static str> {
        const UNSENT: &str = "cannot send a ping";
        loop {
            match self.ping {
                Ping::Later => {
                    ready!(self.pings.poll_tick(cx));
                    self.ping = Ping::Due;
                }
                Ping::Due => {
                    let sent = ready!(self.stream.poll_ready_unpin(cx))
                        .and_then(|()| self.stream.start_send_unpin(Message::Ping(Bytes::new())));
                    if sent.is_err() {
                        return Poll::Ready(UNSENT);
                    }
                    self.ping = Ping::Writing;
                }
                Ping::Writing => {
                    if ready!(self.stream.poll_flush_unpin(cx)).is_err() {
                        return Poll::Ready(UNSENT);
                    }
                    self.ping = Ping::Unanswered;
                }
                Ping::Unanswered => {
                    ready!(self.pings.poll_tick(cx));
                    return Poll::Ready("no reply to a ping");
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
                Received::Ended("connection closed without a close frame")
            }
            Error::Protocol(error) => Received::Unusable(
                CloseCode::Protocol,
                format!("WebSocket protocol error: {error}"),
            ),
            _ => Received::Ended("connection lost"),
        }
    }

    /// Adds a message to those sent with the next [`Socket::flush`], or earlier if they are many.
    /// Waits for a slow reader, and fails after the write timeout.
    pub async fn feed(&mut self, text: String) -> Result<(), Error> {
        self.stream.feed(Message::Text(text.into())).await
    }

    /// Sends the messages added with [`Socket::feed`].
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.stream.flush().await
    }

    /// Sends a message.
    pub async fn send(&mut self, text: String) -> Result<(), Error> {
        self.stream.send(Message::Text(text.into())).await
    }

    /// Sends a close frame with the reason, and waits briefly for the peer's.
    pub async fn close(&mut self, code: CloseCode, reason: &str) {
        self.linger.store(true, Relaxed);
        let mut end = reason.len().min(MAX_REASON);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let frame = CloseFrame { code, reason: reason[..end].into() };
        let farewell = async {
            // A failure here ends the connection anyway.
            let _ = self.stream.close(Some(frame)).await;
            while let Some(Ok(_)) = self.stream.next().await {}
            let _ = self.stream.get_mut().shutdown().await;
        };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, farewell).await;
    }

    /// Sends a close frame with the reason, as far as that is possible without waiting.
    pub fn close_at_once(&mut self, code: CloseCode, reason: &'static str) {
        let frame = CloseFrame { code, reason: reason.into() };
        let _ = self.stream.close(Some(frame)).now_or_never();
        let _ = self.stream.get_mut().shutdown().now_or_never();
    }

    /// Closes the connection without a close frame.
    pub async fn hang_up(&mut self) {
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.stream.get_mut().shutdown()).await;
    }
}
