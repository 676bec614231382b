//! Serves connections, from accepting them until their sockets are closed.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::handshake::{self, Kind, Opening, Slot};
use super::socket::Socket;
use super::{Guest, WebSocketContext, browser, dashboard};
use crate::server::connections::{Connections, until_closed};
use crate::server::socket::Socket as Transport;

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
    let mut connections = Connections::new(
        "websocket.max_connections",
        context.settings.max_connections,
        shutdown.clone(),
    );
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(context.limits.header_timeout)
        .max_header_size(MAX_HEAD)
        .max_buf_size(MAX_BUFFER);
    connections
        .accept(listener, |stream, address, permit| {
            let from = From { ip: address.ip().to_canonical(), loopback_only };
            let (context, shutdown) = (Arc::clone(&context), shutdown.clone());
            let connection = connection(&http, stream, context, from, shutdown);
            async move {
                let _permit = permit;
                connection.await;
            }
        })
        .await;
    connections.finish(MAX_DRAIN).await;
    context.disconnect_grace.finish(MAX_ENDS).await;
    Ok(())
}

/// The other end of a connection.
#[derive(Clone, Copy)]
struct From {
    ip: IpAddr,
    loopback_only: bool,
}

fn connection(
    http: &http1::Builder,
    stream: TcpStream,
    context: Arc<WebSocketContext>,
    from: From,
    shutdown: CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let linger = Arc::new(AtomicBool::new(false));
    let io = TokioIo::new(Transport::new(stream, Arc::clone(&linger)));
    let slot = Slot::default();
    let opened = slot.clone();
    let service = service_fn(move |request| {
        let response = handshake::respond(request, &slot);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http.serve_connection(io, service).with_upgrades();
    async move {
        let visitors = context.intake.visitors();
        let ended = until_closed(connection, &shutdown, |open| open.graceful_shutdown()).await;
        if let Err(error) = ended {
            let peer = visitors.shown(from.ip);
            tracing::debug!(peer, %error, "WebSocket handshake failed");
        }
        let Some(Opening { kind, head, upgrade }) = opened.take() else { return };
        let Ok(upgraded) = upgrade.await else { return };
        let longest = context.limits.max_body_bytes;
        let pings = context.settings.ping_interval;
        let socket = Socket::open(upgraded, linger, longest, pings).await;
        let From { ip, loopback_only } = from;
        let visitor = visitors.visitor(ip, &head.headers);
        let guest = Guest { context, head, ip, visitor, loopback_only, shutdown };
        let _open = Open::new(kind, &guest);
        // On the heap: most sockets are open for a long time and idle.
        match kind {
            Kind::Browser => Box::pin(browser::serve(guest, socket)).await,
            Kind::Dashboard => Box::pin(dashboard::serve(guest, socket)).await,
        }
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
