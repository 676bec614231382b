//! What both buses share: publishing through a bounded channel, listening while somebody of this
//! process does, and asking how many listen elsewhere.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, Value, cmd};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::own::Own;
use crate::pipeline::backoff::Backoff;
use crate::pipeline::redis::{Link, RedisFailure, RedisServer};

/// Messages that wait to be published; with more they are lost.
const MAX_WAITING: usize = 16_384;
/// Messages published in one round trip.
const MAX_GROUP: usize = 512;
/// How often to ask how many listen elsewhere; notices a dead connection, too.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// The pause after a failure to listen, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A channel and a message for it.
pub(super) type Outgoing = (&'static str, Vec<u8>);

/// What a relay does for, and tells, a bus. Nothing here may wait.
pub(super) trait Bus: Send + Sync + 'static {
    /// The channels to listen to.
    const CHANNELS: &'static [&'static str];

    /// How many listen in this process.
    fn local_subscribers(&self) -> usize;

    /// A message of another process.
    fn received(&self, channel: &str, payload: &[u8]);

    /// From now on messages are received.
    fn connected(&self);

    /// Until further notice messages are missed.
    fn disconnected(&self, reason: &str);

    /// So many messages could not be published.
    fn lost(&self, messages: u64);

    /// What to tell the others once messages get through again.
    fn notice(&self, lost: u64) -> Option<Outgoing>;
}

/// What somebody who begins to listen in this process can expect.
pub(super) enum Listening {
    /// The bus begins to listen, too, and will tell whether it can.
    Begins,
    /// The bus listens already.
    Already,
    /// It cannot now, for this reason.
    Fails(String),
}

/// A bus's way to the others.
pub(super) struct Relay {
    outgoing: mpsc::Sender<Outgoing>,
    shared: Arc<Shared>,
    listener: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    own: Own,
    /// Subscribers in other processes, as of the last time they were asked for.
    remote: AtomicU64,
    listening: AtomicBool,
    /// Why listening fails, while it does.
    cut: Mutex<Option<String>>,
    /// Messages lost and not counted yet.
    lost: AtomicU64,
    /// Why publishing fails, while it does.
    failure: Mutex<Option<String>>,
    subscribed: Notify,
}

impl Relay {
    /// Starts to relay for `bus`, until this is dropped. Call it within a tokio runtime.
    pub(super) fn new<B: Bus>(server: RedisServer, bus: &Arc<B>) -> Self {
        let shared = Arc::new(Shared::default());
        let (outgoing, messages) = mpsc::channel(MAX_WAITING);
        let link = Link::new(server.clone());
        // Ends by itself once the sender is dropped and what was sent is published.
        tokio::spawn(publish(link, messages, Arc::clone(&shared), Arc::downgrade(bus)));
        let listener = listen(server, Arc::clone(&shared), Arc::downgrade(bus));
        Self { outgoing, shared, listener: tokio::spawn(listener) }
    }

    /// Publishes a message soon, or loses and counts it.
    pub(super) fn publish(&self, channel: &'static str, payload: Vec<u8>) -> Result<(), String> {
        if self.outgoing.try_send((channel, payload)).is_err() {
            self.shared.lost.fetch_add(1, Relaxed);
            return Err(format!("more than {MAX_WAITING} messages wait to be published"));
        }
        read(&self.shared.failure).map_or(Ok(()), Err)
    }

    /// How many listen in other processes, as of a second ago at most.
    pub(super) fn remote_subscribers(&self) -> u64 {
        self.shared.remote.load(Relaxed)
    }

    /// Somebody of this process has begun to listen.
    pub(super) fn subscribed(&self) -> Listening {
        self.shared.subscribed.notify_one();
        match read(&self.shared.cut) {
            Some(reason) => Listening::Fails(reason),
            None if self.shared.listening.load(Relaxed) => Listening::Already,
            None => Listening::Begins,
        }
    }
}

fn read(text: &Mutex<Option<String>>) -> Option<String> {
    text.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn write(text: &Mutex<Option<String>>, to: Option<String>) {
    *text.lock().unwrap_or_else(PoisonError::into_inner) = to;
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn publish<B: Bus>(
    link: Link,
    mut messages: mpsc::Receiver<Outgoing>,
    shared: Arc<Shared>,
    bus: Weak<B>,
) {
    let mut group = Vec::with_capacity(MAX_GROUP);
    let mut untold = 0;
    while messages.recv_many(&mut group, MAX_GROUP).await > 0 {
        let lost = shared.lost.swap(0, Relaxed);
        untold += lost;
        let mut notice = None;
        if untold > 0
            && let Some(bus) = bus.upgrade()
        {
            if lost > 0 {
                bus.lost(lost);
            }
            notice = bus.notice(untold);
        }
        let published = publish_group(&link, notice.iter().chain(&group), &shared.own).await;
        match &published {
            Ok(()) => untold = 0,
            Err(_) => _ = shared.lost.fetch_add(group.len() as u64, Relaxed),
        }
        write(&shared.failure, published.err().map(|failure| failure.to_string()));
        group.clear();
    }
}

async fn publish_group(
    link: &Link,
    messages: impl Iterator<Item = &Outgoing>,
    own: &Own,
) -> Result<(), RedisFailure> {
    let connection = link.connection().await?;
    let mut commands = redis::pipe();
    for (channel, payload) in messages {
        own.published(payload);
        commands.cmd("PUBLISH").arg(*channel).arg(payload.as_slice()).ignore();
    }
    connection.pipeline(&commands).await
}

/// Listens for ever, making a new connection when one breaks.
async fn listen<B: Bus>(server: RedisServer, shared: Arc<Shared>, bus: Weak<B>) {
    let mut backoff = Backoff::new(LONGEST_PAUSE);
    let mut told = false;
    loop {
        let ended = listen_once(&server, &shared, &bus, || {
            backoff.reset();
            told = false;
        });
        let reason = ended.await.to_string();
        shared.listening.store(false, Relaxed);
        shared.remote.store(0, Relaxed);
        write(&shared.cut, Some(reason.clone()));
        let Some(bus) = bus.upgrade() else { return };
        // Once a failure, not once a try.
        if !std::mem::replace(&mut told, true) {
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
    let sink = {
        let (shared, bus, cut) = (Arc::clone(shared), bus.clone(), Arc::clone(&cut));
        move |push: PushInfo| {
            match push.kind {
                PushKind::Message => receive(&shared, &bus, &push.data),
                PushKind::Disconnection => cut.notify_one(),
                _ => {}
            }
            Ok(())
        }
    };
    let mut connection = match server.connect(sink).await {
        Ok(connection) => connection,
        Err(failure) => return failure,
    };
    let mut listening = false;
    loop {
        let Some(wanted) = bus.upgrade().map(|bus| bus.local_subscribers() > 0) else {
            return RedisFailure::Command(std::io::Error::other("the bus is closed").into());
        };
        if let Err(error) = follow::<B>(&mut connection, &mut listening, wanted, shared).await {
            return error.into();
        }
        write(&shared.cut, None);
        if listening
            && !shared.listening.swap(true, Relaxed)
            && let Some(bus) = bus.upgrade()
        {
            bus.connected();
        }
        connected();
        tokio::select! {
            () = cut.notified() => {
                let error = std::io::Error::other("the connection was cut");
                return RedisFailure::Command(error.into());
            }
            () = shared.subscribed.notified() => {}
            () = tokio::time::sleep(ASK_EVERY) => {}
        }
    }
}

/// Listens or ceases to, and asks how many others listen.
async fn follow<B: Bus>(
    connection: &mut MultiplexedConnection,
    listening: &mut bool,
    wanted: bool,
    shared: &Shared,
) -> Result<(), redis::RedisError> {
    if wanted && !*listening {
        connection.subscribe(B::CHANNELS).await?;
    } else if !wanted && *listening {
        connection.unsubscribe(B::CHANNELS).await?;
        shared.listening.store(false, Relaxed);
    }
    *listening = wanted;
    let counts: Vec<(String, u64)> =
        cmd("PUBSUB").arg("NUMSUB").arg(B::CHANNELS).query_async(connection).await?;
    // Who listens by pattern is not among those.
    let patterns: u64 = cmd("PUBSUB").arg("NUMPAT").query_async(connection).await?;
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(0);
    shared.remote.store(most.saturating_sub(u64::from(wanted)) + patterns, Relaxed);
    Ok(())
}

fn receive<B: Bus>(shared: &Shared, bus: &Weak<B>, data: &[Value]) {
    if let ([Value::BulkString(channel), Value::BulkString(payload)], Some(bus)) =
        (data, bus.upgrade())
        && !shared.own.received(payload)
    {
        bus.received(&String::from_utf8_lossy(channel), payload);
    }
}
