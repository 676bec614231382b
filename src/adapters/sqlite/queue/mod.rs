//! The embedded queue: a SQLite file, written by one thread with group commit.
//!
//! Every call is a command to that thread. It takes all waiting commands, executes them in one
//! transaction and replies after the commit, so concurrent pushes share one fsync. A claimed batch
//! is a range of sequence numbers with a lease by the system clock; the file names the process that
//! holds it. One pipeline owns the data dir, but commands may change the file at the same time: the
//! writer picks up their changes.
//!
//! | file | contents |
//! | --- | --- |
//! | `writer.rs` | the thread: commands, transactions, replies |
//! | `tables.rs` | the schema; push, claim, renew, acknowledge |
//! | `client_ids.rs` | event ids that clients chose |
//! | `state.rs` | counts and batches cached in memory, shared through the file |
//! | `repair.rs` | reading, deleting and retrying events |
//! | `edits.rs` | checking edited events |
//! | `damaged.rs` | rows that cannot be read |

mod client_ids;
mod damaged;
mod edits;
mod repair;
mod state;
mod tables;
mod writer;

use std::path::Path;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot, watch};

use crate::sqlite::file;
use bklit_pipeline::queue::{
    Bounds, Claim, ClaimId, ClientId, FailedItem, NewItem, Order, Page, Pushed, Queue, QueueError,
    QueueStats, Rejected, WaitingItem,
};
use bklit_wire::queue::{BatchInFlight, Edit, Edited};
use client_ids::Chosen;
use tables::Tables;
use writer::{Command, NewRow, Writer};

/// Commands that may wait for the writer; further callers wait for a place.
const MAX_WAITING_COMMANDS: usize = 16_384;
/// How often to check for changes of other processes while waiting for events.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// The embedded [`Queue`].
pub struct SqliteQueue {
    commands: Option<mpsc::Sender<Command>>,
    view: watch::Receiver<View>,
    writer: Option<std::thread::JoinHandle<()>>,
}

/// What the writer publishes after each transaction.
#[derive(Clone, Debug)]
struct View {
    stats: QueueStats,
    /// Limits of the queue.
    bounds: Bounds,
    /// Why the last transaction failed, if it did.
    failure: Option<String>,
    /// When the first lease ends; in the past if a batch is not held.
    next_lease_end: Option<Instant>,
}

impl SqliteQueue {
    /// Opens or creates the queue in the file `path`, limited by `bounds`; a number alone limits
    /// the waiting events.
    ///
    /// # Errors
    /// If the file cannot be used, or if its version is newer than this program.
    pub fn open(path: &Path, bounds: impl Into<Bounds>) -> Result<Self, QueueError> {
        Self::start(Tables::open(path, bounds.into()).map_err(unavailable)?)
    }

    fn start(tables: Tables) -> Result<Self, QueueError> {
        Self::start_with(tables, Writer::run)
    }

    fn start_with(
        tables: Tables,
        run: impl FnOnce(Writer) + Send + 'static,
    ) -> Result<Self, QueueError> {
        let (commands, receiver) = mpsc::channel(MAX_WAITING_COMMANDS);
        let (writer, view) = Writer::new(tables, receiver);
        let thread = std::thread::Builder::new()
            .name("queue-writer".to_owned())
            .spawn(move || run(writer))
            .map_err(unavailable)?;
        Ok(Self { commands: Some(commands), view, writer: Some(thread) })
    }

    async fn call<T: Send>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, QueueError>>) -> Command + Send,
    ) -> Result<T, QueueError> {
        let ended = || QueueError::Unavailable("the writer thread has stopped".to_owned());
        let (reply, response) = oneshot::channel();
        let commands = self.commands.as_ref().ok_or_else(ended)?;
        commands.send(command(reply)).await.map_err(|_| ended())?;
        response.await.map_err(|_| ended())?
    }
}

impl Drop for SqliteQueue {
    fn drop(&mut self) {
        // Without senders the writer finishes its commands and closes the file.
        self.commands = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn unavailable(error: impl std::fmt::Display) -> QueueError {
    QueueError::Unavailable(error.to_string())
}

/// Counts the waiting and claimed events in the file `path`, and the failed ones, also while
/// another process writes it.
///
/// # Errors
/// If the file cannot be read.
pub fn count(path: &Path) -> rusqlite::Result<(u64, u64)> {
    let connection = file::open_read_only(path)?;
    let counts = "SELECT (SELECT count(*) FROM queue_item), (SELECT count(*) FROM failed_item)";
    connection.query_row(counts, (), |row| Ok((row.get(0)?, row.get(1)?)))
}

#[async_trait]
impl Queue for SqliteQueue {
    async fn push(&self, item: NewItem) -> Result<Pushed, QueueError> {
        let item = new_row(&item);
        self.call(|reply| Command::Push { item, reply }).await
    }

    async fn push_many(&self, items: Vec<NewItem>) -> Vec<Result<Pushed, QueueError>> {
        let count = items.len();
        let items = items.iter().map(new_row).collect();
        match self.call(|reply| Command::PushMany { items, reply }).await {
            Ok(results) => results,
            Err(error) => vec![Err(error); count],
        }
    }

    async fn claim(&self, most: usize, lease: Duration) -> Result<Option<Claim>, QueueError> {
        self.call(|reply| Command::Claim { most: most.max(1), lease, reply }).await
    }

    async fn renew(&self, claim: &ClaimId, lease: Duration) -> Result<(), QueueError> {
        let claim = claim.clone();
        self.call(|reply| Command::Renew { claim, lease, reply }).await
    }

    async fn release(&self, claim: &ClaimId) -> Result<(), QueueError> {
        // A batch whose lease has ended can be claimed by anyone.
        self.renew(claim, Duration::ZERO).await
    }

    async fn acknowledge(&self, claim: &ClaimId, rejected: &[Rejected]) -> Result<(), QueueError> {
        let (claim, rejected) = (claim.clone(), rejected.to_vec());
        self.call(|reply| Command::Acknowledge { claim, rejected, reply }).await
    }

    async fn ready(&self) {
        let mut view = self.view.clone();
        loop {
            let next_lease_end = {
                let view = view.borrow_and_update();
                if view.stats.depth > 0 {
                    return;
                }
                view.next_lease_end
            };
            let lease_ends = async {
                match next_lease_end {
                    Some(end) => tokio::time::sleep_until(end.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = lease_ends => return,
                () = tokio::time::sleep(POLL_INTERVAL) => {
                    if self.call(|reply| Command::Refresh { reply }).await.is_err() {
                        // The next claim reports the error.
                        return;
                    }
                }
                changed = view.changed() => if changed.is_err() {
                    // The writer has stopped; the next claim reports it.
                    return;
                },
            }
        }
    }

    async fn ended(&self) {
        let mut view = self.view.clone();
        // The writer thread holds the sender.
        while view.changed().await.is_ok() {}
    }

    async fn stats(&self) -> Result<QueueStats, QueueError> {
        if self.commands.as_ref().is_none_or(mpsc::Sender::is_closed) {
            return Err(QueueError::Unavailable("the writer thread has stopped".to_owned()));
        }
        let view = self.view.borrow();
        match &view.failure {
            None => Ok(view.stats),
            Some(reason) => Err(unavailable(reason)),
        }
    }

    async fn accepts(&self) -> Result<(), QueueError> {
        if self.stats().await.is_err() {
            // The last transaction failed. Only a write shows whether the next one would, and while
            // no events are accepted nothing else writes.
            self.call(|reply| Command::Probe { reply }).await?;
        }
        let view = self.view.borrow();
        view.bounds.check(view.stats)
    }

    async fn batches(&self, most: usize) -> Result<Vec<BatchInFlight>, QueueError> {
        self.call(|reply| Command::Batches { most, reply }).await
    }

    async fn batch_items(
        &self,
        batch: &str,
        most: usize,
    ) -> Result<Option<Vec<String>>, QueueError> {
        let batch = batch.to_owned();
        self.call(|reply| Command::BatchItems { batch, most, reply }).await
    }

    async fn waiting(
        &self,
        order: Order,
        after: Option<&str>,
        most: usize,
    ) -> Result<Page<WaitingItem>, QueueError> {
        let after = after.and_then(|seq| seq.parse().ok());
        self.call(|reply| Command::Waiting { order, after, most, reply }).await
    }

    async fn delete_waiting(&self, ids: &[String]) -> Result<u64, QueueError> {
        let ids = numbers(ids);
        self.call(|reply| Command::DeleteWaiting { ids, reply }).await
    }

    async fn failed(
        &self,
        after: Option<&str>,
        most: usize,
    ) -> Result<Page<FailedItem>, QueueError> {
        let after = after.and_then(|id| id.parse().ok());
        self.call(|reply| Command::Failed { after, most, reply }).await
    }

    async fn retry_failed(&self, ids: &[String]) -> Result<u64, QueueError> {
        let ids = numbers(ids);
        self.call(|reply| Command::RetryFailed { ids, reply }).await
    }

    async fn retry_edited(&self, edits: &[Edit]) -> Result<Edited, QueueError> {
        self.retry_in_parts(edits).await
    }

    async fn delete_failed(&self, ids: &[String]) -> Result<u64, QueueError> {
        let ids = numbers(ids);
        self.call(|reply| Command::DeleteFailed { ids, reply }).await
    }
}

fn new_row(item: &NewItem) -> NewRow {
    let event = &item.event;
    let chosen = item.client_id.then(|| Chosen {
        id: ClientId::of(event),
        project: event.project_id.clone(),
        event: event.id.clone(),
    });
    NewRow { body: event.to_json(), chosen }
}

/// Ids that are not numbers do not exist here.
fn numbers(ids: &[String]) -> Vec<i64> {
    ids.iter().filter_map(|id| id.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bklit_wire::event::{PageView, Payload, QueuedEvent};
    use bklit_wire::time::UtcMillis;

    pub(super) fn item(n: usize) -> NewItem {
        let view = PageView { url: "x".repeat(1000), ..PageView::default() };
        let event = QueuedEvent {
            id: format!("evt_{n}"),
            payload: Payload::Pageview(Box::new(view)),
            queued_at: UtcMillis::now(),
            project_id: "p".into(),
            push_ticket: None,
        };
        NewItem { event: event.into(), client_id: true }
    }

    #[tokio::test]
    async fn a_full_disk_refuses_and_keeps_what_was_accepted() {
        let dir = tempfile::tempdir().unwrap();
        let tables = Tables::open(&dir.path().join("queue.db"), 10_000.into()).unwrap();
        tables.limit_pages(100);
        let queue = SqliteQueue::start(tables).unwrap();
        let mut accepted = 0;
        while queue.push(item(accepted)).await.is_ok() {
            accepted += 1;
        }
        assert!(accepted > 10, "{accepted}");
        let refused = queue.push(item(accepted)).await.unwrap_err().to_string();
        assert!(refused.contains("full"), "{refused}");
        assert!(queue.stats().await.is_err(), "the counts are unavailable");
        // Concurrent pushes all fail.
        let (a, b) = tokio::join!(queue.push(item(accepted)), queue.push(item(accepted + 1)));
        assert!(a.is_err() && b.is_err());
        let together = queue.push_many((accepted..accepted + 9).map(item).collect()).await;
        assert!(together.len() == 9 && together.iter().all(Result::is_err), "{together:?}");
        assert!(matches!(queue.accepts().await, Err(QueueError::Unavailable(_))));
        // Storing makes room; the refused event was not remembered as accepted.
        let claim = queue.claim(accepted, Duration::from_secs(60)).await.unwrap().unwrap();
        assert_eq!(claim.items.len(), accepted);
        queue.acknowledge(&claim.id, &[]).await.unwrap();
        assert_eq!(queue.push(item(accepted)).await.unwrap(), Pushed::Queued);
        let stats = QueueStats { depth: 1, ..QueueStats::default() };
        assert_eq!(queue.stats().await.unwrap(), stats);
    }

    #[tokio::test]
    async fn free_disk_space_is_noticed_without_an_event() {
        let dir = tempfile::tempdir().unwrap();
        let tables = Tables::open(&dir.path().join("queue.db"), 2.into()).unwrap();
        let queue = SqliteQueue::start(tables).unwrap();
        queue.accepts().await.unwrap();
        for n in 0..2 {
            queue.push(item(n)).await.unwrap();
        }
        assert!(matches!(queue.accepts().await, Err(QueueError::Full { depth: 2, bound: 2 })));
        let claim = queue.claim(1, Duration::from_secs(60)).await.unwrap().unwrap();
        queue.acknowledge(&claim.id, &[]).await.unwrap();
        queue.accepts().await.unwrap();

        // A lock of another connection simulates a disk that rejects writes.
        let other = rusqlite::Connection::open(dir.path().join("queue.db")).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert!(queue.push(item(3)).await.is_err());
        let accepts = queue.accepts().await;
        assert!(matches!(accepts, Err(QueueError::Unavailable(_))), "{accepts:?}");
        other.execute_batch("ROLLBACK").unwrap();
        queue.accepts().await.unwrap();
        let stats = QueueStats { depth: 1, ..QueueStats::default() };
        assert_eq!(queue.stats().await.unwrap(), stats, "nothing was added");
    }

    #[tokio::test]
    async fn a_writer_that_crashes_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let tables = Tables::open(&dir.path().join("queue.db"), 10.into()).unwrap();
        let (crash, crashes) = std::sync::mpsc::channel::<()>();
        let queue = SqliteQueue::start_with(tables, move |writer| {
            crashes.recv().unwrap();
            panic!("intended, with a writer of {} bytes", std::mem::size_of_val(&writer));
        });
        let queue = queue.unwrap();
        let ended = queue.ended();
        tokio::pin!(ended);
        let soon = Duration::from_millis(50);
        assert!(tokio::time::timeout(soon, &mut ended).await.is_err(), "it is still running");
        crash.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap();
        assert!(matches!(queue.push(item(0)).await, Err(QueueError::Unavailable(_))));
        assert!(matches!(queue.accepts().await, Err(QueueError::Unavailable(_))));
    }
}
