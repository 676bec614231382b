//! Shared by both buses: publishes through a bounded channel what has subscribers in other processes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::keeper::{Entry, Keeper};
use super::listener::{COUNT_EVERY, listen};
use super::own_messages::OwnMessages;
use crate::redis::connection::{Link, RedisFailure, RedisServer};

/// Messages that may wait to be published; further ones are lost.
const MAX_WAITING: usize = 16_384;
/// Messages published in one round trip.
const MAX_GROUP: usize = 512;
/// How long messages without subscribers are collected, because each group may cost Redis an fsync.
const GATHER: Duration = Duration::from_millis(50);
/// Time limit for waiting for a new count.
const COUNT_TIMEOUT: Duration = Duration::from_millis(250);

/// A message for a channel.
pub(super) struct Outgoing {
    pub(super) channel: &'static str,
    pub(super) payload: Vec<u8>,
    /// Whether it has subscribers, so that its loss counts.
    pub(super) is_awaited: bool,
    /// The history entry, if it is to be kept as well.
    pub(super) entry: Option<Entry>,
}

impl Outgoing {
    /// A message with subscribers.
    pub(super) fn awaited(channel: &'static str, payload: Vec<u8>) -> Self {
        Self { channel, payload, is_awaited: true, entry: None }
    }
}

/// Callbacks of a bus. None of them may block.
pub(super) trait Bus: Send + Sync + 'static {
    /// The channels to subscribe to.
    const CHANNELS: &'static [&'static str];

    /// Number of subscribers in this process.
    fn local_subscribers(&self) -> usize;

    /// A message of another process.
    fn received(&self, channel: &str, payload: &[u8]);

    /// Messages are received from now on.
    fn connected(&self);

    /// Messages are missed from now on.
    fn disconnected(&self, reason: &str);

    /// This many messages could not be published.
    fn lost(&self, messages: u64);

    /// A message about lost messages, which is published once publishing works again.
    fn notice(&self, lost: u64) -> Option<Outgoing>;
}

/// The state of the subscription for a new subscriber in this process.
pub(super) enum Listening {
    /// The bus is subscribing and will report the result.
    Starting,
    /// The bus is already subscribed.
    Active,
    /// The bus cannot subscribe now, for this reason.
    Failed(String),
}

/// Whether messages of other processes are received.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) enum Reception {
    /// Not subscribed, because this process has no subscribers.
    #[default]
    Off,
    /// Messages are received.
    On,
    /// Messages are missed, for this reason.
    Cut(String),
}

/// The connection of a bus to the other processes.
pub(super) struct Relay {
    outgoing: mpsc::Sender<Outgoing>,
    shared: Arc<Shared>,
    listener: JoinHandle<()>,
}

/// What the relay shares with its tasks.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) own: OwnMessages,
    /// Subscribers in other processes, at the time of the last query.
    pub(super) remote: AtomicU64,
    /// Whether that number is from the current connection.
    pub(super) remote_known: AtomicBool,
    /// When it was last queried.
    pub(super) counted: watch::Sender<Option<Instant>>,
    /// Whether that number has been used since.
    pub(super) is_used: AtomicBool,
    pub(super) used: Notify,
    /// Another process has subscribed.
    pub(super) announced: Notify,
    pub(super) reception: watch::Sender<Reception>,
    /// The server is unavailable: messages without subscribers are not sent.
    pub(super) is_down: AtomicBool,
    /// Lost messages that have not been reported yet.
    lost: AtomicU64,
    /// The current reason why publishing fails.
    failure: Mutex<Option<String>>,
    pub(super) subscribed: Notify,
}

impl Relay {
    /// Starts relaying for `bus` until this is dropped. Must be called in a tokio runtime.
    pub(super) fn new<B: Bus>(server: RedisServer, bus: &Arc<B>, keeper: Option<Keeper>) -> Self {
        let shared = Arc::new(Shared::default());
        // In a cluster, all processes use the same node for a bus, which knows their number.
        let server = match B::CHANNELS.first() {
            Some(name) => server.for_key(name),
            None => server,
        };
        let (outgoing, messages) = mpsc::channel(MAX_WAITING);
        let route = Route { link: Link::new(server.clone()), keeper };
        // Ends once the sender is dropped and everything sent has been published.
        tokio::spawn(publish(route, messages, Arc::clone(&shared), Arc::downgrade(bus)));
        let listener = listen(server, Arc::clone(&shared), Arc::downgrade(bus));
        Self { outgoing, shared, listener: tokio::spawn(listener) }
    }

    /// Queues a message for publishing. If the channel is full, it is lost, and counted if it has
    /// subscribers.
    pub(super) fn publish(&self, message: Outgoing) -> Result<(), String> {
        let is_awaited = message.is_awaited;
        if self.outgoing.try_send(message).is_err() {
            self.shared.lost.fetch_add(u64::from(is_awaited), Relaxed);
            return Err(format!("more than {MAX_WAITING} messages are waiting to be published"));
        }
        read(&self.shared.failure).map_or(Ok(()), Err)
    }

    /// Number of subscribers in other processes. At most a second old if [`Relay::used`] was called
    /// in that time.
    pub(super) fn remote_subscribers(&self) -> u64 {
        self.shared.remote.load(Relaxed)
    }

    /// Records that there may be something to publish, so that the number of subscribers is kept up
    /// to date. Cheap.
    pub(super) fn used(&self) {
        self.shared.use_count();
    }

    /// Waits until the number of subscribers is at most a second old, or cannot be queried.
    pub(super) async fn counted(&self) {
        self.shared.counted().await;
    }

    /// Whether another process may have subscribers, at most a second old; true while unknown.
    pub(super) fn may_have_remote_subscribers(&self) -> bool {
        !self.shared.remote_known.load(Relaxed) || self.remote_subscribers() > 0
    }

    /// Whether the server was unavailable when it was last used.
    pub(super) fn is_down(&self) -> bool {
        self.shared.is_down.load(Relaxed)
    }

    /// Reports a new subscriber in this process.
    pub(super) fn subscribed(&self) -> Listening {
        self.shared.subscribed.notify_one();
        match self.shared.reception.borrow().clone() {
            Reception::Cut(reason) => Listening::Failed(reason),
            Reception::On => Listening::Active,
            Reception::Off => Listening::Starting,
        }
    }

    /// Watches whether messages of other processes are received.
    pub(super) fn reception(&self) -> watch::Receiver<Reception> {
        self.shared.reception.subscribe()
    }
}

impl Shared {
    fn use_count(&self) {
        if !self.is_used.load(Relaxed) && !self.is_used.swap(true, Relaxed) {
            self.used.notify_one();
        }
    }

    async fn counted(&self) {
        let mut counted = self.counted.subscribe();
        let is_fresh = counted.borrow_and_update().is_some_and(|at| at.elapsed() < COUNT_EVERY);
        if is_fresh || !self.remote_known.load(Relaxed) {
            return;
        }
        self.use_count();
        let _ = timeout(COUNT_TIMEOUT, counted.changed()).await;
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

/// The connection that messages are sent over.
struct Route {
    link: Link,
    keeper: Option<Keeper>,
}

async fn publish<B: Bus>(
    mut route: Route,
    mut messages: mpsc::Receiver<Outgoing>,
    shared: Arc<Shared>,
    bus: Weak<B>,
) {
    let mut group = Vec::with_capacity(MAX_GROUP);
    let mut unreported = 0;
    while messages.recv_many(&mut group, MAX_GROUP).await > 0 {
        if group.iter().all(|message| !message.is_awaited) {
            tokio::time::sleep(GATHER).await;
            while group.len() < MAX_GROUP
                && let Ok(message) = messages.try_recv()
            {
                group.push(message);
            }
        }
        let lost = shared.lost.swap(0, Relaxed);
        unreported += lost;
        let mut notice = None;
        if unreported > 0
            && let Some(bus) = bus.upgrade()
        {
            if lost > 0 {
                bus.lost(lost);
            }
            notice = bus.notice(unreported);
        }
        // Before publishing: a consumer that subscribes and then reads the history misses none.
        if let Some(keeper) = &mut route.keeper {
            keeper.keep(&route.link, &group).await;
        }
        let published = publish_group(&route.link, notice.iter().chain(&group), &shared.own).await;
        match &published {
            Ok(()) => unreported = 0,
            Err(_) => {
                let awaited = group.iter().filter(|message| message.is_awaited).count();
                shared.lost.fetch_add(awaited as u64, Relaxed);
                shared.is_down.store(true, Relaxed);
                // The next count finds out whether that lasts.
                shared.use_count();
            }
        }
        write(&shared.failure, published.err().map(|failure| failure.to_string()));
        group.clear();
    }
}

async fn publish_group(
    link: &Link,
    messages: impl Iterator<Item = &Outgoing>,
    own: &OwnMessages,
) -> Result<(), RedisFailure> {
    let connection = link.connection().await?;
    let mut commands = redis::pipe();
    for Outgoing { channel, payload, .. } in messages {
        own.published(payload);
        commands.cmd("PUBLISH").arg(*channel).arg(payload.as_slice()).ignore();
    }
    connection.pipeline(&commands).await
}
