//! Accepting connections and ending them.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::socket::Socket;
use super::{HttpContext, Peer, routes};

/// The largest head of a request.
const MAX_HEAD: usize = 32 * 1024;
/// A connection's read and write buffers, each.
const MAX_BUFFER: usize = 64 * 1024;
/// The pause after an accept that failed, such as with too many open files; it doubles up to
/// [`MAX_ACCEPT_PAUSE`].
const MIN_ACCEPT_PAUSE: Duration = Duration::from_millis(5);
const MAX_ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Serves on `listener` until `shutdown`; then finishes the requests that have begun and returns.
/// How long that may take is the caller's to bound: dropping the future drops all connections.
///
/// # Errors
/// When the listener's address is unknown.
pub async fn serve(
    listener: TcpListener,
    context: Arc<HttpContext>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let mut server = Server {
        loopback_only: listener.local_addr()?.ip().to_canonical().is_loopback(),
        http: builder(&context),
        permits: Arc::new(Semaphore::new(context.settings.max_connections)),
        open: Arc::new(AtomicUsize::new(0)),
        context,
        shutdown,
        connections: JoinSet::new(),
        streams: TaskTracker::new(),
    };
    server.accept(listener).await;
    while let Some(ended) = server.connections.join_next().await {
        report(ended);
    }
    server.streams.close();
    server.streams.wait().await;
    Ok(())
}

fn builder(context: &HttpContext) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        // Also closes connections on which no next request begins.
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
    permits: Arc<Semaphore>,
    open: Arc<AtomicUsize>,
    shutdown: CancellationToken,
    connections: JoinSet<()>,
    streams: TaskTracker,
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed; the others go on");
    }
}

impl Server {
    /// Accepts until the shutdown. Dropping the listener then closes it.
    async fn accept(&mut self, listener: TcpListener) {
        let mut pause = MIN_ACCEPT_PAUSE;
        loop {
            let permits = Arc::clone(&self.permits);
            let next = async {
                // Who comes when all permits are taken waits in the listener's backlog.
                let permit = permits.acquire_owned().await;
                (listener.accept().await, permit)
            };
            let (accepted, permit) = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return,
                Some(ended) = self.connections.join_next() => {
                    report(ended);
                    continue;
                }
                next = next => next,
            };
            // The semaphore is never closed.
            let Ok(permit) = permit else { return };
            match accepted {
                Ok((stream, address)) => {
                    pause = MIN_ACCEPT_PAUSE;
                    self.begin(stream, address, permit);
                }
                // The client was gone before it was its turn.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(%error, ?pause, "cannot accept a connection");
                    tokio::select! {
                        () = self.shutdown.cancelled() => return,
                        () = tokio::time::sleep(pause) => {}
                    }
                    pause = (pause * 2).min(MAX_ACCEPT_PAUSE);
                }
            }
        }
    }

    fn begin(
        &mut self,
        stream: TcpStream,
        address: std::net::SocketAddr,
        permit: OwnedSemaphorePermit,
    ) {
        // Answers are small and complete: waiting to fill a packet only delays them.
        let _ = stream.set_nodelay(true);
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
        self.connections.spawn(async move {
            let _open = open;
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = shutdown.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%address, %error, "a connection broke");
            }
        });
    }
}

/// Counts a connection as long as it is open.
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
        context.log.metrics().set_connections(open.fetch_add(1, Relaxed) + 1);
        Self { open: Arc::clone(open), context: Arc::clone(context), _permit: permit }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.context.log.metrics().set_connections(self.open.fetch_sub(1, Relaxed) - 1);
    }
}
