//! Accepts a bounded number of connections, and ends them on a shutdown.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use bklit_net::log_throttle::LogThrottle;
use bklit_wire::duration::seconds;

/// The pause after a failed accept, for example because of too many open files; it doubles up to
/// [`MAX_ACCEPT_PAUSE`].
const MIN_ACCEPT_PAUSE: Duration = Duration::from_millis(5);
const MAX_ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// A server's open connections, one task each.
pub struct Connections {
    /// The name of the setting with the limit.
    setting: &'static str,
    permits: Arc<Semaphore>,
    tasks: JoinSet<()>,
    shutdown: CancellationToken,
}

impl Connections {
    /// Up to `most` connections at once, as set by `setting`.
    pub fn new(setting: &'static str, most: usize, shutdown: CancellationToken) -> Self {
        Self { setting, permits: Arc::new(Semaphore::new(most)), tasks: JoinSet::new(), shutdown }
    }

    /// Accepts until the shutdown, then drops and so closes the listener. `begin` returns the task
    /// of a connection, which must hold the permit while it is open.
    pub async fn accept<F>(
        &mut self,
        listener: TcpListener,
        mut begin: impl FnMut(TcpStream, SocketAddr, OwnedSemaphorePermit) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut pause = MIN_ACCEPT_PAUSE;
        let full = LogThrottle::default();
        loop {
            let permits = Arc::clone(&self.permits);
            self.log_whether_full(&full);
            let next = async {
                // When all permits are taken, new connections wait in the listener's backlog.
                let permit = permits.acquire_owned().await;
                (listener.accept().await, permit)
            };
            let (accepted, permit) = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return,
                Some(ended) = self.tasks.join_next() => {
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
                    // Responses are small and complete: Nagle's algorithm would only delay them.
                    let _ = stream.set_nodelay(true);
                    self.tasks.spawn(begin(stream, address, permit));
                }
                // The client disconnected while it waited.
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

    fn log_whether_full(&self, full: &LogThrottle) {
        let setting = self.setting;
        if self.permits.available_permits() > 0 {
            if let Some(lasted) = full.recovered().map(seconds) {
                tracing::info!(setting, lasted, "accepting connections again");
            }
        } else if let Some(lasting) = full.failure().map(seconds) {
            tracing::warn!(setting, lasting, "connection limit reached; new connections wait");
        }
    }

    /// Waits for all connections to end, and closes those that take longer.
    pub async fn finish(mut self, longest: Duration) {
        let finish = async {
            while let Some(ended) = self.tasks.join_next().await {
                report(ended);
            }
        };
        if tokio::time::timeout(longest, finish).await.is_err() {
            // Their requests got no response, so nothing was acknowledged.
            tracing::warn!(open = self.tasks.len(), "closing the connections of slow clients");
            self.tasks.shutdown().await;
        }
    }
}

/// Drives a connection to its end. On a shutdown, `finish` makes it end after the current request.
pub async fn until_closed<C: Future>(
    connection: C,
    shutdown: &CancellationToken,
    finish: impl FnOnce(Pin<&mut C>),
) -> C::Output {
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            finish(connection.as_mut());
            connection.await
        }
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "the task of a connection panicked; the others continue");
    }
}
