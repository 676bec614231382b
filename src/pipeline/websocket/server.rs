//! Serves connections, from accepting them until their sockets are closed.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::handshake::{self, Kind, Opening, Slot};
use super::socket::Socket;
use super::{Guest, WebSocketContext, browser, dashboard};
use crate::intake::filters;
use crate::server::connection::{Connection, Timeouts, drive};
use crate::server::connections::Connections;
use crate::server::table::ConnectionLimits;
use crate::server::transport::Opener;
use bklit_wire::debug_log::Stage;

/// The largest request head, in bytes. It is kept while the socket is open.
const MAX_HEAD: usize = 16 * 1024;
/// The size of a connection's buffers until it is upgraded, in bytes.
const MAX_BUFFER: usize = 16 * 1024;
/// How long sockets may take to close once the server stops. Events in progress are acknowledged
/// meanwhile, and the worker needs its own time after that.
const MAX_DRAIN: Duration = Duration::from_secs(3);
/// How long ends of sessions that are being queued may take after that.
const MAX_ENDS: Duration = Duration::from_secs(1);

/// Serves on `listener` until `shutdown`, then closes all sockets, within 3 s, and returns.
/// Dropping the future drops all connections.
///
/// # Errors
/// When the listener's address is unknown.
pub async fn serve(
    listener: TcpListener,
    context: Arc<WebSocketContext>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let loopback_only = listener.local_addr()?.ip().to_canonical().is_loopback();
    let log = context.intake.shared_log();
    let visitors = Arc::clone(context.intake.visitors());
    let limits = ConnectionLimits {
        most: context.settings.max_connections,
        most_per_address: context.settings.max_connections_per_address,
        has_reserve: false,
    };
    let mut connections = Connections::new(
        "websocket",
        limits,
        Arc::clone(&visitors),
        Arc::clone(&log),
        shutdown.clone(),
    );
    let mut http = http1::Builder::new();
    // See `drive`.
    http.header_read_timeout(None).max_header_size(MAX_HEAD).max_buf_size(MAX_BUFFER);
    let (tls, head) = (context.tls.clone(), context.limits.header_timeout);
    let server = Arc::new(Server {
        opener: Opener::new(tls, head, Stage::Websocket, log, visitors),
        http,
        context: Arc::clone(&context),
        loopback_only,
        shutdown,
    });
    connections
        .accept(listener, |stream, address, connection| {
            Arc::clone(&server).connection(stream, address, connection)
        })
        .await;
    connections.finish(MAX_DRAIN).await;
    context.disconnect_grace.finish(MAX_ENDS).await;
    Ok(())
}

struct Server {
    opener: Opener,
    http: http1::Builder,
    context: Arc<WebSocketContext>,
    loopback_only: bool,
    shutdown: CancellationToken,
}

impl Server {
    /// The task of a connection.
    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        address: SocketAddr,
        connection: Arc<Connection>,
    ) {
        let linger = Arc::new(AtomicBool::new(false));
        let opening = self.handshake(stream, address, &connection, Arc::clone(&linger)).await;
        self.opener.ended(address, &connection);
        let Some(Opening { kind, mut head, upgrade }) = opening else { return };
        // A prerendered page opens its socket before it is seen, and keeps it.
        for purpose in &filters::PURPOSE_HEADERS {
            head.headers.remove(purpose);
        }
        let Ok(upgraded) = upgrade.await else { return };
        let longest = self.context.limits.max_body_bytes;
        let pings = self.context.settings.ping_interval;
        let socket = Socket::open(upgraded, linger, longest, pings).await;
        let visitors = self.context.intake.visitors();
        let client = visitors.client(address.ip(), &head.headers);
        let visitor = visitors.visitor(client, &head.headers);
        let guest = Guest {
            context: Arc::clone(&self.context),
            connection,
            head,
            visitor,
            loopback_only: self.loopback_only,
            shutdown: self.shutdown.clone(),
        };
        let _open = Open::new(kind, &guest);
        // On the heap: most sockets are open for a long time and idle.
        match kind {
            Kind::Browser => Box::pin(browser::serve(guest, socket)).await,
            Kind::Dashboard => Box::pin(dashboard::serve(guest, socket)).await,
        }
    }

    /// Serves HTTP until a request opens a socket; `None` if none does.
    async fn handshake(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        connection: &Arc<Connection>,
        linger: Arc<AtomicBool>,
    ) -> Option<Opening> {
        let shutdown = &self.shutdown;
        let transport = self.opener.open(stream, address, connection, linger, shutdown).await?;
        let slot = Slot::default();
        let opened = slot.clone();
        let service = service_fn(move |request| {
            let response = handshake::respond(request, &slot);
            async move { Ok::<_, Infallible>(response) }
        });
        let served = self.http.serve_connection(TokioIo::new(transport), service).with_upgrades();
        let head = self.context.limits.header_timeout;
        let timeouts = Timeouts { head, idle: head };
        let ended = drive(served, connection, timeouts, shutdown, |open| open.graceful_shutdown());
        // On the heap: it is not needed any more once the socket is open.
        if let Some(Err(error)) = Box::pin(ended).await {
            let peer = self.context.intake.visitors().shown(address.ip());
            tracing::debug!(peer, %error, "WebSocket handshake failed");
        }
        opened.take()
    }
}

/// Counts an open socket.
struct Open {
    context: Arc<WebSocketContext>,
    kind: Kind,
}

impl Open {
    fn new(kind: Kind, guest: &Guest) -> Self {
        guest.context.intake.log().metrics().socket(kind.as_str(), true);
        Self { context: Arc::clone(&guest.context), kind }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.context.intake.log().metrics().socket(self.kind.as_str(), false);
    }
}

/// How long a socket was open, in seconds, for its last line.
pub(super) fn seconds_since(opened: Instant) -> serde_json::Value {
    let millis = u64::try_from(opened.elapsed().as_millis()).unwrap_or(u64::MAX);
    // Rounded to tenths.
    ((millis as f64 / 100.0).round() / 10.0).into()
}
