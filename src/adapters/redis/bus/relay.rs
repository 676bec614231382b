//! What both buses share: publishing through a bounded channel, listening while somebody of this
//! process does, and asking how many listen elsewhere.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, Value, cmd};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use super::history::{Entry, Keeper};
use super::own_messages::OwnMessages;
use crate::redis::connection::{Link, RedisFailure, RedisServer};
use bklit_net::backoff::Backoff;

/// Messages that wait to be published; with more they are lost.
const MAX_WAITING: usize = 16_384;
/// Messages published in one round trip.
const MAX_GROUP: usize = 512;
/// How long messages that nobody waits for are gathered: each group may cost Redis a sync.
const GATHER: Duration = Duration::from_millis(50);
/// How often to ask how many listen elsewhere; notices a dead connection, too.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// The pause after a failure to listen, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A message for a channel.
pub(super) struct Outgoing {
    pub(super) channel: &'static str,
    pub(super) payload: Vec<u8>,
    /// Somebody misses it if it is not published.
    pub(super) is_awaited: bool,
    /// To be kept as well, for who comes later.
    pub(super) entry: Option<Entry>,
}

impl Outgoing {
    /// One that somebody waits for.
    pub(super) fn awaited(channel: &'static str, payload: Vec<u8>) -> Self {
        Self { channel, payload, is_awaited: true, entry: None }
    }
}

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

/// Whether messages of other processes are received.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) enum Hearing {
    /// Nobody wanted them yet, or not for a while.
    #[default]
    Not,
    /// They are.
    Yes,
    /// They are missed, for this reason.
    Cut(String),
}

/// A bus's way to the others.
pub(super) struct Relay {
    outgoing: mpsc::Sender<Outgoing>,
    shared: Arc<Shared>,
    listener: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    own: OwnMessages,
    /// Subscribers in other processes, as of the last time they were asked for.
    remote: AtomicU64,
    /// That number is of the connection that stands.
    remote_known: AtomicBool,
    hearing: watch::Sender<Hearing>,
    /// The server is away: nothing is sent that nobody waits for.
    is_down: AtomicBool,
    /// Messages lost and not counted yet.
    lost: AtomicU64,
    /// Why publishing fails, while it does.
    failure: Mutex<Option<String>>,
    subscribed: Notify,
}

impl Relay {
    /// Starts to relay for `bus`, until this is dropped. Call it within a tokio runtime.
    pub(super) fn new<B: Bus>(server: RedisServer, bus: &Arc<B>, keeper: Option<Keeper>) -> Self {
        let shared = Arc::new(Shared::default());
        let (outgoing, messages) = mpsc::channel(MAX_WAITING);
        let way = Way { link: Link::new(server.clone()), keeper };
        // Ends by itself once the sender is dropped and what was sent is published.
        tokio::spawn(publish(way, messages, Arc::clone(&shared), Arc::downgrade(bus)));
        let listener = listen(server, Arc::clone(&shared), Arc::downgrade(bus));
        Self { outgoing, shared, listener: tokio::spawn(listener) }
    }

    /// Publishes a message soon, or loses it, and counts it if somebody waits for it.
    pub(super) fn publish(&self, message: Outgoing) -> Result<(), String> {
        let is_awaited = message.is_awaited;
        if self.outgoing.try_send(message).is_err() {
            self.shared.lost.fetch_add(u64::from(is_awaited), Relaxed);
            return Err(format!("more than {MAX_WAITING} messages wait to be published"));
        }
        read(&self.shared.failure).map_or(Ok(()), Err)
    }

    /// How many listen in other processes, as of a second ago at most.
    pub(super) fn remote_subscribers(&self) -> u64 {
        self.shared.remote.load(Relaxed)
    }

    /// Whether anybody may be listening in another process, as of a second ago at most; true while
    /// the server does not say.
    pub(super) fn may_have_remote_subscribers(&self) -> bool {
        !self.shared.remote_known.load(Relaxed) || self.remote_subscribers() > 0
    }

    /// Whether the server is away, as of the last time it was needed.
    pub(super) fn is_down(&self) -> bool {
        self.shared.is_down.load(Relaxed)
    }

    /// Somebody of this process has begun to listen.
    pub(super) fn subscribed(&self) -> Listening {
        self.shared.subscribed.notify_one();
        match self.shared.hearing.borrow().clone() {
            Hearing::Cut(reason) => Listening::Fails(reason),
            Hearing::Yes => Listening::Already,
            Hearing::Not => Listening::Begins,
        }
    }

    /// Tells whether messages of other processes are received.
    pub(super) fn hearing(&self) -> watch::Receiver<Hearing> {
        self.shared.hearing.subscribe()
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

/// What messages go out by.
struct Way {
    link: Link,
    keeper: Option<Keeper>,
}

async fn publish<B: Bus>(
    mut way: Way,
    mut messages: mpsc::Receiver<Outgoing>,
    shared: Arc<Shared>,
    bus: Weak<B>,
) {
    let mut group = Vec::with_capacity(MAX_GROUP);
    let mut untold = 0;
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
        // Before they are published: who listens and then reads what is kept misses none.
        if let Some(keeper) = &mut way.keeper {
            keeper.keep(&way.link, &group).await;
        }
        let published = publish_group(&way.link, notice.iter().chain(&group), &shared.own).await;
        match &published {
            Ok(()) => untold = 0,
            Err(_) => {
                let awaited = group.iter().filter(|message| message.is_awaited).count();
                shared.lost.fetch_add(awaited as u64, Relaxed);
                shared.is_down.store(true, Relaxed);
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
        shared.remote_known.store(false, Relaxed);
        shared.remote.store(0, Relaxed);
        shared.is_down.store(true, Relaxed);
        shared.hearing.send_replace(Hearing::Cut(reason.clone()));
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
        let Some(wanted) = bus.upgrade().map(|bus| wants(&*bus, shared)) else {
            return RedisFailure::Command(std::io::Error::other("the bus is closed").into());
        };
        if let Err(error) = follow::<B>(&mut connection, &mut listening, wanted, shared).await {
            return error.into();
        }
        shared.is_down.store(false, Relaxed);
        let hearing = if listening { Hearing::Yes } else { Hearing::Not };
        let is_new = shared
            .hearing
            .send_if_modified(|before| std::mem::replace(before, hearing.clone()) != hearing);
        if listening
            && is_new
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

/// Whether anybody of this process listens. Who begins to just now either is among them, or learns
/// that nothing is heard yet.
fn wants<B: Bus>(bus: &B, shared: &Shared) -> bool {
    if bus.local_subscribers() == 0 {
        shared
            .hearing
            .send_if_modified(|hearing| std::mem::replace(hearing, Hearing::Not) != Hearing::Not);
    }
    bus.local_subscribers() > 0
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
    }
    *listening = wanted;
    let counts: Vec<(String, u64)> =
        cmd("PUBSUB").arg("NUMSUB").arg(B::CHANNELS).query_async(connection).await?;
    // Who listens by pattern is not among those.
    let patterns: u64 = cmd("PUBSUB").arg("NUMPAT").query_async(connection).await?;
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(0);
    shared.remote.store(most.saturating_sub(u64::from(wanted)) + patterns, Relaxed);
    shared.remote_known.store(true, Relaxed);
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
