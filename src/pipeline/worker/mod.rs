//! The worker: claims batches from the queue, stores them, acknowledges them, tells dashboards.
//!
//! A batch is acknowledged strictly after the store said yes. Until then it stays the queue's, so
//! whatever dies in between, it is delivered again, and the store knows what it has.

mod announce;
mod batch;
mod bisect;
mod definitions;
mod lease;
mod live_events;
mod parse;
mod prefetch;
mod presence;
mod settings;
mod stop;
mod store_health;
mod sweep;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub use self::settings::WorkerSettings;

use self::announce::Announcer;
use self::batch::Work;
use self::lease::Lease;
use self::parse::parse;
use self::stop::Stop;
use self::store_health::InHand;
use super::bus::LiveBus;
use super::definitions::Definitions;
use super::metrics::Part;
use super::queue::{Claim, Queue, QueueError};
use super::store::Store;
use super::telemetry::{Data, Telemetry};
use crate::presence::Presence;
use bklit_net::backoff::Backoff;
use bklit_net::timeout::within;
use bklit_wire::debug_log::Stage;

/// The longest a call to the queue may take before it counts as failed.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// The shortest and the longest time between looks at a batch that fills up.
const FILL_CHECK: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(100)];

/// What a worker works with.
pub struct WorkerContext {
    /// Where events come from.
    pub queue: Arc<dyn Queue>,
    /// Where they go.
    pub store: Arc<dyn Store>,
    /// Where custom events are defined.
    pub definitions: Arc<dyn Definitions>,
    /// Who hears of those that are stored.
    pub live_bus: Arc<dyn LiveBus>,
    /// Who counts active sessions, if anybody does.
    pub presence: Option<Arc<dyn Presence>>,
    /// Where to tell of it.
    pub log: Arc<Telemetry>,
    /// How to batch.
    pub settings: WorkerSettings,
}

/// Works until `shutdown`, with as many workers as the settings say. Whatever fails is tried
/// again, so that it returns for no other reason; then the batches in hand are stored, or given
/// back when the store does not answer. Dropping the future drops the workers.
pub async fn run(context: WorkerContext, shutdown: CancellationToken) {
    let (context, in_hand) = (Arc::new(context), Arc::new(InHand::default()));
    let stop = Stop::new(shutdown);
    context.works(Part::Worker);
    let mut workers = JoinSet::new();
    for _ in 0..context.settings.workers.max(1) {
        let (context, in_hand, stop) = (Arc::clone(&context), Arc::clone(&in_hand), stop.clone());
        workers.spawn(async move { work(&context, &in_hand, &stop).await });
    }
    let all_work = async {
        let _deadline = AbortOnDropHandle::new(tokio::spawn({
            let stop = stop.clone();
            async move { stop.run().await }
        }));
        while let Some(ended) = workers.join_next().await {
            // A panic goes on here: whoever supervises this learns of it.
            if let Some(panic) = ended.err().and_then(|error| error.try_into_panic().ok()) {
                std::panic::resume_unwind(panic);
            }
        }
    };
    tokio::join!(
        all_work,
        sweep::run(&context, &stop.begun),
        store_health::run(&context, &in_hand, &stop.begun)
    );
}

/// Claims batches and works on them, one after the other. What can be done beside that is: a
/// full batch that waits is claimed and read while the one before it is stored, and what was
/// stored is told of while the next one is.
async fn work(context: &Arc<WorkerContext>, in_hand: &InHand, stop: &Stop) {
    let mut announcer = Announcer::default();
    let mut ahead = None;
    loop {
        let claimed = match ahead.take() {
            None => next(context, stop).await,
            claimed => claimed,
        };
        let Some(work) = claimed else { break };
        let processing = async {
            let held = in_hand.hold();
            let stored = batch::process(context, work, stop).await;
            drop(held);
            if let Some(stored) = stored {
                // Nothing depends on it.
                stop.over.run_until_cancelled(announcer.announce(context, stored)).await;
            }
        };
        ahead = prefetch::beside(context, stop, processing).await;
    }
    stop.over.run_until_cancelled(announcer.finish()).await;
}

/// Waits for work and claims it, however long it takes; nothing once a shutdown has begun.
async fn next(context: &Arc<WorkerContext>, stop: &Stop) -> Option<Work> {
    stop.begun.run_until_cancelled(ready(context)).await?;
    let mut backoff = Backoff::new(context.settings.max_backoff);
    loop {
        match claim_or_release(context, stop).await {
            Ok(Some(work)) => {
                context.works(Part::Worker);
                return Some(work);
            }
            Ok(None) => {
                // Another worker was faster.
                context.works(Part::Worker);
                backoff.reset();
                stop.begun.run_until_cancelled(ready(context)).await?;
            }
            Err(error) => {
                context.worker_failed("Cannot claim a batch", &error.to_string());
                // Then it claims whether there is work or not: that tells when the queue is back.
                stop.begun.run_until_cancelled(backoff.pause()).await?;
            }
        }
    }
}

/// Waits for work, and for the batch to fill up.
async fn ready(context: &WorkerContext) {
    context.queue.ready().await;
    fill(context).await;
}

/// Claims a batch. One that is still under way when a shutdown begins is given back as soon as it
/// is there: nobody would work on it.
async fn claim_or_release(
    context: &Arc<WorkerContext>,
    stop: &Stop,
) -> Result<Option<Work>, QueueError> {
    // A task of its own, as reading a batch takes a core for a while.
    let claiming = tokio::spawn({
        let context = Arc::clone(context);
        async move { claim(&context).await }
    });
    let mut claiming = AbortOnDropHandle::new(claiming);
    let claimed = tokio::select! {
        claimed = &mut claiming => claimed,
        () = stop.over.cancelled() => return Ok(None),
    };
    let work = match claimed.map_err(JoinError::try_into_panic) {
        Ok(claimed) => claimed?,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_)) => None,
    };
    match work {
        Some(work) if stop.begun.is_cancelled() => {
            batch::release(context, work.lease).await;
            Ok(None)
        }
        work => Ok(work),
    }
}

async fn claim(context: &Arc<WorkerContext>) -> Result<Option<Work>, QueueError> {
    let settings = &context.settings;
    let began = Instant::now();
    let claim = in_time(context.queue.claim(settings.batch_size, settings.lease)).await?;
    let Some(Claim { id, items }) = claim else { return Ok(None) };
    let lease = Lease::hold(context, id);
    let size = items.len();
    let (items, garbage) = parse(items).await;
    Ok(Some(Work { lease, size, items, garbage, took: began.elapsed() }))
}

/// Waits for company for the first event, until the batch is full or `batch_wait` is over.
async fn fill(context: &WorkerContext) {
    let WorkerSettings { batch_size, batch_wait, .. } = context.settings;
    let deadline = Instant::now() + batch_wait;
    let check = (batch_wait / 5).clamp(FILL_CHECK[0], FILL_CHECK[1]);
    while Instant::now() < deadline {
        // A queue that cannot say how full it is may still hand out what it has, and after a full
        // disk that is what makes room.
        let stats = in_time(context.queue.stats()).await;
        if stats.is_ok_and(|stats| stats.depth >= batch_size as u64) {
            break;
        }
        tokio::time::sleep_until(deadline.min(Instant::now() + check)).await;
    }
}

/// Bounds a call to the queue.
async fn in_time<T>(call: impl Future<Output = Result<T, QueueError>>) -> Result<T, QueueError> {
    within(QUEUE_TIMEOUT, call, QueueError::Unavailable).await
}

impl WorkerContext {
    fn works(&self, part: Part) {
        self.log.works(part);
    }

    fn store_failed(&self, message: &'static str, reason: &str) {
        let step = self.log.step(Stage::Clickhouse);
        self.log.fails(Part::Store, step, message, details(json!({ "reason": reason })));
    }

    fn worker_failed(&self, message: &'static str, reason: &str) {
        let step = self.log.step(Stage::Worker);
        self.log.fails(Part::Worker, step, message, details(json!({ "reason": reason })));
    }
}

/// The details of a line, from a `json!` object.
fn details(object: serde_json::Value) -> Data {
    match object {
        serde_json::Value::Object(fields) => fields,
        _ => Data::new(),
    }
}
