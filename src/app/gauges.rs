//! Publishes the gauges of this process, and reads the queue's state for them.

use std::sync::Arc;
use std::time::Duration;

use color_eyre::eyre::Result;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::alerts::DaemonAlerts;
use bklit_net::log_throttle::LogThrottle;
use bklit_pipeline::history::FigureHistory;
use bklit_pipeline::metrics::Part;
use bklit_pipeline::queue::Queue;
use bklit_pipeline::telemetry::{Data, Telemetry};
use bklit_pipeline::throttle::Throttle;
use bklit_wire::debug_log::Stage;
use bklit_wire::duration::seconds;
use bklit_wire::gauges::{Gauges, Health};
use bklit_wire::pause::{Pausable, Pause, Paused};

/// How often gauges are published.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);

/// How often the queue is observed while nothing happens and its state is not requested: on a
/// server that is not otherwise used, this is most of what an idle pipeline costs.
const OBSERVE_WHILE_IDLE: Duration = Duration::from_secs(180);

/// Once a second: publishes the gauges, adds them to the history and checks them for alerts. Before
/// that, or whenever it is requested, reads the queue's state if it matters.
pub(super) async fn publish(
    log: Arc<Telemetry>,
    queue: Arc<dyn Queue>,
    throttle: Arc<Throttle>,
    history: Arc<FigureHistory>,
    mut alerts: Option<DaemonAlerts>,
    stop: CancellationToken,
) -> Result<()> {
    let mut ticks = tokio::time::interval(PUBLISH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let check = log.metrics().queue_check();
    let _checking = check.begin();
    let mut observer =
        Observer { log: &log, queue: &*queue, at: None, unknown: LogThrottle::default() };
    let mut last = Arc::new(Gauges::default());
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => {
                // What was counted since the last second.
                history.add(&log.publish_last_gauges(), &log.metrics().take_projects());
                return Ok(());
            }
            _ = ticks.tick() => {}
            () = check.requested() => {
                observer.observe().await;
                continue;
            }
        }
        if observer.is_due(&last) {
            observer.observe().await;
        }
        let gauges = log.publish_gauges();
        report_pauses(&log, &last.paused, &gauges.paused);
        history.add(&gauges, &log.metrics().take_projects());
        throttle.observe(gauges.queue.map(|queue| queue.depth.saturating_add(queue.spooled)));
        if let Some(alerts) = &mut alerts {
            alerts.check(&gauges);
        }
        last = gauges;
    }
}

/// Reports what has been paused or resumed.
fn report_pauses(log: &Telemetry, before: &Paused, now: &Paused) {
    let find =
        |paused: &Paused, part| paused.iter().find(|(p, _)| *p == part).map(|(_, p)| p.clone());
    for part in Pausable::ALL {
        let step = log.step(match part {
            Pausable::Intake => Stage::Ingestion,
            Pausable::Workers => Stage::Worker,
        });
        match (find(before, part), find(now, part)) {
            (before, Some(pause)) if before.as_ref() != Some(&pause) => {
                let Pause { by, reason, since } = pause;
                step.uncounted().warn("Paused by an operator", || {
                    let mut data = Data::from_iter([
                        ("by".to_owned(), by.into()),
                        ("since".to_owned(), since.to_string().into()),
                    ]);
                    data.extend(reason.map(|reason| ("reason".to_owned(), reason.into())));
                    data
                });
            }
            (Some(_), None) => step.uncounted().info("Resumed by an operator", Data::new),
            _ => {}
        }
    }
}

/// Observes the queue.
struct Observer<'a> {
    log: &'a Telemetry,
    queue: &'a dyn Queue,
    /// The last time.
    at: Option<Instant>,
    unknown: LogThrottle,
}

impl Observer<'_> {
    /// Whether the queue's state matters: a console is attached, events were processed in the last
    /// second, some wait, or the queue fails.
    fn is_due(&self, last: &Gauges) -> bool {
        let is_active = last.accepted > 0 || last.stages.iter().any(|stage| stage.count > 0);
        let is_empty = last
            .queue
            .is_some_and(|queue| queue.depth == 0 && queue.in_flight == 0 && queue.spooled == 0);
        is_active
            || !is_empty
            || self.log.is_watched()
            || self.log.metrics().health(Part::Queue) != Health::Ok
            || self.at.is_none_or(|at| at.elapsed() >= OBSERVE_WHILE_IDLE)
    }

    async fn observe(&mut self) {
        match self.log.metrics().observe_queue(self.queue).await {
            Ok(()) => {
                if let Some(lasted) = self.unknown.recovered().map(seconds) {
                    tracing::info!(lasted, "the queue's depth is known again");
                }
            }
            Err(error) => {
                if let Some(lasting) = self.unknown.failure().map(seconds) {
                    tracing::warn!(%error, lasting, "the queue's depth is unknown");
                }
            }
        }
        self.at = Some(Instant::now());
        self.log.metrics().queue_check().checked();
    }
}
