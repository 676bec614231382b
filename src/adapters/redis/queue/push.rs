//! Pushing: whatever callers bring while one round trip is on its way makes up the next one.
//!
//! A group whose answer does not come may have been added, or may be added later, when a server
//! that hung goes on. So each group is a number in a series, and the server remembers the last
//! number that it added, in one step with adding it. After a failure a new series begins: the one
//! before stays as it is, until somebody settles it, which also closes it for what comes late.

use std::sync::Arc;

use redis::cmd;
use tokio::sync::{Notify, mpsc, oneshot};

use super::disk_sync::{self, DiskSync, DiskSyncProbe};
use super::keys::Keys;
use super::scripts::Scripts;
use super::{Durability, unavailable};
use crate::redis::connection::{Connection, Link, RedisFailure};
use bklit_pipeline::queue::{Bounds, Pushed, QueueError};

/// Pushes that may wait; more wait for a place.
pub(super) const MAX_WAITING: usize = 16_384;
/// Pushes that share a round trip at most.
const MAX_GROUP: usize = 1_024;
/// How long a client's retry with the same event id is recognised.
const CLIENT_ID_MEMORY_SECONDS: u64 = 24 * 60 * 60;
/// How long what became of a group in doubt can be told: as long as a spool may have to wait.
const SERIES_MEMORY_SECONDS: u64 = 7 * 24 * 60 * 60;

/// What the scripts answer where too many items have failed.
const FAILED_FULL: i64 = -2;

type Answer = Result<Pushed, QueueError>;

/// An item to push, and whom to tell.
pub(super) struct Push {
    pub body: String,
    /// The key that remembers its id, if its client chose that.
    pub seen: Option<String>,
    pub reply: oneshot::Sender<Answer>,
}

/// A group that got no answer.
struct Unanswered {
    reason: String,
    /// How many of its first items had been sent.
    sent: usize,
}

/// Groups of items that the server adds one after the other.
struct Series {
    name: String,
    groups: u64,
}

impl Unanswered {
    /// Nothing was sent, or nothing of what was.
    fn before(failure: impl std::fmt::Display) -> Self {
        Self { reason: failure.to_string(), sent: 0 }
    }
}

impl Series {
    fn new() -> Self {
        Self { name: uuid::Uuid::new_v4().simple().to_string(), groups: 0 }
    }

    /// Names the group that is to be pushed, or was pushed last.
    fn ticket(&self) -> String {
        format!("{}:{}", self.name, self.groups)
    }
}

/// Pushes groups of items.
pub(super) struct Pusher {
    link: Link,
    probe: DiskSyncProbe,
    keys: Arc<Keys>,
    scripts: Arc<Scripts>,
    bounds: Bounds,
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

    /// Serves pushes until all senders are gone, telling `pushed` of each group.
    pub(super) async fn run(
        self: Arc<Self>,
        mut pushes: mpsc::Receiver<Push>,
        pushed: Arc<Notify>,
    ) {
        let mut group = Vec::with_capacity(MAX_GROUP);
        // As of the last answer. Others push as well, so the bound may be passed by a group each.
        let mut depth = 0;
        let mut series = Series::new();
        while pushes.recv_many(&mut group, MAX_GROUP).await > 0 {
            if let Err(error) = self.push_group(&mut group, &mut depth, &mut series).await {
                series = Series::new();
                // Those that came meanwhile would have to wait as long for the same; they were
                // not sent, so of them there is no doubt.
                let error = QueueError::Unavailable(match error {
                    QueueError::InDoubt { reason, .. } | QueueError::Unavailable(reason) => reason,
                    other => other.to_string(),
                });
                let waiting = pushes.len();
                let came_meanwhile = std::iter::from_fn(|| pushes.try_recv().ok()).take(waiting);
                answer_all(came_meanwhile, &error);
            }
            pushed.notify_one();
        }
    }

    /// Answers all of them; an error when the server did not do as asked.
    async fn push_group(
        &self,
        group: &mut Vec<Push>,
        depth: &mut u64,
        series: &mut Series,
    ) -> Result<(), QueueError> {
        let (known, plain): (Vec<_>, Vec<_>) = group.drain(..).partition(|p| p.seen.is_some());
        let connection = match self.connection().await {
            Ok(connection) => connection,
            Err(error) => {
                answer_all(known.into_iter().chain(plain), &error);
                return Err(error);
            }
        };
        let (plain_result, known_result) =
            tokio::join!(self.add(&connection, &plain, *depth, series), async {
                let seen = known.iter().map(|p| (p.seen.as_deref().unwrap_or_default(), &*p.body));
                let added = self.add_once(&connection, seen).await;
                added.map_err(Unanswered::before)
            });
        let depths = [&plain_result, &known_result].into_iter().flatten();
        *depth = depths
            .filter(|(_, answers)| !answers.is_empty())
            .map(|(d, _)| *d)
            .max()
            .unwrap_or(*depth);
        let synced = self.sync(&connection).await;
        // What was chosen by clients is added once however often it is pushed.
        let in_doubt = Some(series.ticket());
        let plain = answer(plain, plain_result, &synced, in_doubt.as_deref());
        let known = answer(known, known_result, &synced, None);
        plain.and(known)
    }

    /// Adds items one after the other, each once, in one step; all or none unless it gets full.
    pub(super) async fn push_in_order(
        &self,
        items: &[(String, String)],
    ) -> Result<Vec<Answer>, QueueError> {
        let connection = self.connection().await?;
        let items = items.iter().map(|(seen, body)| (seen.as_str(), body.as_str()));
        let (_, answers) = self.add_once(&connection, items).await.map_err(unavailable)?;
        self.sync(&connection).await?;
        Ok(answers)
    }

    /// Whether the group with this ticket was added; if not, it never will be.
    pub(super) async fn settle(&self, ticket: &str) -> Result<bool, QueueError> {
        // One that is none is of no group.
        let Some((name, number)) = ticket.split_once(':') else { return Ok(false) };
        let connection = self.connection().await?;
        let mut call = self.scripts.settle.key(self.keys.series(name));
        call.arg(number).arg(SERIES_MEMORY_SECONDS);
        let added = connection.script::<bool>(&call).await.map_err(unavailable)?;
        self.sync(&connection).await?;
        Ok(added)
    }

    /// A connection to a server that can keep the promise.
    async fn connection(&self) -> Result<Connection<'_>, QueueError> {
        let connection = self.link.connection().await.map_err(unavailable)?;
        if self.durability == Durability::Always {
            let disk = self.probe.disk(&connection).await.map_err(unavailable)?;
            if matches!(disk, DiskSync::Unknown | DiskSync::Off) {
                return Err(QueueError::Unavailable(
                    "durability `always` needs a server with `appendonly yes` that has WAITAOF \
                     (Redis 7.2, Valkey) or is set to `appendfsync always`"
                        .to_owned(),
                ));
            }
        }
        Ok(connection)
    }

    /// With durability `always`: waits until what was added is on disk.
    async fn sync(&self, connection: &Connection<'_>) -> Result<(), QueueError> {
        if self.durability != Durability::Always {
            return Ok(());
        }
        let waits = self.probe.disk(connection).await.map_err(unavailable)? == DiskSync::Waits;
        if waits { disk_sync::wait(connection).await.map_err(unavailable) } else { Ok(()) }
    }

    async fn add(
        &self,
        connection: &Connection<'_>,
        items: &[Push],
        depth: u64,
        series: &mut Series,
    ) -> Result<(u64, Vec<Answer>), Unanswered> {
        let wanted = items.len() as u64;
        let mut depth = depth;
        if wanted > 0 && depth + wanted > self.bounds.depth {
            // What is remembered may be old: consumers make room.
            let asked = connection.query(cmd("LLEN").arg(&self.keys.queue)).await;
            depth = asked.map_err(Unanswered::before)?;
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
        let answers = accepted.iter().map(|_| Ok(Pushed::Queued));
        let full = refused.iter().map(|_| Err(self.bounds.full(depth)));
        Ok((depth, answers.chain(full).collect()))
    }

    /// Adds a group for which there is room; returns the depth, or why nothing was added.
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
        let answer = connection.script::<(i64, u64)>(&call).await;
        match answer
            .map_err(|failure| Unanswered { reason: failure.to_string(), sent: items.len() })?
        {
            (FAILED_FULL, failed) => Ok(Err(self.bounds.failed_full(failed))),
            (depth, _) => u64::try_from(depth).map(Ok).map_err(|_| {
                let series = self.keys.series(&series.name);
                Unanswered::before(format!("the series of pushes {series} was closed"))
            }),
        }
    }

    async fn add_once<'a>(
        &self,
        connection: &Connection<'_>,
        items: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<(u64, Vec<Answer>), RedisFailure> {
        let mut call = self.scripts.push_once.key(&self.keys.queue);
        call.key(&self.keys.failed);
        call.arg(self.bounds.depth).arg(self.bounds.failed).arg(CLIENT_ID_MEMORY_SECONDS);
        let mut any = false;
        for (seen, body) in items {
            call.key(seen).arg(body);
            any = true;
        }
        if !any {
            return Ok((0, Vec::new()));
        }
        let mut answers = connection.script::<Vec<i64>>(&call).await?.into_iter();
        let mut figure = || answers.next().and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
        let (depth, failed) = (figure(), figure());
        let answers = answers.map(|answer| match answer {
            1 => Ok(Pushed::Queued),
            0 => Ok(Pushed::Duplicate),
            FAILED_FULL => Err(self.bounds.failed_full(failed)),
            _ => Err(self.bounds.full(depth)),
        });
        Ok((depth, answers.collect()))
    }
}

/// Tells each push of a group what became of it. With a ticket, those that were sent and have no
/// answer are in doubt.
fn answer(
    group: Vec<Push>,
    result: Result<(u64, Vec<Answer>), Unanswered>,
    synced: &Result<(), QueueError>,
    ticket: Option<&str>,
) -> Result<(), QueueError> {
    let (error, sent) = match (result, synced) {
        (Ok((_, answers)), Ok(())) => {
            for (push, answer) in group.into_iter().zip(answers) {
                // Nobody waits any more when the caller was cancelled.
                let _ = push.reply.send(answer);
            }
            return Ok(());
        }
        (Ok((_, answers)), Err(error)) => {
            (error.clone(), answers.iter().filter(|answer| answer.is_ok()).count())
        }
        (Err(Unanswered { reason, sent }), _) => (QueueError::Unavailable(reason), sent),
    };
    let mut group = group.into_iter();
    if let (QueueError::Unavailable(reason), Some(ticket)) = (&error, ticket) {
        let (reason, ticket) = (reason.clone(), ticket.to_owned());
        answer_all(group.by_ref().take(sent), &QueueError::InDoubt { reason, ticket });
    }
    answer_all(group, &error);
    Err(error)
}

fn answer_all(group: impl Iterator<Item = Push>, error: &QueueError) {
    for push in group {
        let _ = push.reply.send(Err(error.clone()));
    }
}
