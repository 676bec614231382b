//! A running pipeline: opens the adapters, listens, and starts the parts in order.

use std::net::SocketAddr;
use std::sync::Arc;

use color_eyre::eyre::Result;
use tokio_util::sync::CancellationToken;

use super::adapters::{self, Adapters};
use super::alerts::DaemonAlerts;
use super::data_dir::DataDir;
use super::doctor;
use super::filters;
use super::gauges;
use super::lifecycle::Supervisor;
use super::listeners::{Listeners, Served};
use super::location;
use super::tokens;
use crate::config::Settings;
use bklit_pipeline::auth::{Authenticator, TokenStore};
use bklit_pipeline::history::FigureHistory;
use bklit_pipeline::intake::Intake;
use bklit_pipeline::intake::visitor::IpPrivacy;
use bklit_pipeline::local_backend::LocalBackend;
use bklit_pipeline::metrics::{Metrics, Part};
use bklit_pipeline::presence::Presence;
use bklit_pipeline::queue::{Queue, host_name};
use bklit_pipeline::roles::Role;
use bklit_pipeline::sql::Queries;
use bklit_pipeline::store::Store;
use bklit_pipeline::telemetry::Telemetry;
use bklit_pipeline::throttle::Throttle;
use bklit_pipeline::verify::{BaselineSender, BaselineWriter, LiveVerifier, Pending};
use bklit_pipeline::worker;
use bklit_pipeline::worker::WorkerContext;
use bklit_wire::backend::Backend;
use bklit_wire::debug_bus::DebugBus;
use bklit_wire::debug_log::Stage;
use bklit_wire::gauges::{About, Health};
use bklit_wire::time::UtcMillis;

/// A running pipeline.
pub(super) struct Pipeline {
    address: SocketAddr,
    tokens: Arc<dyn TokenStore>,
    debug_bus: Arc<dyn DebugBus>,
    metrics: Arc<Metrics>,
    queue: Arc<dyn Queue>,
    store: Option<Arc<dyn Store>>,
    presence: Option<Arc<dyn Presence>>,
    history: Arc<FigureHistory>,
    queries: Arc<Queries>,
    privacy: IpPrivacy,
    log: Arc<Telemetry>,
}

impl Pipeline {
    /// Opens the adapters, listens, and starts the parts under `supervisor`.
    pub(super) async fn start(
        settings: &Settings,
        data_dir: &DataDir,
        stopping: &CancellationToken,
        supervisor: &mut Supervisor,
    ) -> Result<Self> {
        let (adapters, metrics, log) = open(settings, data_dir)?;
        if settings.roles.has(Role::Ingestion) {
            tokens::make_first(settings, &adapters.own_tokens, data_dir.path(), supervisor).await?;
        }
        let listeners = Listeners::bind(settings, data_dir).await?;
        let address = listeners.address;
        let (baseline, comparison) = dual_write(settings, &adapters, &log).unzip();
        let (writer, verifier) = comparison.unzip();
        let throttle = Throttle::new(settings.limits.clone(), settings.queue.max_depth);
        let throttle = Arc::new(throttle.of_lists(settings.queue.shards));
        let authenticator = authenticator(settings, &adapters, &throttle);
        let tokens_file = adapters::tokens_are_remote(settings)
            .then(|| data_dir.join(adapters::KNOWN_TOKENS_FILE));
        if let Some(file) = &tokens_file {
            authenticator.load_cache(file).await;
            tokens::report_while_none(settings, &authenticator, &log, supervisor);
        }
        let intake = Intake::new(
            Arc::clone(&adapters.queue),
            Arc::clone(&authenticator),
            Arc::clone(&log),
            settings.intake.clone(),
            location::visitors(settings, &log, supervisor).await?,
        );
        let intake = with_rules(intake, settings)?
            .with_baseline(baseline)
            .with_throttle(Arc::clone(&throttle));
        // From the first request on, `/health` and `/ready` answer with the figures read here, and
        // later by the task that publishes gauges, where a failure is also logged.
        let _ = metrics.observe_queue(&*adapters.queue).await;

        // Parts stop in the order of their start, which is the direction of the events: first
        // accept nothing more, then store or release what is in hand, and report it until the end.
        let intake = Arc::new(intake);
        let history = history(&adapters, &metrics);
        let queries = Arc::new(Queries::default());
        let served =
            Served { intake, history: Arc::clone(&history), queries: Arc::clone(&queries) };
        listeners.serve(settings, &adapters, served, stopping, supervisor);
        adapters.start(supervisor);
        if let Some(writer) = writer {
            supervisor
                .spawn("baseline writer", |stop| finish(async move { writer.run(stop).await }));
        }
        start_worker(settings, &adapters, &log, supervisor);
        if let Some(file) = tokens_file {
            supervisor.spawn("file of known tokens", |stop| {
                finish(async move { authenticator.save_cache(&file, stop).await })
            });
        }
        if let Some(verifier) = verifier {
            supervisor.spawn("verifier", |stop| finish(async move { verifier.run(stop).await }));
        }
        check_redis(settings, supervisor);
        let Adapters { queue, store, presence, own_tokens: tokens, debug_bus, .. } = adapters;
        let alerts = DaemonAlerts::of(settings, address);
        start_gauges(&log, &queue, throttle, &history, alerts, supervisor);
        let privacy = settings.privacy.ip;
        Ok(Self {
            address,
            tokens,
            debug_bus,
            metrics,
            queue,
            store,
            presence,
            history,
            queries,
            privacy,
            log,
        })
    }

    /// The address of the HTTP server.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The tokens created here.
    pub(super) fn tokens(&self) -> &dyn TokenStore {
        &*self.tokens
    }

    /// Its metrics.
    pub(super) fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// What its console can query and change.
    pub(super) fn backend(&self) -> Arc<dyn Backend> {
        let log = Arc::clone(&self.log);
        let log_change = move |message, events: u64| {
            let data = || [("events".to_owned(), events.into())].into_iter().collect();
            log.step(Stage::Queue).warn(message, data);
        };
        Arc::new(LocalBackend {
            queue: Arc::clone(&self.queue),
            store: self.store.clone(),
            presence: self.presence.clone(),
            debug_bus: Arc::clone(&self.debug_bus),
            metrics: Some(self.metrics()),
            history: Arc::clone(&self.history),
            queries: Arc::clone(&self.queries),
            privacy: self.privacy,
            log_change: Arc::new(log_change),
        })
    }

    /// Its debug lines and gauges.
    pub(super) fn debug_bus(&self) -> &dyn DebugBus {
        &*self.debug_bus
    }
}

/// The intake with the filters and the bounds of the settings.
fn with_rules(intake: Intake, settings: &Settings) -> Result<Intake> {
    Ok(intake.with_filters(filters::filters(settings)?).with_refused(&settings.refused))
}

/// Opens the adapters, and what counts and logs what happens.
fn open(
    settings: &Settings,
    data_dir: &DataDir,
) -> Result<(Adapters, Arc<Metrics>, Arc<Telemetry>)> {
    let metrics = Arc::new(Metrics::new());
    metrics.set_alarm_depth(settings.queue.alarm_depth);
    metrics.set_about(About {
        host: host_name(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        roles: settings.roles.iter().map(Role::as_str).collect::<Vec<_>>().join(","),
        since: Some(UtcMillis::now()),
    });
    if settings.roles.has(Role::Worker) {
        metrics.set_store(adapters::store_name(settings));
    }
    let adapters = Adapters::open(settings, data_dir.path(), &metrics)?;
    let lines = settings.debug_lines_per_second;
    let log = Telemetry::new(Arc::clone(&adapters.debug_bus), Arc::clone(&metrics), lines);
    Ok((adapters, metrics, Arc::new(log)))
}

/// The history of this process's figures.
fn history(adapters: &Adapters, metrics: &Metrics) -> Arc<FigureHistory> {
    let (own, shared) = (Arc::clone(&adapters.own_figures), adapters.shared_figures.clone());
    Arc::new(FigureHistory::new(metrics.process(), metrics.about(), own, shared))
}

fn authenticator(
    settings: &Settings,
    adapters: &Adapters,
    throttle: &Arc<Throttle>,
) -> Arc<Authenticator> {
    let authenticator = Authenticator::new(Arc::clone(&adapters.tokens))
        .with_settings(settings.auth.clone())
        .with_throttle(Arc::clone(throttle));
    Arc::new(authenticator)
}

/// Reports settings of Redis that may lose events.
fn check_redis(settings: &Settings, supervisor: &mut Supervisor) {
    if let Some((server, options)) = adapters::redis_and_queue(settings) {
        let alarm_depth = settings.queue.alarm_depth;
        supervisor.spawn("check of Redis", move |stop| {
            doctor::report_redis(server, options, alarm_depth, stop)
        });
    }
}

/// A task that cannot fail.
pub(super) async fn finish(task: impl Future<Output = ()>) -> Result<()> {
    task.await;
    Ok(())
}

/// What publishes the figures, and what keeps their history.
fn start_gauges(
    log: &Arc<Telemetry>,
    queue: &Arc<dyn Queue>,
    throttle: Arc<Throttle>,
    history: &Arc<FigureHistory>,
    alerts: Option<DaemonAlerts>,
    supervisor: &mut Supervisor,
) {
    let (log, queue, counted) = (Arc::clone(log), Arc::clone(queue), Arc::clone(history));
    supervisor.spawn("gauges", |stop| gauges::publish(log, queue, throttle, counted, alerts, stop));
    let kept = Arc::clone(history);
    supervisor.spawn("history of figures", |stop| finish(async move { kept.keep(stop).await }));
}

/// The worker, where it is among the roles.
fn start_worker(
    settings: &Settings,
    adapters: &Adapters,
    log: &Arc<Telemetry>,
    supervisor: &mut Supervisor,
) {
    let Some(store) = &adapters.store else {
        for part in [Part::Store, Part::Worker] {
            log.metrics().set_health(part, Health::Absent);
        }
        return;
    };
    let context = WorkerContext {
        queue: Arc::clone(&adapters.queue),
        store: Arc::clone(store),
        definitions: Arc::clone(&adapters.definitions),
        live_bus: Arc::clone(&adapters.live_bus),
        presence: adapters.presence.clone(),
        log: Arc::clone(log),
        time_bounds: settings.intake.time_bounds(),
        privacy: settings.privacy.ip,
        settings: settings.worker.clone(),
    };
    supervisor.spawn("worker", |stop| finish(worker::run(context, stop)));
}

/// What inserts events past the queue, and what compares both paths; `None` without dual write.
fn dual_write(
    settings: &Settings,
    adapters: &Adapters,
    log: &Arc<Telemetry>,
) -> Option<(BaselineSender, (BaselineWriter, LiveVerifier))> {
    let store = adapters.baseline.as_ref()?;
    tracing::info!("dual write is on: events are also inserted past the queue, and compared");
    let pending = Arc::new(Pending::default());
    let definitions = Arc::clone(&adapters.definitions);
    let (sender, writer) =
        BaselineWriter::new(Arc::clone(store), definitions, log.metrics(), &pending);
    let verifier = LiveVerifier::new(
        Arc::clone(store),
        Arc::clone(&adapters.queue),
        Arc::clone(log),
        settings.verify.settle,
        pending,
    );
    Some((sender, (writer, verifier)))
}
