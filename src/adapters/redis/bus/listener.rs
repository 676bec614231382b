//! The subscription of a bus: subscribes while this process has subscribers, and keeps the number of
//! subscribers in other processes up to date.
//!
//! The number is queried only while it matters. A process that subscribes announces it, so that the
//! others query it then.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::relay::{Bus, Reception, Shared};
use crate::redis::connection::{Incoming, RedisFailure, RedisServer, Subscriber};
use bklit_net::backoff::Backoff;

/// Interval at which the number of subscribers is queried while it matters: while there is
/// something to publish, or a subscriber. Also the interval at which this is checked.
pub(super) const COUNT_EVERY: Duration = Duration::from_secs(1);
/// The same while this process subscribes, to detect a dead connection.
const COUNT_WHILE_LISTENING: Duration = Duration::from_secs(10);
/// The same while nothing happens, to notice programs that subscribe to gauges without an
/// announcement: older versions.
const COUNT_WHILE_IDLE: Duration = Duration::from_secs(120);
/// The channel on which a process announces that it has subscribed, so that the others need not
/// query for subscribers all the time.
const ANNOUNCEMENTS: &str = "bklit:watching";
/// Maximum pause after a failed attempt to subscribe.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Subscribes forever, reconnecting when the connection is lost.
pub(super) async fn listen<B: Bus>(server: RedisServer, shared: Arc<Shared>, bus: Weak<B>) {
    let mut backoff = Backoff::new(LONGEST_PAUSE);
    let mut logged = false;
    loop {
        let ended = listen_once(&server, &shared, &bus, || {
            backoff.reset();
            logged = false;
        });
        let reason = ended.await.to_string();
        shared.remote_known.store(false, Relaxed);
        shared.remote.store(0, Relaxed);
        shared.is_down.store(true, Relaxed);
        shared.reception.send_replace(Reception::Cut(reason.clone()));
        let Some(bus) = bus.upgrade() else { return };
        // Once per outage, not once per attempt.
        if !std::mem::replace(&mut logged, true) {
            bus.disconnected(&reason);
        }
        drop(bus);
        backoff.pause().await;
    }
}

async fn listen_once<B: Bus>(
    server: &RedisServer,
    shared: &Arc<Shared>,
    bus: &Weak<B>,
    mut connected: impl FnMut(),
) -> RedisFailure {
    let cut = Arc::new(Notify::new());
    let on_incoming = {
        let (shared, bus, cut) = (Arc::clone(shared), bus.clone(), Arc::clone(&cut));
        move |incoming: Incoming<'_>| match incoming {
            Incoming::Message(channel, _) if channel == ANNOUNCEMENTS.as_bytes() => {
                shared.announced.notify_one();
            }
            Incoming::Message(channel, payload) => receive(&shared, &bus, channel, payload),
            Incoming::End => cut.notify_one(),
        }
    };
    let mut connection = match server.subscriber(on_incoming).await {
        Ok(connection) => connection,
        Err(failure) => return failure,
    };
    if let Err(error) = connection.subscribe(&[ANNOUNCEMENTS]).await {
        let failure = RedisFailure::from(error);
        if !failure.is_response() {
            return failure;
        }
        // The user may be limited to other channels: then subscribers are noticed later.
        tracing::debug!(error = %failure, "cannot subscribe to {ANNOUNCEMENTS}");
    }
    let mut listening = false;
    loop {
        let Some(wanted) = bus.upgrade().map(|bus| wants(&*bus, shared)) else {
            return RedisFailure::Command(std::io::Error::other("the bus is closed").into());
        };
        if let Err(error) = follow::<B>(&mut connection, &mut listening, wanted, shared).await {
            return error.into();
        }
        shared.is_down.store(false, Relaxed);
        let reception = if listening { Reception::On } else { Reception::Off };
        let is_new = shared
            .reception
            .send_if_modified(|before| std::mem::replace(before, reception.clone()) != reception);
        if listening
            && is_new
            && let Some(bus) = bus.upgrade()
        {
            bus.connected();
        }
        connected();
        tokio::select! {
            () = cut.notified() => {
                let error = std::io::Error::other("the connection was lost");
                return RedisFailure::Command(error.into());
            }
            () = shared.subscribed.notified() => {}
            () = shared.announced.notified() => {}
            () = count_is_due(shared, bus, listening) => {}
        }
    }
}

/// Waits until the number of subscribers is to be queried again, or this process has to subscribe
/// or unsubscribe. Costs the server nothing.
async fn count_is_due<B: Bus>(shared: &Shared, bus: &Weak<B>, listening: bool) {
    let counted = Instant::now();
    loop {
        let again = counted + COUNT_EVERY;
        tokio::select! {
            () = shared.used.notified() => tokio::time::sleep_until(again).await,
            () = tokio::time::sleep_until(again.max(Instant::now() + COUNT_EVERY)) => {}
        }
        let Some(bus) = bus.upgrade() else { return };
        let matters = shared.is_used.load(Relaxed) || shared.remote.load(Relaxed) > 0;
        let interval = match (matters, listening) {
            (true, _) => COUNT_EVERY,
            (false, true) => COUNT_WHILE_LISTENING,
            (false, false) => COUNT_WHILE_IDLE,
        };
        if counted.elapsed() >= interval || (bus.local_subscribers() > 0) != listening {
            return;
        }
    }
}

/// Whether this process has subscribers. A new subscriber is either counted here or finds that
/// messages are not received yet.
fn wants<B: Bus>(bus: &B, shared: &Shared) -> bool {
    if bus.local_subscribers() == 0 {
        shared.reception.send_if_modified(|reception| {
            std::mem::replace(reception, Reception::Off) != Reception::Off
        });
    }
    bus.local_subscribers() > 0
}

/// Subscribes or unsubscribes, and queries the number of other subscribers.
async fn follow<B: Bus>(
    connection: &mut Subscriber,
    listening: &mut bool,
    wanted: bool,
    shared: &Shared,
) -> Result<(), redis::RedisError> {
    if wanted && !*listening {
        connection.subscribe(B::CHANNELS).await?;
        // If this fails, so do the commands below, or a permission is missing.
        let bus = B::CHANNELS.first().copied().unwrap_or_default();
        let _ = connection.publish(ANNOUNCEMENTS, bus).await;
    } else if !wanted && *listening {
        connection.unsubscribe(B::CHANNELS).await?;
    }
    *listening = wanted;
    shared.is_used.store(false, Relaxed);
    let subscribers = connection.subscribers(B::CHANNELS).await?;
    shared.remote.store(subscribers.saturating_sub(u64::from(wanted)), Relaxed);
    shared.remote_known.store(true, Relaxed);
    shared.counted.send_replace(Some(Instant::now()));
    Ok(())
}

fn receive<B: Bus>(shared: &Shared, bus: &Weak<B>, channel: &[u8], payload: &[u8]) {
    if let Some(bus) = bus.upgrade()
        && !shared.own.received(payload)
    {
        bus.received(&String::from_utf8_lossy(channel), payload);
    }
}
