//! Waits until there may be something to claim.
//!
//! The server reports when the queue or a lease has changed since it was last read (client
//! tracking, Redis 6 and later). So waiting costs it nothing, and items that other programs push are
//! noticed at once. A server or proxy without this is polled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, RedisError, cmd};
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use super::keys::Keys;
use super::scripts::Scripts;
use crate::redis::connection::{RedisFailure, RedisServer, is_broken};

/// Interval of checks although the server reports changes: a report may be lost with a connection
/// whose end goes unnoticed.
const CHECK_EVERY: Duration = Duration::from_secs(20);
/// Intervals of polling a server that reports nothing: at first, after a while without items, and
/// after a long while.
const MIN_POLL: Duration = Duration::from_millis(20);
const MAX_POLL: Duration = Duration::from_millis(250);
const IDLE_POLL: Duration = Duration::from_secs(5);
/// How long without items a long while is.
const IDLE_AFTER: Duration = Duration::from_secs(60);

/// Notices items to claim.
pub(super) struct Arrivals {
    server: RedisServer,
    keys: Arc<Keys>,
    scripts: Arc<Scripts>,
    /// Notified of what this process pushes and releases.
    pushed: Arc<Notify>,
    /// One caller at a time waits; the others wait for it.
    watch: Mutex<Option<Watch>>,
}

/// A connection on which the server reports changes.
struct Watch {
    connection: MultiplexedConnection,
    signals: Arc<Signals>,
    /// Whether it really does.
    is_reporting: bool,
    /// When it was last known that the server accepts writes.
    written: Instant,
}

#[derive(Default)]
struct Signals {
    changed: Notify,
    ended: AtomicBool,
}

impl Arrivals {
    /// Connects when it is first used.
    pub(super) fn new(
        server: RedisServer,
        keys: Arc<Keys>,
        scripts: Arc<Scripts>,
        pushed: Arc<Notify>,
    ) -> Self {
        Self { server, keys, scripts, pushed, watch: Mutex::default() }
    }

    /// Returns at once if there is something to claim, else when that may be so. Cancel-safe.
    pub(super) async fn ready(&self) {
        let mut watch = self.watch.lock().await;
        let began = Instant::now();
        let mut pause = MIN_POLL;
        loop {
            let Ok((ready_in, signals, is_reporting)) = self.look(&mut watch).await else {
                *watch = None;
                // In a cluster, another node may have the keys by now.
                self.server.forget();
                // The next claim reports the error.
                tokio::time::sleep(MAX_POLL).await;
                return;
            };
            if ready_in == Some(Duration::ZERO) {
                return;
            }
            let longest = if is_reporting { CHECK_EVERY } else { pause };
            let wait = ready_in.map_or(longest, |lease_end| lease_end.min(longest));
            tokio::select! {
                // Checks again: another consumer may have been faster.
                () = self.pushed.notified() => pause = MIN_POLL,
                () = signals.changed.notified() => {}
                () = tokio::time::sleep(wait) => {
                    let most = if began.elapsed() < IDLE_AFTER { MAX_POLL } else { IDLE_POLL };
                    pause = (pause * 3 / 2).min(most);
                }
            }
        }
    }

    /// The time until a batch can be claimed, `None` if unknown. A change after that is reported.
    async fn look(
        &self,
        watch: &mut Option<Watch>,
    ) -> Result<(Option<Duration>, Arc<Signals>, bool), RedisFailure> {
        let open = watch.take().filter(|watch| !watch.signals.ended.load(Relaxed));
        let open = match open {
            Some(open) => open,
            None => self.connect().await?,
        };
        let Watch { connection, signals, is_reporting, written } = watch.insert(open);
        if written.elapsed() >= CHECK_EVERY {
            *written = Instant::now();
            self.check_primary(connection).await?;
        }
        let ready_in = self.ready_in(connection).await?;
        Ok((ready_in, Arc::clone(signals), *is_reporting))
    }

    async fn connect(&self) -> Result<Watch, RedisFailure> {
        let signals = Arc::new(Signals::default());
        let sink = {
            let signals = Arc::clone(&signals);
            move |push: PushInfo| {
                match push.kind {
                    PushKind::Invalidate => signals.changed.notify_one(),
                    PushKind::Disconnection => {
                        signals.ended.store(true, Relaxed);
                        signals.changed.notify_one();
                    }
                    _ => {}
                }
                Ok(())
            }
        };
        let (mut connection, has_pushes) = self.server.connect(sink).await?;
        let is_reporting = has_pushes
            && match track(&mut connection).await.map_err(RedisFailure::from) {
                Ok(()) => true,
                Err(failure) if failure.is_response() => {
                    tracing::debug!(error = %failure, "Redis does not report changes; polling it");
                    false
                }
                Err(failure) => return Err(failure),
            };
        Ok(Watch { connection, signals, is_reporting, written: Instant::now() })
    }

    /// Fails if the server has become a replica, which answers all reads. The write removes nothing.
    async fn check_primary(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<(), RedisError> {
        let command = cmd("ZREM").arg(&self.keys.inflight).arg("").take();
        match command.query_async::<()>(connection).await {
            Err(error) if is_broken(&error) => Err(error),
            // A server that rejects writes for another reason is still the right one.
            _ => Ok(()),
        }
    }

    async fn ready_in(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<Option<Duration>, RedisError> {
        let Keys { queue, inflight, .. } = &*self.keys;
        let mut lengths = redis::pipe();
        lengths.cmd("LLEN").arg(queue).cmd("ZCARD").arg(inflight);
        match lengths.query_async(connection).await? {
            (1.., _) => return Ok(Some(Duration::ZERO)),
            (0u64, 0u64) => return Ok(None),
            _ => {}
        }
        let mut call = self.scripts.ready_in.key(queue);
        let millis: i64 = call.key(inflight).invoke_async(connection).await?;
        Ok(u64::try_from(millis).ok().map(Duration::from_millis))
    }
}

/// Asks for reports about keys read on this connection.
async fn track(connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
    cmd("CLIENT").arg("TRACKING").arg("ON").query_async(connection).await
}
