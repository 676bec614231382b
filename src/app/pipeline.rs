//! The pipeline's parts, wired: which adapters, started in order, stopped in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use color_eyre::eyre::{Result, WrapErr};
use tokio::net::TcpListener;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::adapters::{self, Adapters};
use super::alerts::DaemonAlerts;
use super::data_dir::DataDir;
use super::lifecycle::Supervisor;
use super::tokens;
use crate::config::Settings;
use bklit_net::log_throttle::{LogThrottle, seconds};
use bklit_pipeline::auth::{Authenticator, TokenStore};
use bklit_pipeline::http;
use bklit_pipeline::http::HttpContext;
use bklit_pipeline::intake::Intake;
use bklit_pipeline::local_backend::LocalBackend;
use bklit_pipeline::metrics::{Metrics, Part};
use bklit_pipeline::presence::Presence;
use bklit_pipeline::queue::Queue;
use bklit_pipeline::roles::Role;
use bklit_pipeline::server::Limits;
use bklit_pipeline::store::Store;
use bklit_pipeline::telemetry::Telemetry;
use bklit_pipeline::verify::{BaselineSender, BaselineWriter, LiveVerifier, Pending};
use bklit_pipeline::websocket;
use bklit_pipeline::websocket::WebSocketContext;
use bklit_pipeline::websocket::WebSocketSettings;
use bklit_pipeline::worker;
use bklit_pipeline::worker::WorkerContext;
use bklit_wire::backend::Backend;
use bklit_wire::debug_bus::DebugBus;
use bklit_wire::debug_log::Stage;
use bklit_wire::gauges::Health;

/// How often figures are published.
const GAUGES_EVERY: Duration = Duration::from_secs(1);

/// A running pipeline.
pub(super) struct Pipeline {
    address: SocketAddr,
    own_tokens: Arc<dyn TokenStore>,
    debug_bus: Arc<dyn DebugBus>,
    metrics: Arc<Metrics>,
    queue: Arc<dyn Queue>,
    store: Option<Arc<dyn Store>>,
    presence: Option<Arc<dyn Presence>>,
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
        let metrics = Arc::new(Metrics::new());
        metrics.set_alarm_depth(settings.queue.alarm_depth);
        if settings.roles.has(Role::Worker) {
            metrics.set_store(adapters::store_name(settings));
        }
        let adapters = Adapters::open(settings, data_dir.path(), &metrics)?;
        let log = Arc::new(Telemetry::new(
            Arc::clone(&adapters.debug_bus),
            Arc::clone(&metrics),
            settings.debug_lines_per_second,
        ));
        if settings.roles.has(Role::Ingestion) {
            tokens::make_first(settings, &adapters.own_tokens, data_dir.path(), supervisor).await?;
        }

        let listener = TcpListener::bind(settings.listen).await.wrap_err_with(|| {
            format!("cannot listen on {}; choose another address with --listen", settings.listen)
        })?;
        let websocket_listener = listen_websocket(settings, data_dir).await?;
        let address = listener.local_addr()?;
        // Last: who waits for this file finds the rest in place.
        data_dir.announce(address)?;
        tell_start(settings, address, data_dir)?;

        let (baseline, comparison) = dual_write(settings, &adapters, &log).unzip();
        let authenticator = Arc::new(Authenticator::new(Arc::clone(&adapters.tokens)));
        let tokens_file = adapters::tokens_are_elsewhere(settings)
            .then(|| data_dir.join(adapters::KNOWN_TOKENS_FILE));
        if let Some(file) = &tokens_file {
            authenticator.load_cache(file).await;
            tokens::tell_if_none(settings, &authenticator, &log, supervisor);
        }
        let queue = Arc::clone(&adapters.queue);
        let tokens = Arc::clone(&authenticator);
        let trusts = settings.http.trust_forwarded;
        let intake = Intake::new(queue, tokens, Arc::clone(&log), trusts).with_baseline(baseline);
        let intake = Arc::new(intake);
        let context = http_context(settings, &adapters, &intake, stopping);
        let context = context.serving_sockets(websocket_listener.is_some());
        // From the first request on, `/health` and `/ready` answer from what is seen here and then
        // once a second, where a failure is also logged.
        let _ = metrics.observe_queue(&*adapters.queue).await;
        // Started, and so stopped, in the direction of the events: accept nothing more, then
        // store or give back what is in hand, and tell about it until the end. Every process
        // listens, whatever its roles, to be watched.
        supervisor.spawn("HTTP server", |stop| async move {
            http::serve(listener, Arc::new(context), stop).await.map_err(Into::into)
        });
        if let Some(listener) = websocket_listener {
            start_websocket(listener, intake, settings, &adapters, supervisor);
        }
        adapters.start(supervisor);
        let (writer, verifier) = comparison.unzip();
        if let Some(writer) = writer {
            supervisor.spawn("baseline writer", |stop| async move {
                writer.run(stop).await;
                Ok(())
            });
        }
        start_worker(settings, &adapters, &log, supervisor);
        if let Some(file) = tokens_file {
            supervisor.spawn("note of known tokens", |stop| async move {
                authenticator.save_cache(&file, stop).await;
                Ok(())
            });
        }
        if let Some(verifier) = verifier {
            supervisor.spawn("verifier", |stop| async move {
                verifier.run(stop).await;
                Ok(())
            });
        }
        let Adapters { queue, store, presence, own_tokens, debug_bus, .. } = adapters;
        let (figures, seen) = (Arc::clone(&log), Arc::clone(&queue));
        let alerts = DaemonAlerts::of(settings, address);
        supervisor.spawn("gauges", |stop| publish_gauges(figures, seen, alerts, stop));
        Ok(Self { address, own_tokens, debug_bus, metrics, queue, store, presence, log })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its own tokens.
    pub(super) fn tokens(&self) -> &dyn TokenStore {
        &*self.own_tokens
    }

    /// What it counts.
    pub(super) fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// What its console can ask.
    pub(super) fn backend(&self) -> Arc<dyn Backend> {
        let log = Arc::clone(&self.log);
        let told = move |message, events: u64| {
            let data = || [("events".to_owned(), events.into())].into_iter().collect();
            log.step(Stage::Queue).warn(message, data);
        };
        Arc::new(LocalBackend {
            queue: Arc::clone(&self.queue),
            store: self.store.clone(),
            presence: self.presence.clone(),
            debug_bus: Arc::clone(&self.debug_bus),
            log_change: Arc::new(told),
        })
    }

    /// Its lines and figures.
    pub(super) fn debug_bus(&self) -> &dyn DebugBus {
        &*self.debug_bus
    }
}

fn http_context(
    settings: &Settings,
    adapters: &Adapters,
    intake: &Arc<Intake>,
    stopping: &CancellationToken,
) -> HttpContext {
    let debug_bus = Arc::clone(&adapters.debug_bus);
    HttpContext::new(Arc::clone(intake), debug_bus, settings.http.clone())
        .in_process(settings.roles, stopping.clone())
        .with_store(adapters.store.clone(), adapters.presence.clone())
}

fn start_websocket(
    listener: TcpListener,
    intake: Arc<Intake>,
    settings: &Settings,
    adapters: &Adapters,
    supervisor: &mut Supervisor,
) {
    let live_bus = Arc::clone(&adapters.live_bus);
    let http = &settings.http;
    let limits =
        Limits { header_timeout: http.header_timeout, max_body_bytes: http.max_body_bytes };
    let context = WebSocketContext::new(intake, live_bus, settings.websocket.clone(), limits);
    let context = Arc::new(context);
    // Both servers drain at the same time: the worker needs what is left.
    supervisor.spawn_beside("WebSocket server", |stop| async move {
        websocket::serve(listener, context, stop).await.map_err(Into::into)
    });
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
        settings: settings.worker.clone(),
    };
    supervisor.spawn("worker", |stop| async move {
        worker::run(context, stop).await;
        Ok(())
    });
}

fn tell_start(settings: &Settings, address: SocketAddr, data_dir: &DataDir) -> Result<()> {
    let adapters_are = adapters::describe(settings)?;
    let data_dir = data_dir.path().display();
    if settings.roles.has(Role::Ingestion) {
        tracing::info!(%address, %data_dir, adapters_are, "accepting events");
        return Ok(());
    }
    let roles = settings.roles.iter().map(Role::as_str).collect::<Vec<_>>().join(",");
    tracing::info!(%address, %data_dir, adapters_are, roles, "running without ingestion");
    Ok(())
}

/// The WebSocket server's listener. Somebody who did not ask for one need not care that another
/// program has its usual port.
async fn listen_websocket(settings: &Settings, data_dir: &DataDir) -> Result<Option<TcpListener>> {
    if !settings.roles.has(Role::Websocket) {
        return Ok(None);
    }
    let asked = settings.websocket.listen;
    let address = asked.unwrap_or(WebSocketSettings::DEFAULT_LISTEN);
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) if asked.is_none() => {
            tracing::warn!(
                %address, %error,
                "no WebSocket server: cannot listen there; choose an address with --websocket-listen"
            );
            return Ok(None);
        }
        Err(error) => {
            return Err(error).wrap_err_with(|| {
                format!(
                    "cannot listen on {address}; choose another address with --websocket-listen"
                )
            });
        }
    };
    let address = listener.local_addr()?;
    data_dir.announce_websocket(address)?;
    tracing::info!(%address, "serving browsers and dashboards");
    Ok(Some(listener))
}

/// What inserts events past the queue, and what compares both ways; `None` where that is off.
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

/// Looks at the queue, publishes the figures and sees whether they are an alert, once a second.
async fn publish_gauges(
    log: Arc<Telemetry>,
    queue: Arc<dyn Queue>,
    mut alerts: Option<DaemonAlerts>,
    stop: CancellationToken,
) -> Result<()> {
    let mut ticks = tokio::time::interval(GAUGES_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let unknown = LogThrottle::default();
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        match log.metrics().observe_queue(&*queue).await {
            Ok(()) => {
                if let Some(lasted) = unknown.recovered().map(seconds) {
                    tracing::info!(lasted, "the queue's depth is known again");
                }
            }
            Err(error) => {
                if let Some(lasting) = unknown.failure().map(seconds) {
                    tracing::warn!(%error, lasting, "the queue's depth is not known");
                }
            }
        }
        let gauges = log.publish_gauges();
        if let Some(alerts) = &mut alerts {
            alerts.take(&gauges);
        }
    }
    Ok(())
}
