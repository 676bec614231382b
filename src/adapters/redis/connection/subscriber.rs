//! A subscription to channels. With RESP3, messages arrive on the connection that also sends
//! commands; RESP2 needs a second one.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use redis::aio::{MultiplexedConnection, PubSubSink};
use redis::{Cmd, ConnectionAddr, ErrorKind, PushInfo, PushKind, RedisError, Value, cmd};
use tokio_util::task::AbortOnDropHandle;

use super::node::Sink;
use super::{Link, Links, RedisFailure, RedisServer};

/// Nodes of a cluster that are asked at once.
const AT_ONCE: usize = 64;

/// What arrives on a subscription.
#[derive(Debug)]
pub enum Incoming<'a> {
    /// A message: its channel and its payload.
    Message(&'a [u8], &'a [u8]),
    /// The connection was lost.
    End,
}

/// A connection for subscriptions.
pub struct Subscriber {
    node: ConnectionAddr,
    commands: MultiplexedConnection,
    /// The second connection, with RESP2, and the task that reads it.
    separate: Option<(PubSubSink, AbortOnDropHandle<()>)>,
    response_timeout: Duration,
    /// The other nodes of a cluster.
    links: Links,
}

impl RedisServer {
    /// Opens a connection that passes what arrives to `on`, which must not block.
    ///
    /// # Errors
    /// [`RedisFailure::Unreachable`].
    pub async fn subscriber(
        &self,
        on: impl Fn(Incoming<'_>) + Send + Sync + 'static,
    ) -> Result<Subscriber, RedisFailure> {
        let on = Arc::new(on);
        let (node, opened) = self.open(&passes_messages(&on)).await?;
        let separate = if opened.has_pushes {
            None
        } else {
            let (sink, mut messages) = self.shared.access.open_subscriber(&node).await?.split();
            let reading = tokio::spawn(async move {
                while let Some(message) = messages.next().await {
                    let channel = message.get_channel_name().as_bytes();
                    on(Incoming::Message(channel, message.get_payload_bytes()));
                }
                on(Incoming::End);
            });
            Some((sink, AbortOnDropHandle::new(reading)))
        };
        Ok(Subscriber {
            node,
            commands: opened.connection,
            separate,
            response_timeout: self.response_timeout(),
            links: Links::new(self.clone()),
        })
    }
}

fn passes_messages(on: &Arc<impl Fn(Incoming<'_>) + Send + Sync + 'static>) -> Sink {
    let on = Arc::clone(on);
    Arc::new(move |push: PushInfo| {
        match (push.kind, push.data.as_slice()) {
            (PushKind::Message, [Value::BulkString(channel), Value::BulkString(payload)]) => {
                on(Incoming::Message(channel, payload));
            }
            (PushKind::Disconnection, _) => on(Incoming::End),
            _ => {}
        }
        Ok(())
    })
}

impl Subscriber {
    /// Subscribes to channels.
    ///
    /// # Errors
    /// If the connection is lost, or the user may not use the channels.
    pub async fn subscribe(&mut self, channels: &[&str]) -> Result<(), RedisError> {
        match &mut self.separate {
            None => self.commands.subscribe(channels).await,
            Some((sink, _)) => within(self.response_timeout, sink.subscribe(channels)).await,
        }
    }

    /// Ends the subscriptions to channels.
    ///
    /// # Errors
    /// If the connection is lost.
    pub async fn unsubscribe(&mut self, channels: &[&str]) -> Result<(), RedisError> {
        match &mut self.separate {
            None => self.commands.unsubscribe(channels).await,
            Some((sink, _)) => within(self.response_timeout, sink.unsubscribe(channels)).await,
        }
    }

    /// Publishes a message.
    ///
    /// # Errors
    /// If the connection is lost, or the user may not use the channel.
    pub async fn publish(&mut self, channel: &str, message: &str) -> Result<(), RedisError> {
        cmd("PUBLISH").arg(channel).arg(message).query_async(&mut self.commands).await
    }

    /// How many subscribers these channels have: the most of any of them, plus those with patterns.
    /// An error within the response timeout shows that the connection is lost, even if neither side
    /// has closed it.
    ///
    /// # Errors
    /// If the connection is lost.
    pub async fn subscribers(&mut self, channels: &[&str]) -> Result<u64, RedisError> {
        if let Some((sink, _)) = &mut self.separate {
            within(self.response_timeout, sink.ping::<Value>()).await?;
        }
        let (channel_count, pattern_count) = counts(channels);
        let counts: Vec<(String, u64)> = channel_count.query_async(&mut self.commands).await?;
        let patterns: u64 = pattern_count.query_async(&mut self.commands).await?;
        let mut sum = most(&counts) + patterns;
        // Each node of a cluster knows its own subscribers only. One that is down has none.
        let others = self.links.others(&self.node).await;
        let mut asked = stream::iter(others)
            .map(|link| on_node(link, &channel_count, &pattern_count))
            .buffer_unordered(AT_ONCE);
        while let Some(count) = asked.next().await {
            sum += count;
        }
        Ok(sum)
    }
}

async fn on_node(link: Arc<Link>, channel_count: &Cmd, pattern_count: &Cmd) -> u64 {
    let Ok(connection) = link.connection().await else { return 0 };
    let (counts, patterns) = tokio::join!(
        connection.query::<Vec<(String, u64)>>(channel_count),
        connection.query::<u64>(pattern_count),
    );
    counts.map_or(0, |counts| most(&counts)) + patterns.unwrap_or(0)
}

fn counts(channels: &[&str]) -> (Cmd, Cmd) {
    // The first does not include pattern subscribers.
    (cmd("PUBSUB").arg("NUMSUB").arg(channels).take(), cmd("PUBSUB").arg("NUMPAT").take())
}

fn most(counts: &[(String, u64)]) -> u64 {
    counts.iter().map(|(_, count)| *count).max().unwrap_or(0)
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, RedisError> {
    let late = || RedisError::from((ErrorKind::Io, "no response in time"));
    tokio::time::timeout(limit, call).await.unwrap_or_else(|_| Err(late()))
}
