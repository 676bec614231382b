//! A model check with many schedules of Shuttle: events are pushed while the queue fails and recovers.
//!
//! Tasks switch before and after each operation on the queue and its spool, and so between the steps
//! of `SpooledQueue`.

mod lanes;
mod partly;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard};

use shuttle::future::{block_on, spawn, yield_now};
use shuttle::rand::Rng as _;

use super::super::ClaimedItem;
use super::*;
use bklit_wire::event::{Payload, QueuedEvent, SessionEnd};
use bklit_wire::queue::InvalidEdit;
use bklit_wire::time::UtcMillis;

/// The number of schedules tried.
const SCHEDULES: usize = 2_000;
/// The stack of a task; Shuttle's default is too small for unoptimised futures.
const STACK: usize = 512 * 1024;
/// The most operations of the queue that fail in one schedule.
const FAULTS: u32 = 4;

/// A queue whose operations fail in every way that the port allows, or a spool without faults.
#[derive(Default)]
struct Fake {
    state: Arc<Mutex<State>>,
    /// Reports that a push in doubt was not executed, without preventing that it is later.
    forgets_tickets: bool,
    /// Accepts nothing.
    is_down: bool,
    /// Its background task has ended.
    has_ended: bool,
}

#[derive(Default)]
struct State {
    /// Events as JSON, oldest first.
    items: VecDeque<String>,
    claimed: Option<Claim>,
    rejected: Vec<Rejected>,
    /// Ids that are not accepted again.
    known: HashSet<String>,
    /// Pushes by ticket: whether each was executed; if not, it never will be.
    pushes: HashMap<String, bool>,
    faults_left: u32,
    /// The project whose events are refused.
    refused: Option<&'static str>,
    next: i64,
    late: Vec<shuttle::future::JoinHandle<()>>,
}

/// The outcome of an operation.
#[derive(PartialEq)]
enum Fate {
    Done,
    Refused,
    NoResponse,
    Late,
}

impl Fake {
    fn queue() -> Self {
        let state = State { faults_left: FAULTS, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)), ..Self::default() }
    }

    /// Must not be held where tasks may switch.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn fate(&self) -> Fate {
        let mut state = self.state();
        if state.faults_left == 0 {
            return Fate::Done;
        }
        let fates = [Fate::Done, Fate::Refused, Fate::NoResponse, Fate::Late, Fate::Done];
        let place = shuttle::rand::thread_rng().gen_range(0..fates.len());
        let fate = fates.into_iter().nth(place).unwrap();
        state.faults_left -= u32::from(fate != Fate::Done);
        fate
    }
}

impl State {
    fn ticket(&mut self) -> String {
        self.next += 1;
        self.next.to_string()
    }

    /// Executes a push, unless it has been settled.
    fn carry_out(&mut self, ticket: &str, items: &[NewItem]) {
        if self.pushes.contains_key(ticket) {
            return;
        }
        self.pushes.insert(ticket.to_owned(), true);
        for item in items {
            if !item.client_id || self.known.insert(item.event.id.clone()) {
                self.items.push_back(item.event.to_json());
            }
        }
    }
}

fn fault() -> QueueError {
    QueueError::Unavailable("a fault".to_owned())
}

#[async_trait]
impl Queue for Fake {
    async fn push(&self, item: NewItem) -> Result<Pushed, QueueError> {
        self.push_many(vec![item]).await.remove(0)
    }

    async fn push_many(&self, items: Vec<NewItem>) -> Vec<Result<Pushed, QueueError>> {
        yield_now().await;
        let refused = self.state().refused;
        if let Some(refused) = refused {
            let mut results = Vec::new();
            for item in items {
                let is_refused = item.event.project_id == refused;
                results.push(if is_refused { Err(fault()) } else { Ok(Pushed::Queued) });
                if !is_refused {
                    let ticket = self.state().ticket();
                    self.state().carry_out(&ticket, &[item]);
                }
            }
            return results;
        }
        let (fate, ticket, count) = (self.fate(), self.state().ticket(), items.len());
        match fate {
            Fate::Refused => return vec![Err(fault()); count],
            Fate::Late => {
                let (state, ticket) = (Arc::clone(&self.state), ticket.clone());
                let later = spawn(async move {
                    yield_now().await;
                    state.lock().unwrap().carry_out(&ticket, &items);
                });
                self.state().late.push(later);
            }
            Fate::Done | Fate::NoResponse => self.state().carry_out(&ticket, &items),
        }
        yield_now().await;
        if fate == Fate::Done {
            return vec![Ok(Pushed::Queued); count];
        }
        vec![Err(QueueError::InDoubt { reason: "a fault".to_owned(), ticket }); count]
    }

    async fn settle(&self, ticket: &str) -> Result<bool, QueueError> {
        yield_now().await;
        if self.fate() == Fate::Refused {
            return Err(fault());
        }
        if self.forgets_tickets {
            return Ok(false);
        }
        let is_in = *self.state().pushes.entry(ticket.to_owned()).or_insert(false);
        yield_now().await;
        Ok(is_in)
    }

    async fn claim(&self, _: usize, _: Duration) -> Result<Option<Claim>, QueueError> {
        yield_now().await;
        let mut state = self.state();
        if state.claimed.is_none() && !state.items.is_empty() {
            // Two items each, so that there are several batches.
            let count = state.items.len().min(2);
            let bodies: Vec<_> = state.items.drain(..count).collect();
            let item = |(body, seq)| ClaimedItem { seq, body, invalid_utf8: None };
            let items = bodies.into_iter().zip(0..).map(item);
            let (items, batch) = (items.collect(), state.ticket());
            state.claimed = Some(Claim { id: ClaimId { batch, epoch: 1 }, items });
        }
        Ok(state.claimed.clone())
    }

    async fn release(&self, _: &ClaimId) -> Result<(), QueueError> {
        yield_now().await;
        Ok(())
    }

    async fn acknowledge(&self, claim: &ClaimId, rejected: &[Rejected]) -> Result<(), QueueError> {
        yield_now().await;
        let claimed = {
            let mut state = self.state();
            state.rejected.extend_from_slice(rejected);
            state.claimed.take()
        };
        assert_eq!(claimed.map(|claimed| claimed.id).as_ref(), Some(claim));
        yield_now().await;
        Ok(())
    }

    async fn stats(&self) -> Result<QueueStats, QueueError> {
        yield_now().await;
        let stats = {
            let state = self.state();
            let in_flight = state.claimed.as_ref().map_or(0, |claim| claim.items.len());
            let (depth, in_flight) = (state.items.len() as u64, in_flight as u64);
            QueueStats { depth, in_flight, ..QueueStats::default() }
        };
        yield_now().await;
        Ok(stats)
    }

    async fn ended(&self) {
        if !self.has_ended {
            std::future::pending::<()>().await;
        }
    }

    /// Each client has its own project, and so its own lane.
    fn lane(&self, project: &str) -> u32 {
        u32::from(project == "b")
    }

    async fn accepts(&self) -> Result<(), QueueError> {
        if self.is_down { Err(fault()) } else { Ok(()) }
    }

    async fn renew(&self, _: &ClaimId, _: Duration) -> Result<(), QueueError> {
        unreachable!()
    }
    async fn ready(&self) {
        unreachable!()
    }
    async fn batches(&self, _: usize) -> Result<Vec<BatchInFlight>, QueueError> {
        unreachable!()
    }
    async fn batch_items(&self, _: &str, _: usize) -> Result<Option<Vec<String>>, QueueError> {
        unreachable!()
    }
    async fn waiting(
        &self,
        _: Order,
        _: Option<&str>,
        _: usize,
    ) -> Result<Page<WaitingItem>, QueueError> {
        unreachable!()
    }
    async fn delete_waiting(&self, _: &[String]) -> Result<u64, QueueError> {
        unreachable!()
    }
    async fn failed(&self, _: Option<&str>, _: usize) -> Result<Page<FailedItem>, QueueError> {
        unreachable!()
    }
    async fn retry_failed(&self, ids: &[String]) -> Result<u64, QueueError> {
        if self.is_down { Err(fault()) } else { Ok(ids.len() as u64) }
    }
    async fn retry_edited(&self, edits: &[Edit]) -> Result<Edited, QueueError> {
        let changed = self.retry_failed(&vec![String::new(); edits.len()]).await?;
        let invalid = InvalidEdit { id: "x".to_owned(), error: String::new() };
        Ok(Edited { changed, invalid: vec![invalid] })
    }
    async fn delete_failed(&self, ids: &[String]) -> Result<u64, QueueError> {
        self.retry_failed(ids).await
    }
}

fn item(id: &str) -> NewItem {
    let end =
        SessionEnd { session_id: id.to_owned(), timestamp: None, reason: None, unverified: false };
    let event = QueuedEvent {
        id: id.to_owned(),
        payload: Payload::SessionEnd(end),
        queued_at: UtcMillis::from_epoch_millis(0),
        project_id: id[..1].to_owned(),
        push_ticket: None,
    };
    NewItem { event: event.into(), client_id: false }
}

/// Two clients push three events each, one after the other or the last two together, while another task moves spooled events.
/// Each event must be in the queue once, and each client's events in order.
async fn push_and_move(spooled: SpooledQueue, queue: Arc<Fake>, mv: impl AsyncFn(&Shared) -> bool) {
    let spooled = Arc::new(spooled);
    let clients = ["a", "b"].map(|client| {
        let spooled = Arc::clone(&spooled);
        spawn(async move {
            let item = |nth: usize| item(&format!("{client}{nth}"));
            assert_eq!(spooled.push(item(1)).await.unwrap(), Pushed::Queued);
            if client == "a" {
                for nth in 2..=3 {
                    assert_eq!(spooled.push(item(nth)).await.unwrap(), Pushed::Queued);
                }
            } else {
                for pushed in spooled.push_many(vec![item(2), item(3)]).await {
                    assert_eq!(pushed.unwrap(), Pushed::Queued);
                }
            }
        })
    });
    // While they push, and until everything is moved.
    let mut left = 12;
    while left > 0 || spooled.is_spooling() || spooled.spooled() > 0 {
        left -= i32::from(left > 0);
        mv(&spooled.shared).await;
        yield_now().await;
    }
    for client in clients {
        client.await.unwrap();
    }
    while !mv(&spooled.shared).await {}
    let late = std::mem::take(&mut queue.state().late);
    for push in late {
        push.await.unwrap();
    }
    let items = std::mem::take(&mut queue.state().items);
    let ids: Vec<_> = items.iter().map(|json| QueuedEvent::from_json(json).unwrap().id).collect();
    for client in ["a", "b"] {
        let ids: Vec<_> = ids.iter().filter(|id| id.starts_with(client)).collect();
        let unique: HashSet<_> = ids.iter().collect();
        assert_eq!(unique.len(), 3, "an event is lost: {ids:?}");
        assert_eq!(ids.len(), 3, "an event is there twice: {ids:?}");
        assert!(ids.is_sorted(), "events are out of order: {ids:?}");
    }
}

/// Tries many schedules; panics if one of them panics or blocks forever.
fn explore(
    queue: impl Fn() -> Fake + Send + Sync + 'static,
    mv: impl AsyncFn(&Shared) -> bool + Copy + Send + Sync + 'static,
) {
    let mut config = shuttle::Config::new();
    config.stack_size = STACK;
    let scheduler = shuttle::scheduler::RandomScheduler::new(SCHEDULES);
    let (_runtime, handle) = idle_runtime();
    shuttle::Runner::new(scheduler, config).run(move || {
        let queue = Arc::new(queue());
        let spooled = spooled(&handle, Arc::clone(&queue), Arc::default());
        block_on(push_and_move(spooled, queue, mv));
    });
}

/// Owns the task that moves events, which never runs: the model moves them.
fn idle_runtime() -> (tokio::runtime::Runtime, tokio::runtime::Handle) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let handle = runtime.handle().clone();
    (runtime, handle)
}

fn spooled(runtime: &tokio::runtime::Handle, queue: Arc<Fake>, spool: Arc<Fake>) -> SpooledQueue {
    let _runtime = runtime.enter();
    SpooledQueue::new(queue, spool)
}

async fn move_all(shared: &Shared) -> bool {
    shared.move_all().await.is_ok()
}

#[test]
fn each_event_reaches_the_queue_once_and_in_order() {
    explore(Fake::queue, move_all);
}

#[test]
#[should_panic(expected = "an event is there twice")]
fn the_model_finds_pushes_that_cannot_be_settled() {
    explore(|| Fake { forgets_tickets: true, ..Fake::queue() }, move_all);
}

/// Checks that the spool is empty without preventing pushes to it.
async fn move_all_without_the_gate(shared: &Shared) -> bool {
    async fn moved(shared: &Shared) -> Result<(), QueueError> {
        while let Some(batch) = shared.spool.claim(MOST_MOVED, LEASE).await? {
            shared.move_batch(&batch).await?;
        }
        if shared.check().await? == 0 {
            shared.spooling.store(0, Ordering::Release);
        }
        Ok(())
    }
    moved(shared).await.is_ok()
}

#[test]
#[should_panic(expected = "events are out of order")]
fn the_model_finds_a_push_that_the_end_of_spooling_overtakes() {
    explore(Fake::queue, move_all_without_the_gate);
}

#[test]
fn while_the_queue_is_unavailable_the_spool_says_whether_events_are_accepted() {
    let (_runtime, handle) = idle_runtime();
    let test = move || {
        for (queue, spool) in [(false, false), (false, true), (true, false), (true, true)] {
            let queue = Arc::new(Fake { is_down: queue, ..Fake::default() });
            let spool = Arc::new(Fake { is_down: spool, ..Fake::default() });
            let accepts = !queue.is_down || !spool.is_down;
            let spooled = spooled(&handle, queue, spool);
            block_on(async {
                // Events go to the queue once the spool is empty.
                assert!(move_all(&spooled.shared).await && !spooled.is_spooling());
                assert_eq!(spooled.accepts().await.is_ok(), accepts);
            });
        }
    };
    shuttle::check_random(test, 1);
}

#[test]
fn a_background_task_that_ends_is_reported() {
    let (_runtime, handle) = idle_runtime();
    let test = move || {
        for (queue, spool) in [(true, false), (false, true)] {
            let queue = Arc::new(Fake { has_ended: queue, ..Fake::default() });
            let spool = Arc::new(Fake { has_ended: spool, ..Fake::default() });
            // Shuttle reports one that waits forever.
            block_on(spooled(&handle, queue, spool).ended());
        }
    };
    shuttle::check_random(test, 1);
}

#[test]
fn invalid_events_are_rejected_without_blocking_others() {
    let (_runtime, handle) = idle_runtime();
    let test = move || {
        let (queue, spool) = (Arc::new(Fake::default()), Arc::new(Fake::default()));
        spool.state().items.extend(["{}".to_owned(), item("a1").event.to_json()]);
        let spooled = spooled(&handle, Arc::clone(&queue), Arc::clone(&spool));
        assert!(block_on(move_all(&spooled.shared)));
        let rejected = std::mem::take(&mut spool.state().rejected);
        assert_eq!(rejected.iter().map(|item| item.seq).collect::<Vec<_>>(), [0]);
        assert_eq!(queue.state().items.len(), 1);
    };
    shuttle::check_random(test, 1);
}
