//! Accepts a bounded number of connections, and ends them on a shutdown.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, sleep_until};
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::table::{Admission, ConnectionLimits, Reason, Table};
use crate::intake::visitor::Visitors;
use crate::telemetry::Telemetry;
use bklit_net::log_throttle::LogThrottle;
use bklit_wire::duration::seconds;

/// The pause after a failed accept, for example because of too many open files; it doubles up to
/// [`MAX_ACCEPT_PAUSE`].
const MIN_ACCEPT_PAUSE: Duration = Duration::from_millis(5);
const MAX_ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// How often to look for a connection to close while a new one waits for a slot.
const RETRY: Duration = Duration::from_millis(50);
/// For how long the server must not have been full to report that it no longer is.
const CALM: Duration = Duration::from_secs(10);

/// A server's open connections, one task each.
pub struct Connections {
    /// `http` or `websocket`: the table of its settings and the label of its metrics.
    server: &'static str,
    visitors: Arc<Visitors>,
    table: Table<Box<dyn Fn(Reason) + Send + Sync>>,
    tasks: JoinSet<()>,
    ids: HashMap<Id, u64>,
    shutdown: CancellationToken,
    /// When it was last full, until that is over.
    full_at: Option<Instant>,
    full: LogThrottle,
    crowded: LogThrottle,
}

impl Connections {
    /// The connections of `server`, within `limits`.
    pub fn new(
        server: &'static str,
        limits: ConnectionLimits,
        visitors: Arc<Visitors>,
        log: Arc<Telemetry>,
        shutdown: CancellationToken,
    ) -> Self {
        let count = move |reason| log.metrics().connections().closed(server, reason);
        Self {
            server,
            visitors,
            table: Table::new(limits, Box::new(count)),
            tasks: JoinSet::new(),
            ids: HashMap::new(),
            shutdown,
            full_at: None,
            full: LogThrottle::default(),
            crowded: LogThrottle::default(),
        }
    }

    /// Accepts until the shutdown, then drops and so closes the listener. `begin` returns the task
    /// of a connection.
    pub async fn accept<F>(
        &mut self,
        listener: TcpListener,
        mut begin: impl FnMut(TcpStream, SocketAddr, Arc<Connection>) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let shutdown = self.shutdown.clone();
        let mut pause = MIN_ACCEPT_PAUSE;
        // Accepted, without a slot; further ones wait in the listener's backlog.
        let mut held: Option<(TcpStream, SocketAddr)> = None;
        let mut retry = tokio::time::interval(RETRY);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let calm_at = self.log_whether_full();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended),
                _ = retry.tick(), if held.is_some() || self.table.has_reserved() => {}
                () = sleep_until(calm_at.unwrap_or_else(Instant::now)), if calm_at.is_some() => {}
                accepted = listener.accept(), if held.is_none() => match accepted {
                    Ok(accepted) => {
                        pause = MIN_ACCEPT_PAUSE;
                        // Responses are small and complete: Nagle's algorithm would only delay them.
                        let _ = accepted.0.set_nodelay(true);
                        held = Some(accepted);
                    }
                    // The client disconnected while it waited.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        tracing::warn!(%error, ?pause, "cannot accept a connection");
                        if is_out_of_files(&error) {
                            self.table.relieve();
                        }
                        tokio::select! {
                            () = shutdown.cancelled() => return,
                            () = tokio::time::sleep(pause) => {}
                        }
                        pause = (pause * 2).min(MAX_ACCEPT_PAUSE);
                    }
                },
            }
            self.table.promote();
            let Some((stream, address)) = held.take() else { continue };
            match self.table.admit(address.ip(), self.visitors.is_proxy(address.ip())) {
                Admission::Open(connection) => {
                    let id = connection.id;
                    let task = self.tasks.spawn(begin(stream, address, connection));
                    self.ids.insert(task.id(), id);
                }
                Admission::Refused => self.log_crowded(address),
                Admission::Wait => held = Some((stream, address)),
            }
        }
    }

    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let task = match ended {
            Ok((task, ())) => task,
            Err(error) => {
                report(&error);
                error.id()
            }
        };
        if let Some(id) = self.ids.remove(&task) {
            self.table.remove(id);
        }
    }

    /// Logs when the server becomes full, while it is, and when it has not been for some time.
    /// Returns when to look again.
    fn log_whether_full(&mut self) -> Option<Instant> {
        let setting = self.server;
        if self.table.is_full() {
            self.full_at = Some(Instant::now());
            if let Some(lasting) = self.full.failure().map(seconds) {
                tracing::warn!(
                    lasting,
                    "{setting}.max_connections reached: closing the connections that have been \
                     idle or unauthenticated the longest"
                );
            }
            return None;
        }
        let calm_at = self.full_at? + CALM;
        if calm_at > Instant::now() {
            return Some(calm_at);
        }
        self.full_at = None;
        if let Some(lasted) = self.full.recovered().map(seconds) {
            tracing::info!(lasted, "below {setting}.max_connections again");
        }
        None
    }

    fn log_crowded(&self, address: SocketAddr) {
        let setting = self.server;
        if self.crowded.failure().is_some() {
            tracing::warn!(
                address = self.visitors.shown(address.ip()),
                "refusing connections: the address has {setting}.max_connections_per_address, all \
                 of them in use"
            );
        }
    }

    /// Waits for all connections to end, and closes those that take longer.
    pub async fn finish(mut self, longest: Duration) {
        let finish = async {
            while let Some(ended) = self.tasks.join_next().await {
                if let Err(error) = ended {
                    report(&error);
                }
            }
        };
        if tokio::time::timeout(longest, finish).await.is_err() {
            // Their requests got no response, so nothing was acknowledged.
            tracing::warn!(open = self.tasks.len(), "closing the connections of slow clients");
            self.tasks.shutdown().await;
        }
    }
}

/// Whether this process, or the machine, has too many open files.
fn is_out_of_files(error: &io::Error) -> bool {
    let error = rustix::io::Errno::from_io_error(error);
    matches!(error, Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE))
}

fn report(error: &JoinError) {
    tracing::error!(%error, "the task of a connection panicked; the others continue");
}
