//! One list with its keys. A queue has one or several; see `shards`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::claims::{Claims, text};
use super::keys::Keys;
use super::list_items::Removed;
use super::once::PushResult;
use super::push::{self, Call, Push, Pusher};
use super::scripts::Scripts;
use super::{RedisQueueOptions, failed_record, lease_millis, list_items, unavailable};
use crate::redis::connection::{Link, RedisFailure, RedisServer};
use bklit_pipeline::queue::{
    Claim, ClaimId, FailedItem, NewItem, Order, Page, QueueError, Rejected, WaitingItem, changes,
    edit,
};
use bklit_wire::event::QueuedEvent;
use bklit_wire::queue::{Edit, Edited, InvalidEdit};
use bklit_wire::time::UtcMillis;

/// A list with its keys.
pub(super) struct Shard {
    pushes: mpsc::Sender<Call>,
    pusher: Arc<Pusher>,
    pushed: Arc<Notify>,
    claims: Arc<Claims>,
    pub link: Link,
    pub keys: Arc<Keys>,
    pub scripts: Arc<Scripts>,
    /// Batches in flight when they were last counted.
    pub counted: Mutex<Vec<String>>,
}

impl Shard {
    /// Connects when it is first used. Its push task cancels `ended` if it ends before the shard is
    /// dropped, and notifies `pushed` of what may be claimed.
    pub(super) fn new(
        server: &RedisServer,
        options: &RedisQueueOptions,
        keys: Arc<Keys>,
        scripts: Arc<Scripts>,
        pushed: Arc<Notify>,
        ended: CancellationToken,
    ) -> Self {
        let server = server.clone().for_key(&keys.queue);
        let bounds = options.bounds();
        let (pushes, receiver) = mpsc::channel(push::MAX_WAITING);
        let link = Link::new(server.clone());
        let (of_pusher, known) = (Arc::clone(&keys), Arc::clone(&scripts));
        let pusher = Pusher::new(link, of_pusher, known, bounds, options.durability);
        let pusher = Arc::new(pusher);
        // Ends once the sender is dropped and all pushes have a result.
        let push = Arc::clone(&pusher).run(receiver, Arc::clone(&pushed));
        let ends = ended.drop_guard();
        tokio::spawn(async move {
            let _ends = ends;
            push.await;
        });
        let (of_claims, known) = (Arc::clone(&keys), Arc::clone(&scripts));
        let claims = Claims::new(server.clone(), of_claims, known, options.durable_claims);
        Self {
            pushes,
            pusher,
            pushed,
            claims: Arc::new(claims),
            link: Link::new(server),
            keys,
            scripts,
            counted: Mutex::default(),
        }
    }

    /// Adds an item, for a caller with a layout of this epoch.
    pub(super) async fn push(&self, epoch: u64, item: &NewItem) -> PushResult {
        let (push, response) = Push::new(&self.keys, item, epoch);
        let _ = self.pushes.send(Call::One(push)).await;
        push::result(response).await
    }

    /// Adds items in order, with one write where possible.
    pub(super) async fn push_many<'a>(
        &self,
        epoch: u64,
        items: impl Iterator<Item = &'a NewItem>,
    ) -> Vec<PushResult> {
        let (pushes, responses): (Vec<_>, Vec<_>) =
            items.map(|item| Push::new(&self.keys, item, epoch)).unzip();
        // If the task has ended, the replies are dropped, and each response says so.
        let _ = self.pushes.send(Call::Many(pushes)).await;
        push::results(responses).await
    }

    /// Adds events in order as if their clients had chosen their ids, atomically.
    pub(super) async fn push_in_order<'a>(
        &self,
        epoch: u64,
        events: impl Iterator<Item = &'a QueuedEvent>,
    ) -> Result<Vec<PushResult>, QueueError> {
        let item = |event: &QueuedEvent| (self.keys.remembered(event), event.to_json());
        let items: Vec<_> = events.map(item).collect();
        let results = self.pusher.push_in_order(epoch, &items).await;
        self.pushed.notify_one();
        results
    }

    /// Looks up the ids of events that were pushed here in an earlier epoch, and refuses others of
    /// earlier epochs from now on. Also returns since when it has done so.
    pub(super) async fn look_up<'a>(
        &self,
        epoch: u64,
        events: impl Iterator<Item = &'a QueuedEvent>,
    ) -> Result<(Vec<PushResult>, Duration), QueueError> {
        let ids: Vec<_> = events.map(|event| self.keys.remembered(event)).collect();
        self.pusher.look_up(epoch, &ids).await
    }

    pub(super) async fn settle(&self, ticket: &str) -> Result<bool, QueueError> {
        self.pusher.settle(ticket).await
    }

    pub(super) async fn claim(
        &self,
        most: usize,
        lease: Duration,
    ) -> Result<Option<Claim>, QueueError> {
        let (claims, (reply, response)) = (Arc::clone(&self.claims), oneshot::channel());
        // In a separate task: if the caller is cancelled, the batch must be released.
        tokio::spawn(async move {
            if let Err(Ok(Some(claim))) = reply.send(claims.claim(most, lease).await) {
                claims.release(&claim.id).await;
            }
        });
        response.await.map_err(|_| unavailable("the claim task has stopped"))?
    }

    pub(super) async fn renew(&self, claim: &ClaimId, lease: Duration) -> Result<(), QueueError> {
        held(claim, self.try_renew(claim, lease).await)
    }

    async fn try_renew(&self, claim: &ClaimId, lease: Duration) -> Result<bool, RedisFailure> {
        let connection = self.link.connection().await?;
        let mut call = self.scripts.renew.key(&self.keys.inflight);
        call.key(self.keys.meta(&claim.batch));
        call.arg(&claim.batch).arg(claim.epoch).arg(lease_millis(lease));
        connection.script(&call).await
    }

    pub(super) async fn acknowledge(
        &self,
        claim: &ClaimId,
        rejected: &[Rejected],
    ) -> Result<(), QueueError> {
        held(claim, self.try_acknowledge(claim, rejected).await)
    }

    async fn try_acknowledge(
        &self,
        claim: &ClaimId,
        rejected: &[Rejected],
    ) -> Result<bool, RedisFailure> {
        let connection = self.link.connection().await?;
        let keys = &self.keys;
        let mut call = self.scripts.acknowledge.key(&keys.inflight);
        call.key(keys.batch(&claim.batch)).key(keys.meta(&claim.batch)).key(&keys.failed);
        call.arg(&claim.batch).arg(claim.epoch);
        let now = UtcMillis::now();
        for item in rejected {
            // The oldest item is the last of the list.
            call.arg(-1 - item.seq).arg(failed_record::start(claim, item, now));
        }
        connection.script(&call).await
    }

    pub(super) async fn waiting(
        &self,
        order: Order,
        after: Option<&str>,
        most: usize,
    ) -> Result<Page<WaitingItem>, QueueError> {
        let connection = self.link.connection().await.map_err(unavailable)?;
        let read = |id, member| WaitingItem { id, body: text(member) };
        let page = list_items::page(&connection, &self.keys.queue, order, after, most, read).await;
        page.map_err(unavailable)
    }

    pub(super) async fn failed(
        &self,
        after: Option<&str>,
        most: usize,
    ) -> Result<Page<FailedItem>, QueueError> {
        let connection = self.link.connection().await.map_err(unavailable)?;
        let (list, order) = (&self.keys.failed, Order::NewestFirst);
        let page =
            list_items::page(&connection, list, order, after, most, failed_record::read).await;
        page.map_err(unavailable)
    }

    pub(super) async fn delete_waiting(&self, ids: &[String]) -> Result<u64, QueueError> {
        self.remove(&self.keys.queue, false, ids).await
    }

    pub(super) async fn retry_failed(&self, ids: &[String]) -> Result<u64, QueueError> {
        let moved = self.remove(&self.keys.failed, true, ids).await;
        self.pushed.notify_one();
        moved
    }

    pub(super) async fn retry_edited(&self, edits: &[Edit]) -> Result<Edited, QueueError> {
        let edited = self.try_retry_edited(edits).await;
        self.pushed.notify_one();
        edited
    }

    async fn try_retry_edited(&self, edits: &[Edit]) -> Result<Edited, QueueError> {
        let connection = self.link.connection().await.map_err(unavailable)?;
        let list = &self.keys.failed;
        let ids: Vec<_> = edits.iter().map(|edit| edit.id.as_str()).collect();
        let found = list_items::find(&connection, list, &ids).await.map_err(unavailable)?;
        let (mut valid, mut invalid) = (Vec::new(), Vec::new());
        for Edit { id, body } in edits {
            let Some((_, member)) = found.get(id.as_str()) else { continue };
            // The item may move until it is removed, but an id belongs to its content.
            let original = failed_record::read(id.clone(), member.clone());
            match edit::check(&original.body, body) {
                Ok(()) => valid.push(Removed { id, edited: Some(body) }),
                Err(error) => invalid.push(InvalidEdit { id: id.clone(), error }),
            }
        }
        let queue = Some(self.keys.queue.as_str());
        let (changed, result) =
            list_items::remove(&connection, &self.scripts, list, queue, &valid).await;
        let rest = result.map(|()| Edited::default()).map_err(unavailable);
        changes::total([Ok(Edited { changed, invalid }), rest])
    }

    pub(super) async fn delete_failed(&self, ids: &[String]) -> Result<u64, QueueError> {
        self.remove(&self.keys.failed, false, ids).await
    }

    async fn remove(&self, list: &str, retry: bool, ids: &[String]) -> Result<u64, QueueError> {
        let connection = self.link.connection().await.map_err(unavailable)?;
        let target = retry.then_some(self.keys.queue.as_str());
        let items = Removed::all(ids);
        let (removed, result) =
            list_items::remove(&connection, &self.scripts, list, target, &items).await;
        changes::total_count([Ok(removed), result.map(|()| 0).map_err(unavailable)])
    }
}

fn held(claim: &ClaimId, held: Result<bool, RedisFailure>) -> Result<(), QueueError> {
    match held {
        Ok(true) => Ok(()),
        Ok(false) => Err(QueueError::Stale(claim.clone())),
        Err(failure) => Err(unavailable(failure)),
    }
}
