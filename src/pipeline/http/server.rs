//! Serves HTTP connections.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::refusal::Refusal;
use super::response::{self, ResponseBody};
use super::{HttpContext, Peer, routes};
use crate::server::connection::{Connection, InProgress, ProgressBody, Timeouts, drive};
use crate::server::connections::Connections;
use crate::server::table::ConnectionLimits;
use crate::server::transport::Opener;
use bklit_wire::debug_log::Stage;

/// The largest request head, in bytes.
const MAX_HEAD: usize = 32 * 1024;
/// The size of a connection's read buffer and of its write buffer, in bytes.
const MAX_BUFFER: usize = 64 * 1024;
/// How long requests in progress may take once the server stops: a slow client must not use up the
/// time in which the worker stores its batches.
const MAX_DRAIN: Duration = Duration::from_secs(5);
/// What is answered in a reserved slot.
const RESERVED_PATHS: [&str; 2] = ["/health", "/ready"];

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
    let settings = &context.settings;
    let log = context.intake.shared_log();
    let visitors = Arc::clone(context.intake.visitors());
    let limits = ConnectionLimits {
        most: settings.max_connections,
        most_per_address: settings.max_connections_per_address,
        has_reserve: true,
    };
    let mut connections =
        Connections::new("http", limits, Arc::clone(&visitors), Arc::clone(&log), shutdown.clone());
    let (tls, head) = (context.tls.clone(), settings.header_timeout);
    let server = Server {
        loopback_only: listener.local_addr()?.ip().to_canonical().is_loopback(),
        opener: Arc::new(Opener::new(tls, head, Stage::Ingestion, log, visitors)),
        timeouts: Timeouts { head, idle: settings.idle_timeout },
        http: builder(),
        open: Arc::new(AtomicUsize::new(0)),
        context,
        shutdown,
        streams: TaskTracker::new(),
    };
    connections
        .accept(listener, |stream, address, connection| {
            server.connection(stream, address, connection)
        })
        .await;
    connections.finish(MAX_DRAIN).await;
    server.streams.close();
    server.streams.wait().await;
    Ok(())
}

fn builder() -> http1::Builder {
    let mut http = http1::Builder::new();
    // It would also close idle connections; see `drive`.
    http.header_read_timeout(None)
        .max_header_size(MAX_HEAD)
        .max_buf_size(MAX_BUFFER)
        .half_close(true);
    http
}

struct Server {
    context: Arc<HttpContext>,
    loopback_only: bool,
    opener: Arc<Opener>,
    timeouts: Timeouts,
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
        connection: Arc<Connection>,
    ) -> impl Future<Output = ()> + use<> {
        let open = Open::new(&self.open, &self.context);
        let linger = Arc::new(AtomicBool::new(false));
        let peer = Arc::new(Peer {
            context: Arc::clone(&self.context),
            ip: address.ip().to_canonical(),
            loopback_only: self.loopback_only,
            linger: Arc::clone(&linger),
            shutdown: self.shutdown.clone(),
            streams: self.streams.clone(),
        });
        let (http, timeouts, shutdown) = (self.http.clone(), self.timeouts, self.shutdown.clone());
        let opener = Arc::clone(&self.opener);
        let shown = self.context.intake.visitors().shown(address.ip());
        async move {
            let _open = open;
            let socket = opener.open(stream, address, &connection, linger, &shutdown).await;
            let Some(socket) = socket else { return };
            let own = Arc::clone(&connection);
            let service = service_fn(move |request| {
                let (peer, in_progress) = (Arc::clone(&peer), own.begin());
                async move { Ok::<_, Infallible>(respond(&peer, in_progress, request).await) }
            });
            let served = http.serve_connection(TokioIo::new(socket), service);
            let ended =
                drive(served, &connection, timeouts, &shutdown, |open| open.graceful_shutdown());
            if let Some(Err(error)) = ended.await {
                tracing::debug!(peer = shown, %error, "connection failed");
            }
            opener.ended(address, &connection);
        }
    }
}

/// Responds to a request, and decides whether the connection may stay open.
async fn respond(
    peer: &Arc<Peer>,
    in_progress: InProgress,
    request: Request<Incoming>,
) -> Response<ProgressBody<ResponseBody>> {
    let connection = in_progress.connection();
    let is_post = request.method() == Method::POST;
    let has_slot = RESERVED_PATHS.contains(&request.uri().path()) || connection.admitted().await;
    let mut response = routes::respond(peer, request, has_slot).await;
    if connection.is_closing() && matches!(response.body(), ResponseBody::Stream(_)) {
        // The connection closes after its response, and a stream does not end.
        response = response::refusal(&Refusal::NoSlot);
    }
    let status = response.status();
    if is_post && status == StatusCode::OK {
        connection.prove();
    }
    let is_unwanted = connection.is_pressed() && status.is_client_error();
    if is_unwanted || !connection.is_admitted() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response.map(|body| ProgressBody::new(body, in_progress))
}

/// Counts an open connection.
struct Open {
    open: Arc<AtomicUsize>,
    context: Arc<HttpContext>,
}

impl Open {
    fn new(open: &Arc<AtomicUsize>, context: &Arc<HttpContext>) -> Self {
        context.intake.log().metrics().set_connections(open.fetch_add(1, Relaxed) + 1);
        Self { open: Arc::clone(open), context: Arc::clone(context) }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.context.intake.log().metrics().set_connections(self.open.fetch_sub(1, Relaxed) - 1);
    }
}
