//! Accepting connections, so many at once, and ending them.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use bklit_net::log_throttle::Outage;
use bklit_wire::duration::seconds;

/// The pause after an accept that failed, such as with too many open files; it doubles up to
/// [`MAX_ACCEPT_PAUSE`].
const MIN_ACCEPT_PAUSE: Duration = Duration::from_millis(5);
const MAX_ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// A server's open connections, each a task.
pub struct Connections {
    /// The setting that says how many there may be.
    setting: &'static str,
    permits: Arc<Semaphore>,
    tasks: JoinSet<()>,
    shutdown: CancellationToken,
}

impl Connections {
    /// None yet, and `most` at once, as `setting` says.
    pub fn new(setting: &'static str, most: usize, shutdown: CancellationToken) -> Self {
        Self { setting, permits: Arc::new(Semaphore::new(most)), tasks: JoinSet::new(), shutdown }
    }

    /// Accepts until the shutdown; `begin` makes a connection's task, which keeps the permit as
    /// long as it is open. Dropping the listener then closes it.
    pub async fn accept<F>(
        &mut self,
        listener: TcpListener,
        mut begin: impl FnMut(TcpStream, SocketAddr, OwnedSemaphorePermit) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut pause = MIN_ACCEPT_PAUSE;
        let full = Outage::default();
        loop {
            let permits = Arc::clone(&self.permits);
            self.tell_whether_full(&full);
            let next = async {
                // Who comes when all permits are taken waits in the listener's backlog.
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
                    // Answers are small and complete: waiting to fill a packet only delays them.
                    let _ = stream.set_nodelay(true);
                    self.tasks.spawn(begin(stream, address, permit));
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

    fn tell_whether_full(&self, full: &Outage) {
        let setting = self.setting;
        if self.permits.available_permits() > 0 {
            if let Some(lasted) = full.over().map(seconds) {
                tracing::info!(setting, lasted, "there is room for connections again");
            }
        } else if let Some(lasting) = full.failed().map(seconds) {
            tracing::warn!(setting, lasting, "as many connections as may be; others wait");
        }
    }

    /// Waits for all to end, and cuts off those that take longer.
    pub async fn finish(mut self, longest: Duration) {
        let finish = async {
            while let Some(ended) = self.tasks.join_next().await {
                report(ended);
            }
        };
        if tokio::time::timeout(longest, finish).await.is_err() {
            // What they sent was not answered, so nothing was promised to them.
            tracing::warn!(open = self.tasks.len(), "slow clients are cut off");
            self.tasks.shutdown().await;
        }
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed; the others go on");
    }
}
