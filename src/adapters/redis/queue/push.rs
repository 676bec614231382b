//! Pushes items: all pushes that arrive during one round trip share the next one.
//!
//! A group without a response may have been added, or may be added later, when a server that hung
//! continues. So groups are numbered within a series, and the server stores the number of the last
//! added group in the same step as adding it. After a failure a new series starts. The previous one
//! stays as it is until it is settled, which also closes it for groups that arrive late.

use std::sync::Arc;

use redis::cmd;
use tokio::sync::{Notify, mpsc, oneshot};

use super::disk_sync::DiskSyncProbe;
use super::keys::{Keys, RememberedId};
use super::once::{Added, PushResult};
use super::scripts::Scripts;
use super::{Durability, unavailable};
use crate::redis::connection::{Connection, Link};
use bklit_pipeline::queue::{Bounds, NewItem, QueueError};

/// Calls that may wait; further callers wait for a place.
pub(super) const MAX_WAITING: usize = 16_384;
/// Once this many pushes share a round trip, no further call joins them. With those of the last call
/// they must stay below 8,000, the most arguments that a script can pass to a command.
const MAX_GROUP: usize = 1_024;
/// A group of this many does not wait for more.
const LARGE_GROUP: usize = 100;
/// How long the result of a group in doubt is stored: as long as a spool may have to wait.
const SERIES_MEMORY_SECONDS: u64 = 7 * 24 * 60 * 60;

/// Result of the scripts if too many items have failed.
pub(super) const FAILED_FULL: i64 = -2;
/// An item to push and where to send the result.
pub(super) struct Push {
    pub body: String,
    /// Where its id is remembered, if a client chose the id.
    pub chosen: Option<RememberedId>,
    /// The epoch of the layout by which this shard was chosen.
    pub epoch: u64,
    pub reply: oneshot::Sender<PushResult>,
}

/// The pushes of one call.
pub(super) enum Call {
    One(Push),
    Many(Vec<Push>),
}

impl Call {
    fn join(self, group: &mut Vec<Push>) {
        match self {
            Self::One(push) => group.push(push),
            Self::Many(pushes) => group.extend(pushes),
        }
    }
}

impl Push {
    /// A push of `item`, and where its result arrives.
    pub(super) fn new(
        keys: &Keys,
        item: &NewItem,
        epoch: u64,
    ) -> (Self, oneshot::Receiver<PushResult>) {
        let event = &item.event;
        let chosen = item.client_id.then(|| keys.remembered(event));
        let (reply, response) = oneshot::channel();
        (Self { body: event.to_json(), chosen, epoch, reply }, response)
    }
}

/// A group without a response.
struct Unanswered {
    reason: String,
    /// How many of its items, from the first, had been sent.
    sent: usize,
}

/// Numbered groups of items.
struct Series {
    name: String,
    groups: u64,
}

impl Unanswered {
    /// Nothing was sent, or nothing that could be in doubt.
    fn before(failure: impl std::fmt::Display) -> Self {
        Self { reason: failure.to_string(), sent: 0 }
    }
}

impl Series {
    fn new(keys: &Keys) -> Self {
        Self { name: keys.id(uuid::Uuid::new_v4()), groups: 0 }
    }

    /// Identifies the current group.
    fn ticket(&self) -> String {
        format!("{}:{}", self.name, self.groups)
    }
}

/// Pushes groups of items.
pub(super) struct Pusher {
    link: Link,
    probe: DiskSyncProbe,
    pub keys: Arc<Keys>,
    pub scripts: Arc<Scripts>,
    pub bounds: Bounds,
    durability: Durability,
}

impl Pusher {
    pub(super) fn new(
        link: Link,
        keys: Arc<Keys>,
        scripts: Arc<Scripts>,
        bounds: Bounds,
        durability: Durability,
    ) -> Self {
        Self { link, probe: DiskSyncProbe::default(), keys, scripts, bounds, durability }
    }

    /// Handles calls, each with its pushes, until all senders are dropped; notifies `pushed` after
    /// each group.
    pub(super) async fn run(
        self: Arc<Self>,
        mut pushes: mpsc::Receiver<Call>,
        pushed: Arc<Notify>,
    ) {
        // At the last response. Other processes push as well, so each may exceed the bound by one
        // group.
        let mut depth = 0;
        let mut series = Series::new(&self.keys);
        while let Some(first) = pushes.recv().await {
            let mut group = Vec::new();
            first.join(&mut group);
            take_waiting(&mut pushes, &mut group);
            if group.len() < LARGE_GROUP {
                // Other tasks that are ready to push share this round trip rather than the next.
                tokio::task::yield_now().await;
                take_waiting(&mut pushes, &mut group);
            }
            if let Err(error) = self.push_group(group, &mut depth, &mut series).await {
                series = Series::new(&self.keys);
                // Pushes that arrived in the meantime would wait as long for the same error. They
                // were not sent, so they are not in doubt.
                let error = QueueError::Unavailable(match error {
                    QueueError::InDoubt { reason, .. } | QueueError::Unavailable(reason) => reason,
                    other => other.to_string(),
                });
                let waiting = pushes.len();
                let arrived = std::iter::from_fn(|| pushes.try_recv().ok()).take(waiting);
                let mut unsent = Vec::new();
                arrived.for_each(|call| call.join(&mut unsent));
                send_error(unsent.into_iter(), &error);
            }
            pushed.notify_one();
        }
    }

    /// Pushes a group and sends all results; an error if the server did not execute it.
    async fn push_group(
        &self,
        mut plain: Vec<Push>,
        depth: &mut u64,
        series: &mut Series,
    ) -> Result<(), QueueError> {
        let known: Vec<_> = plain.extract_if(.., |push| push.chosen.is_some()).collect();
        let connection = match self.connection().await {
            Ok(connection) => connection,
            Err(error) => {
                send_error(known.into_iter().chain(plain), &error);
                return Err(error);
            }
        };
        let (plain_result, known_result) =
            tokio::join!(self.add(&connection, &plain, *depth, series), async {
                let items = known.iter().filter_map(|p| Some((p.chosen.as_ref()?, &*p.body)));
                // Those with a later epoch may be refused as well, and are then pushed again.
                let epoch = known.iter().map(|push| push.epoch).min().unwrap_or(0);
                let added = self.add_once(&connection, epoch, items).await;
                added.map(|once| (once.depth, once.results)).map_err(Unanswered::before)
            });
        let depths = [&plain_result, &known_result].into_iter().flatten();
        *depth = depths
            .filter(|(_, results)| !results.is_empty())
            .map(|(d, _)| *d)
            .max()
            .unwrap_or(*depth);
        let synced = self.sync(&connection).await;
        // Items with client-chosen ids are added once, however often they are pushed.
        let in_doubt = Some(series.ticket());
        let plain = send_results(plain, plain_result, &synced, in_doubt.as_deref());
        let known = send_results(known, known_result, &synced, None);
        plain.and(known)
    }

    /// Whether the group with this ticket was added; if not, it never will be.
    pub(super) async fn settle(&self, ticket: &str) -> Result<bool, QueueError> {
        // An invalid ticket belongs to no group.
        let Some((name, number)) = ticket.split_once(':') else { return Ok(false) };
        let connection = self.connection().await?;
        let mut call = self.scripts.settle.key(self.keys.series(name));
        call.arg(number).arg(SERIES_MEMORY_SECONDS);
        let added = connection.script::<bool>(&call).await.map_err(unavailable)?;
        self.sync(&connection).await?;
        Ok(added)
    }

    /// A connection, if the server provides the required durability.
    pub(super) async fn connection(&self) -> Result<Connection<'_>, QueueError> {
        let connection = self.link.connection().await.map_err(unavailable)?;
        if self.durability == Durability::Always {
            self.probe.confirming(&connection).await?;
        }
        Ok(connection)
    }

    /// With durability `always`, waits until the writes are on disk.
    pub(super) async fn sync(&self, connection: &Connection<'_>) -> Result<(), QueueError> {
        match self.durability {
            Durability::Always => self.probe.confirmed(connection).await,
            Durability::Everysec => Ok(()),
        }
    }

    async fn add(
        &self,
        connection: &Connection<'_>,
        items: &[Push],
        depth: u64,
        series: &mut Series,
    ) -> Result<(u64, Vec<PushResult>), Unanswered> {
        let wanted = items.len() as u64;
        let mut depth = depth;
        if wanted > 0 && depth + wanted > self.bounds.depth {
            // The remembered depth may be outdated: consumers make room.
            let length = connection.query(cmd("LLEN").arg(&self.keys.queue)).await;
            depth = length.map_err(Unanswered::before)?;
        }
        let room = self.bounds.depth.saturating_sub(depth).min(wanted);
        let (accepted, refused) = items.split_at(usize::try_from(room).unwrap_or(items.len()));
        if !accepted.is_empty() {
            let added = self.add_group(connection, accepted, series).await?;
            depth = match added {
                Ok(depth) => depth,
                Err(error) => {
                    return Ok((depth, items.iter().map(|_| Err(error.clone())).collect()));
                }
            };
        }
        let results = accepted.iter().map(|_| Ok(Added::Queued));
        let full = refused.iter().map(|_| Err(self.bounds.full(depth)));
        Ok((depth, results.chain(full).collect()))
    }

    /// Adds a group that fits; returns the depth, or the reason why nothing was added.
    async fn add_group(
        &self,
        connection: &Connection<'_>,
        items: &[Push],
        series: &mut Series,
    ) -> Result<Result<u64, QueueError>, Unanswered> {
        series.groups += 1;
        let mut call = self.scripts.push.key(&self.keys.queue);
        call.key(self.keys.series(&series.name)).key(&self.keys.failed);
        call.arg(series.groups).arg(SERIES_MEMORY_SECONDS).arg(self.bounds.failed);
        for item in items {
            call.arg(&item.body);
        }
        let added = connection.script::<(i64, u64)>(&call).await;
        match added
            .map_err(|failure| Unanswered { reason: failure.to_string(), sent: items.len() })?
        {
            (FAILED_FULL, failed) => Ok(Err(self.bounds.failed_full(failed))),
            (depth, _) => u64::try_from(depth).map(Ok).map_err(|_| {
                let series = self.keys.series(&series.name);
                Unanswered::before(format!("the push series {series} has been closed"))
            }),
        }
    }
}

/// The result of a push.
pub(super) async fn result(response: oneshot::Receiver<PushResult>) -> PushResult {
    response.await.unwrap_or_else(|_| Err(unavailable("the push task has stopped")))
}

fn take_waiting(pushes: &mut mpsc::Receiver<Call>, group: &mut Vec<Push>) {
    while group.len() < MAX_GROUP
        && let Ok(next) = pushes.try_recv()
    {
        next.join(group);
    }
}

/// The results of pushes, in order.
pub(super) async fn results(responses: Vec<oneshot::Receiver<PushResult>>) -> Vec<PushResult> {
    let mut results = Vec::with_capacity(responses.len());
    for response in responses {
        results.push(result(response).await);
    }
    results
}

/// Sends each push of a group its result. With a ticket, pushes that were sent but have no response
/// are in doubt.
fn send_results(
    group: Vec<Push>,
    result: Result<(u64, Vec<PushResult>), Unanswered>,
    synced: &Result<(), QueueError>,
    ticket: Option<&str>,
) -> Result<(), QueueError> {
    let (error, sent) = match (result, synced) {
        (Ok((_, results)), Ok(())) => {
            for (push, result) in group.into_iter().zip(results) {
                // Fails if the caller was cancelled.
                let _ = push.reply.send(result);
            }
            return Ok(());
        }
        (Ok((_, results)), Err(error)) => {
            (error.clone(), results.iter().filter(|result| result.is_ok()).count())
        }
        (Err(Unanswered { reason, sent }), _) => (QueueError::Unavailable(reason), sent),
    };
    let mut group = group.into_iter();
    if let (QueueError::Unavailable(reason), Some(ticket)) = (&error, ticket) {
        let (reason, ticket) = (reason.clone(), ticket.to_owned());
        send_error(group.by_ref().take(sent), &QueueError::InDoubt { reason, ticket });
    }
    send_error(group, &error);
    Err(error)
}

fn send_error(group: impl Iterator<Item = Push>, error: &QueueError) {
    for push in group {
        let _ = push.reply.send(Err(error.clone()));
    }
}
