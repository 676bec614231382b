//! A client's socket that does not wait for a dead client, nor close on one that is still sending.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::connection::Connection;
use super::malformed;
use super::transport::Transport;

/// How long a client may read nothing of its response.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long, and up to how many bytes, the rest of a refused body is read and discarded after the
/// response. Closing at once would make the kernel reset the connection, and the client could lose
/// the response with the reason.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 4 * 1024 * 1024;

/// A client's connection whose writes time out and which lingers when it is closed.
pub struct Socket {
    transport: Transport,
    connection: Arc<Connection>,
    /// Whether nothing was received yet.
    is_new: bool,
    /// Armed while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
    linger: Arc<AtomicBool>,
    lingering: Option<Lingering>,
    /// What is written instead of a response of hyper's own.
    replaced: Option<Replaced>,
}

struct Replaced {
    bytes: Vec<u8>,
    written: usize,
}

struct Lingering {
    until: Pin<Box<Sleep>>,
    bytes: usize,
}

impl Socket {
    /// If `linger` is set when the socket is closed, it first discards what the client still sends.
    pub(super) fn new(
        transport: Transport,
        linger: Arc<AtomicBool>,
        connection: Arc<Connection>,
    ) -> Self {
        Self {
            transport,
            connection,
            is_new: true,
            stalled: None,
            linger,
            lingering: None,
            replaced: None,
        }
    }

    /// The result of a write, which fails if it waits too long.
    fn unless_stalled<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if write.is_ready() {
            self.stalled = None;
            return write;
        }
        let timer = self.stalled.get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client does not read its response",
        )))
    }

    /// Replaces a response of hyper's own by one that clients can read. `None` for anything else.
    fn poll_replace(
        &mut self,
        cx: &mut Context<'_>,
        original: &[u8],
    ) -> Option<Poll<io::Result<usize>>> {
        if self.replaced.is_none() {
            // hyper writes its own before any request has begun.
            let bytes = self.connection.is_waiting().then(|| malformed::replace(original))??;
            self.replaced = Some(Replaced { bytes, written: 0 });
        }
        let replaced = self.replaced.as_mut()?;
        while replaced.written < replaced.bytes.len() {
            let rest = &replaced.bytes[replaced.written..];
            match self.transport.stream().poll_write(cx, rest) {
                Poll::Ready(Ok(written)) if written > 0 => replaced.written += written,
                Poll::Ready(Ok(_)) => {
                    return Some(Poll::Ready(Err(io::ErrorKind::WriteZero.into())));
                }
                other => return Some(other),
            }
        }
        self.replaced = None;
        Some(Poll::Ready(Ok(original.len())))
    }

    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let lingering = self
            .lingering
            .get_or_insert_with(|| Lingering { until: Box::pin(sleep(LINGER)), bytes: 0 });
        let mut space = [0; 8192];
        while lingering.bytes < LINGER_BYTES {
            let mut buffer = ReadBuf::new(&mut space);
            match self.transport.poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    lingering.bytes += buffer.filled().len();
                }
                // The client has closed its side, or the connection broke.
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    ready!(lingering.until.as_mut().poll(cx));
                    return Poll::Ready(Ok(()));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(self.transport.poll_read(cx, buffer))?;
        let received = &buffer.filled()[before..];
        if received.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if std::mem::take(&mut self.is_new) && self.transport.is_unexpected_tls(received) {
            self.connection.set_saw_tls();
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "unexpected TLS")));
        }
        self.connection.received();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let write = match self.poll_replace(cx, bytes) {
            Some(write) => write,
            None => self.transport.stream().poll_write(cx, bytes),
        };
        self.unless_stalled(cx, write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = slices.first().map_or(&[][..], |first| first);
        let write = match self.poll_replace(cx, first) {
            Some(write) => write,
            None => self.transport.stream().poll_write_vectored(cx, slices),
        };
        self.unless_stalled(cx, write)
    }

    fn is_write_vectored(&self) -> bool {
        // TLS copies what is written anyway.
        matches!(self.transport, Transport::Plain(_))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flush = self.transport.stream().poll_flush(cx);
        self.unless_stalled(cx, flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(self.transport.stream().poll_shutdown(cx))?;
        }
        if self.linger.load(Relaxed) { self.poll_linger(cx) } else { Poll::Ready(Ok(())) }
    }
}
