//! The worker: claims batches from the queue, stores them, acknowledges them, tells dashboards.
//!
//! A batch is acknowledged strictly after the store said yes. Until then it stays the queue's, so
//! whatever dies in between, it is delivered again, and the store knows what it has.

mod ahead;
mod announce;
mod batch;
mod definitions;
mod lease;
mod live;
mod parse;
mod poison;
mod presence;
mod settings;
mod sweep;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::settings::WorkerSettings;

use self::announce::Announcer;
use self::batch::Work;
use self::parse::parse;
use self::watch::InHand;
use super::bus::LiveBus;
use super::definitions::Definitions;
use super::metrics::Part;
use super::queue::{Claim, Queue, QueueError};
use super::stage_log::{Data, StageLog};
use super::store::Store;
use crate::presence::Presence;
use bklit_net::backoff::Backoff;
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
    pub log: Arc<StageLog>,
    /// How to batch.
    pub settings: WorkerSettings,
}

/// Works until `shutdown`, with as many workers as the settings say. Whatever fails is tried
/// again, so that it returns for no other reason; then the batches in hand are stored, or given
/// back when the store does not answer. Dropping the future drops the workers.
pub async fn run(context: WorkerContext, shutdown: CancellationToken) {
    let (context, in_hand) = (Arc::new(context), Arc::new(InHand::default()));
    context.works(Part::Worker);
    let mut workers = JoinSet::new();
    for _ in 0..context.settings.workers.max(1) {
        let (context, in_hand) = (Arc::clone(&context), Arc::clone(&in_hand));
        let shutdown = shutdown.clone();
        workers.spawn(async move { work(&context, &in_hand, &shutdown).await });
    }
    let all_work = async {
        while let Some(ended) = workers.join_next().await {
            // A panic goes on here: whoever supervises this learns of it.
            if let Some(panic) = ended.err().and_then(|error| error.try_into_panic().ok()) {
                std::panic::resume_unwind(panic);
            }
        }
    };
    tokio::join!(
        all_work,
        sweep::run(&context, &shutdown),
        watch::run(&context, &in_hand, &shutdown)
    );
}

/// Claims batches and works on them, one after the other. What can be done beside that is: a
/// full batch that waits is claimed and read while the one before it is stored, and what was
/// stored is told of while the next one is.
async fn work(context: &Arc<WorkerContext>, in_hand: &InHand, shutdown: &CancellationToken) {
    let mut announcer = Announcer::default();
    let mut ahead = None;
    loop {
        let claimed = match ahead.take() {
            None => next(context, shutdown).await,
            claimed => claimed,
        };
        let Some(work) = claimed else { break };
        let held = in_hand.hold();
        let processing = batch::process(context, work, shutdown);
        let stored;
        (stored, ahead) = ahead::beside(context, shutdown, processing).await;
        drop(held);
        if let Some(stored) = stored {
            announcer.announce(context, stored).await;
        }
    }
    announcer.finish().await;
}

/// Waits for work and claims it, however long it takes; nothing once a shutdown has begun.
async fn next(context: &WorkerContext, shutdown: &CancellationToken) -> Option<Work> {
    shutdown.run_until_cancelled(ready(context)).await?;
    let mut backoff = Backoff::new(context.settings.max_backoff);
    loop {
        // Never broken off: nobody would work on a claim that got lost on its way here.
        match claim(context).await {
            Ok(Some(work)) => {
                context.works(Part::Worker);
                return Some(work);
            }
            Ok(None) => {
                // Another worker was faster.
                context.works(Part::Worker);
                backoff.reset();
                shutdown.run_until_cancelled(ready(context)).await?;
            }
            Err(error) => {
                context.worker_failed("Cannot claim a batch", &error.to_string());
                // Then it claims whether there is work or not: that tells when the queue is back.
                shutdown.run_until_cancelled(backoff.pause()).await?;
            }
        }
    }
}

/// Waits for work, and for the batch to fill up.
async fn ready(context: &WorkerContext) {
    context.queue.ready().await;
    fill(context).await;
}

async fn claim(context: &WorkerContext) -> Result<Option<Work>, QueueError> {
    let settings = &context.settings;
    let began = Instant::now();
    let claim = answer_in_time(context.queue.claim(settings.batch_size, settings.lease)).await?;
    let Some(Claim { id, items }) = claim else { return Ok(None) };
    let size = items.len();
    let (items, garbage) = parse(items).await;
    Ok(Some(Work { id, size, items, garbage, took: began.elapsed() }))
}

/// Waits for company for the first event, until the batch is full or `batch_wait` is over.
async fn fill(context: &WorkerContext) {
    let WorkerSettings { batch_size, batch_wait, .. } = context.settings;
    let deadline = Instant::now() + batch_wait;
    let check = (batch_wait / 5).clamp(FILL_CHECK[0], FILL_CHECK[1]);
    while Instant::now() < deadline {
        // A queue that cannot say how full it is may still hand out what it has, and after a full
        // disk that is what makes room.
        let stats = answer_in_time(context.queue.stats()).await;
        if stats.is_ok_and(|stats| stats.depth >= batch_size as u64) {
            break;
        }
        tokio::time::sleep_until(deadline.min(Instant::now() + check)).await;
    }
}

/// Every call to the queue has an end.
async fn answer_in_time<T>(
    call: impl Future<Output = Result<T, QueueError>>,
) -> Result<T, QueueError> {
    let in_time = tokio::time::timeout(QUEUE_TIMEOUT, call).await;
    in_time.unwrap_or_else(|_| {
        Err(QueueError::Unavailable(format!("no answer within {QUEUE_TIMEOUT:?}")))
    })
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
