//! The worker: claims batches from the queue, stores and acknowledges them, and publishes their events.
//!
//! A batch is acknowledged strictly after the store has confirmed it. Until then it stays in the
//! queue, so after a crash it is delivered again, and the store recognises the events it already has.
//!
//! - `active_batches`: what the workers are doing
//! - `announce`: publishes a batch while the next one is being stored
//! - `batch`: stores the events of one batch
//! - `bisect`: finds the events of a batch that the store rejects
//! - `definitions`: looks up the definitions of custom events
//! - `finish`: completes and acknowledges stored batches while the next one is being stored
//! - `lease`: renews the lease of a batch
//! - `live_events`: publishes stored events for dashboards
//! - `parse`: the queue's items as events
//! - `prefetch`: claims a batch while the previous one is being stored
//! - `presence`: records active sessions
//! - `sessions`: writes the rows of sessions
//! - `settings`: the worker's settings
//! - `stop`: the phases of a shutdown
//! - `store_health`: checks the store on demand while there is no batch
//! - `sweep`: ends idle sessions
//! - `times`: replaces implausible times
//! - `unverified`: drops ends of sessions that do not exist

mod active_batches;
mod announce;
mod batch;
mod bisect;
mod definitions;
mod finish;
mod lease;
mod live_events;
mod parse;
pub(crate) use parse::read_event;
mod prefetch;
mod presence;
mod sessions;
mod settings;
mod stop;
mod store_health;
mod sweep;
mod times;
mod unverified;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub use self::settings::WorkerSettings;

use self::active_batches::ActiveBatches;
use self::batch::Work;
use self::finish::Finisher;
use self::lease::Lease;
use self::parse::{Item, parse};
use self::stop::Stop;
use self::times::Times;
use super::bus::LiveBus;
use super::definitions::Definitions;
use super::metrics::Part;
use super::queue::{Claim, Queue, QueueError};
use super::store::Store;
use super::telemetry::{Data, Telemetry};
use crate::intake::visitor::IpPrivacy;
use crate::presence::Presence;
use crate::time_bounds::TimeBounds;
use bklit_net::backoff::Backoff;
use bklit_net::timeout::within;
use bklit_wire::debug_log::Stage;

/// How long a call to the queue may take.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// The shortest and longest interval of checks whether a batch is full.
const FILL_CHECK: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(100)];

/// What the workers of a process share.
pub struct WorkerContext {
    /// Where events come from.
    pub queue: Arc<dyn Queue>,
    /// Where events are stored.
    pub store: Arc<dyn Store>,
    /// The definitions of custom events.
    pub definitions: Arc<dyn Definitions>,
    /// Where stored events are published.
    pub live_bus: Arc<dyn LiveBus>,
    /// Where active sessions are recorded, if anywhere.
    pub presence: Option<Arc<dyn Presence>>,
    /// The debug log, metrics and health.
    pub log: Arc<Telemetry>,
    /// Which timestamps are plausible.
    pub time_bounds: TimeBounds,
    /// What is stored of visitors' addresses, also of those that other programs have queued.
    pub privacy: IpPrivacy,
    /// The worker's settings.
    pub settings: WorkerSettings,
}

/// Runs the configured number of workers until `shutdown`. Failures are retried, so it returns for no
/// other reason. On shutdown the claimed batches are stored, or released if the store does not
/// respond. Dropping the future drops the workers.
pub async fn run(context: WorkerContext, shutdown: CancellationToken) {
    let (context, active) = (Arc::new(context), Arc::new(ActiveBatches::default()));
    let stop = Stop::new(shutdown);
    context.works(Part::Worker);
    let mut workers = JoinSet::new();
    for number in 0..context.settings.workers.max(1) {
        let (context, active, stop) = (Arc::clone(&context), Arc::clone(&active), stop.clone());
        workers.spawn(async move {
            match number {
                0 => work(&context, &active, &stop).await,
                _ => work_on_backlog(&context, &active, &stop).await,
            }
        });
    }
    let all_work = async {
        let _deadline = AbortOnDropHandle::new(tokio::spawn({
            let stop = stop.clone();
            async move { stop.run().await }
        }));
        while let Some(ended) = workers.join_next().await {
            // Propagate a panic to the supervisor.
            if let Some(panic) = ended.err().and_then(|error| error.try_into_panic().ok()) {
                std::panic::resume_unwind(panic);
            }
        }
    };
    tokio::join!(
        all_work,
        sweep::run(&context, &active, &stop.started),
        sessions::run(&context, &stop.started),
        store_health::run(&context, &active, &stop.started)
    );
    if stop.expired.run_until_cancelled(sessions::finish(&context)).await.is_none() {
        tracing::warn!("no time left to write session rows; another process writes them");
    }
}

/// Claims and stores batches one after the other. Two steps overlap with storing a batch: the next one,
/// if it is full, is claimed and parsed, and the previous ones are finished.
async fn work(context: &Arc<WorkerContext>, active: &Arc<ActiveBatches>, stop: &Stop) {
    let mut finisher = Finisher::default();
    let mut ahead = None;
    loop {
        let claimed = match ahead.take() {
            None => {
                finisher.start(context, stop).await;
                next(context, stop).await
            }
            claimed => claimed,
        };
        let Some(work) = claimed else { break };
        let processing = process(context, work, active, stop, &mut finisher);
        ahead = prefetch::during(context, stop, processing).await;
    }
    finisher.end(context, stop).await;
}

/// Stores batches beside the first worker, as long as full ones wait. With smaller ones, it would only
/// make the store's inserts smaller.
async fn work_on_backlog(context: &Arc<WorkerContext>, active: &Arc<ActiveBatches>, stop: &Stop) {
    let mut finisher = Finisher::default();
    let full = context.settings.batch_size as u64;
    while stop.started.run_until_cancelled(active.large_stored()).await.is_some() {
        while let Some(work) = prefetch::claim_from(full, context, stop).await {
            process(context, work, active, stop, &mut finisher).await;
        }
        finisher.start(context, stop).await;
    }
    finisher.end(context, stop).await;
}

/// Stores a batch, and leaves the rest to the finisher.
async fn process(
    context: &Arc<WorkerContext>,
    work: Work,
    active: &Arc<ActiveBatches>,
    stop: &Stop,
    finisher: &mut Finisher,
) {
    let is_large = work.size as u64 >= prefetch::large(context);
    let stored = batch::process(context, work, active.begin(), stop).await;
    let Some(batch) = stored else { return };
    if is_large {
        active.stored_large();
    }
    if finisher.add(context, batch) {
        finisher.start(context, stop).await;
    }
}

/// Waits for work and claims it, retrying for as long as necessary; `None` once a shutdown has
/// started.
async fn next(context: &Arc<WorkerContext>, stop: &Stop) -> Option<Work> {
    stop.started.run_until_cancelled(ready(context)).await?;
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
                stop.started.run_until_cancelled(ready(context)).await?;
            }
            Err(error) => {
                context.worker_failed("Cannot claim a batch", &error.to_string());
                // Then claim without waiting for work, to notice when the queue is available again.
                stop.started.run_until_cancelled(backoff.pause()).await?;
            }
        }
    }
}

/// Waits for work, and for the batch to fill up.
async fn ready(context: &WorkerContext) {
    context.queue.ready().await;
    fill(context).await;
}

/// Claims a batch. If a shutdown starts during the claim, the batch is released at once, because no
/// worker would process it.
async fn claim_or_release(
    context: &Arc<WorkerContext>,
    stop: &Stop,
) -> Result<Option<Work>, QueueError> {
    // A separate task, because parsing a batch keeps a core busy for a while.
    let claiming = tokio::spawn({
        let context = Arc::clone(context);
        async move { claim(&context).await }
    });
    let mut claiming = AbortOnDropHandle::new(claiming);
    let claimed = tokio::select! {
        claimed = &mut claiming => claimed,
        () = stop.expired.cancelled() => return Ok(None),
    };
    let work = match claimed.map_err(JoinError::try_into_panic) {
        Ok(claimed) => claimed?,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_)) => None,
    };
    match work {
        Some(work) if stop.started.is_cancelled() => {
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
    // The batch keeps its id until it is acknowledged, so this time is the same after a redelivery.
    let received = lease.id().first_claimed();
    let mut times = Times::new(context.time_bounds, received);
    let (mut items, garbage) = parse(items, received, &mut times).await;
    times.report(&context.log, lease.id());
    let addresses = items.iter_mut().filter_map(Item::address_mut);
    let changed = addresses.filter_map(|ip| context.privacy.apply(ip).then_some(())).count();
    context.log.metrics().values_changed("ip", "cut", changed as u64);
    Ok(Some(Work { lease, size, items, garbage, took: began.elapsed() }))
}

/// Waits until the batch is full or `batch_wait` has passed.
async fn fill(context: &WorkerContext) {
    let WorkerSettings { batch_size, batch_wait, .. } = context.settings;
    let deadline = Instant::now() + batch_wait;
    let check = (batch_wait / 5).clamp(FILL_CHECK[0], FILL_CHECK[1]);
    while Instant::now() < deadline {
        // Claim even if the queue's state cannot be read: after a full disk, that makes room.
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

    /// Reports what is stored incompletely.
    fn log_notes(&self, notes: &[String]) {
        for note in notes {
            self.log.metrics().stored_incompletely(note);
            let step = self.log.step(Stage::Clickhouse).uncounted();
            step.error("Stored incompletely", || details(json!({ "reason": note })));
        }
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
