//! Serves HTTP connections.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{HttpContext, Peer, routes};
use crate::server::connections::{Connections, until_closed};
use crate::server::socket::Socket;

/// The largest request head, in bytes.
const MAX_HEAD: usize = 32 * 1024;
/// The size of a connection's read buffer and of its write buffer, in bytes.
const MAX_BUFFER: usize = 64 * 1024;
/// How long requests in progress may take once the server stops: a slow client must not use up the
/// time in which the worker stores its batches.
const MAX_DRAIN: Duration = Duration::from_secs(5);

/// Serves on `listener` until `shutdown`, then finishes the requests in progress, within 5 s, and
/// returns. Dropping the future drops all connections.
///
/// # Errors
/// When the listener's address is unknown.
pub async fn serve(
    listener: TcpListener,
    context: Arc<HttpContext>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let mut connections = Connections::new(
        "http.max_connections",
        context.settings.max_connections,
        shutdown.clone(),
    );
    let server = Server {
        loopback_only: listener.local_addr()?.ip().to_canonical().is_loopback(),
        http: builder(&context),
        open: Arc::new(AtomicUsize::new(0)),
        context,
        shutdown,
        streams: TaskTracker::new(),
    };
    connections
        .accept(listener, |stream, address, permit| server.connection(stream, address, permit))
        .await;
    connections.finish(MAX_DRAIN).await;
    server.streams.close();
    server.streams.wait().await;
    Ok(())
}

fn builder(context: &HttpContext) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        // Also closes idle connections.
        .header_read_timeout(context.settings.header_timeout)
        .max_header_size(MAX_HEAD)
        .max_buf_size(MAX_BUFFER)
        .half_close(true);
    http
}

struct Server {
    context: Arc<HttpContext>,
    loopback_only: bool,
    http: http1::Builder,
    open: Arc<AtomicUsize>,
    shutdown: CancellationToken,
    streams: TaskTracker,
}

impl Server {
    /// The task of a connection.
    fn connection(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        permit: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + use<> {
        let open = Open::new(&self.open, &self.context, permit);
        let linger = Arc::new(AtomicBool::new(false));
        let socket = Socket::new(stream, Arc::clone(&linger));
        let peer = Arc::new(Peer {
            context: Arc::clone(&self.context),
            ip: address.ip().to_canonical(),
            loopback_only: self.loopback_only,
            linger,
            shutdown: self.shutdown.clone(),
            streams: self.streams.clone(),
        });
        let service = service_fn(move |request| {
            let peer = Arc::clone(&peer);
            async move { Ok::<_, Infallible>(routes::respond(&peer, request).await) }
        });
        let connection = self.http.serve_connection(TokioIo::new(socket), service);
        let shutdown = self.shutdown.clone();
        let peer = self.context.intake.visitors().shown(address.ip());
        async move {
            let _open = open;
            let ended = until_closed(connection, &shutdown, |open| open.graceful_shutdown()).await;
            if let Err(error) = ended {
                tracing::debug!(peer, %error, "connection failed");
            }
        }
    }
}

/// Counts an open connection.
struct Open {
    open: Arc<AtomicUsize>,
    context: Arc<HttpContext>,
    _permit: OwnedSemaphorePermit,
}

impl Open {
    fn new(
        open: &Arc<AtomicUsize>,
        context: &Arc<HttpContext>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        context.intake.log().metrics().set_connections(open.fetch_add(1, Relaxed) + 1);
        Self { open: Arc::clone(open), context: Arc::clone(context), _permit: permit }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.context.intake.log().metrics().set_connections(self.open.fetch_sub(1, Relaxed) - 1);
    }
}
