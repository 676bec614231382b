//! The bytes of a connection, with or without TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::socket::Socket;
use super::tls::ServerTls;
use crate::intake::visitor::Visitors;
use crate::telemetry::Telemetry;
use bklit_net::log_throttle::LogThrottle;
use bklit_wire::debug_log::Stage;

/// The first byte of a TLS connection.
const TLS_HANDSHAKE: u8 = 0x16;
/// The second byte of a TLS connection.
const TLS_MAJOR_VERSION: u8 = 3;

/// The response to a request without TLS on a port that needs it.
const NEEDS_TLS: &str = "HTTP/1.1 400 Bad Request\r\n\
    Content-Type: application/json\r\n\
    Access-Control-Allow-Origin: *\r\n\
    Connection: close\r\n\
    Content-Length: 55\r\n\r\n\
    {\"error\":\"this port needs TLS: use https:// or wss://\"}";

/// A connection's stream of bytes.
pub(super) enum Transport {
    /// Directly over TCP.
    Plain(TcpStream),
    /// Over TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// What both kinds of streams can do.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

impl Transport {
    pub(super) fn stream(&mut self) -> Pin<&mut dyn Duplex> {
        match self {
            Self::Plain(stream) => Pin::new(stream),
            Self::Tls(stream) => Pin::new(&mut **stream),
        }
    }

    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(cx, buffer)
    }

    /// Whether the first bytes received are those of TLS, without TLS being in use.
    pub(super) fn is_unexpected_tls(&self, first: &[u8]) -> bool {
        let is_tls = first.first() == Some(&TLS_HANDSHAKE)
            && first.get(1).is_none_or(|byte| *byte == TLS_MAJOR_VERSION);
        is_tls && matches!(self, Self::Plain(_))
    }
}

/// Begins the connections of one server, over TLS if that is configured.
pub struct Opener {
    tls: Option<Arc<ServerTls>>,
    /// How long the TLS handshake may take.
    longest: Duration,
    /// The stage of debug lines.
    stage: Stage,
    log: Arc<Telemetry>,
    visitors: Arc<Visitors>,
    mistakes: LogThrottle,
}

impl Opener {
    /// Connections of a server whose lines belong to `stage`.
    pub fn new(
        tls: Option<Arc<ServerTls>>,
        longest: Duration,
        stage: Stage,
        log: Arc<Telemetry>,
        visitors: Arc<Visitors>,
    ) -> Self {
        Self { tls, longest, stage, log, visitors, mistakes: LogThrottle::default() }
    }

    /// The socket of an accepted connection, after the TLS handshake if there is one; `None` if the
    /// client did not complete it, or the connection is no longer wanted. If `linger` is set when
    /// the socket is closed, it first discards what the client still sends.
    pub async fn open(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        connection: &Arc<Connection>,
        linger: Arc<AtomicBool>,
        shutdown: &CancellationToken,
    ) -> Option<Socket> {
        let Some(tls) = &self.tls else {
            return Some(Socket::new(Transport::Plain(stream), linger, Arc::clone(connection)));
        };
        let handshake = self.handshake(stream, address, connection, tls.config());
        let handshake = tokio::time::timeout(self.longest, handshake);
        // On the heap: it is large, and most of a connection's life is after it.
        let opened = tokio::select! {
            biased;
            () = shutdown.cancelled() => return None,
            () = connection.closing() => return None,
            opened = Box::pin(handshake) => opened,
        };
        match opened {
            Ok(Ok(stream)) => {
                let transport = Transport::Tls(Box::new(stream?));
                Some(Socket::new(transport, linger, Arc::clone(connection)))
            }
            Ok(Err(error)) => {
                let peer = self.visitors.shown(address.ip());
                tracing::debug!(peer, %error, "TLS handshake failed");
                None
            }
            Err(_) => {
                let peer = self.visitors.shown(address.ip());
                tracing::debug!(peer, "TLS handshake not completed in time");
                None
            }
        }
    }

    /// `None` for a client that does not speak TLS.
    async fn handshake(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        connection: &Arc<Connection>,
        config: Arc<ServerConfig>,
    ) -> io::Result<Option<TlsStream<TcpStream>>> {
        let mut first = [0];
        let received = stream.peek(&mut first).await?;
        if received == 0 || first[0] == TLS_HANDSHAKE {
            return TlsAcceptor::from(config).accept(stream).await.map(Some);
        }
        self.report(address, "HTTP without TLS on a port that needs it: use https:// or wss://");
        let linger = Arc::new(AtomicBool::new(true));
        let mut socket = Socket::new(Transport::Plain(stream), linger, Arc::clone(connection));
        socket.write_all(NEEDS_TLS.as_bytes()).await?;
        socket.shutdown().await?;
        Ok(None)
    }

    /// To be called when a connection has ended: reports a client that tried to speak TLS on a port
    /// without it.
    pub fn ended(&self, address: SocketAddr, connection: &Connection) {
        if connection.saw_tls() {
            self.report(
                address,
                "TLS on a port without it: use http:// or ws://, or set tls_cert and tls_key",
            );
        }
    }

    fn report(&self, address: SocketAddr, mistake: &'static str) {
        // At most once a minute: the cause is a misconfigured client, or a scanner.
        if self.mistakes.failure().is_none() {
            return;
        }
        let peer = self.visitors.shown(address.ip());
        tracing::warn!(peer, "{mistake}");
        let data = || peer.map(|peer| ("peer".to_owned(), peer.into())).into_iter().collect();
        self.log.step(self.stage).warn(mistake, data);
    }
}

#[cfg(test)]
mod tests {
    use super::NEEDS_TLS;

    #[test]
    fn the_fixed_response_has_the_length_it_announces() {
        let (head, body) = NEEDS_TLS.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{}", body.len());
        assert!(serde_json::from_str::<serde_json::Value>(body).unwrap()["error"].is_string());
    }
}
