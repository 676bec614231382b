//! The HTTP and the WebSocket server of a pipeline: their addresses and their tasks.

use std::net::SocketAddr;
use std::sync::Arc;

use color_eyre::eyre::{Result, WrapErr};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::adapters::{self, Adapters};
use super::data_dir::DataDir;
use super::lifecycle::Supervisor;
use super::pipeline::finish;
use crate::config::Settings;
use bklit_pipeline::history::FigureHistory;
use bklit_pipeline::http;
use bklit_pipeline::http::{HttpContext, Playground};
use bklit_pipeline::intake::Intake;
use bklit_pipeline::roles::Role;
use bklit_pipeline::server::Limits;
use bklit_pipeline::server::tls::ServerTls;
use bklit_pipeline::sql::Queries;
use bklit_pipeline::websocket;
use bklit_pipeline::websocket::WebSocketContext;
use bklit_pipeline::websocket::WebSocketSettings;

/// The certificate and key of the servers, if they are set.
fn load_tls(settings: &Settings) -> Result<Option<Arc<ServerTls>>> {
    // The settings have both or neither.
    let (Some(certificate), Some(key)) = (&settings.tls_cert, &settings.tls_key) else {
        return Ok(None);
    };
    Ok(Some(Arc::new(ServerTls::load(certificate, key)?)))
}

/// What the servers share with other parts of the process.
pub(super) struct Served {
    /// Accepts events.
    pub(super) intake: Arc<Intake>,
    /// The history of figures.
    pub(super) history: Arc<FigureHistory>,
    /// The queries of operators that are running.
    pub(super) queries: Arc<Queries>,
}

/// The sockets of this process. Every process has the HTTP one, whatever its roles, so that consoles
/// can attach.
pub(super) struct Listeners {
    http: TcpListener,
    /// The address of the HTTP server.
    pub(super) address: SocketAddr,
    websocket: Option<TcpListener>,
    tls: Option<Arc<ServerTls>>,
}

impl Listeners {
    /// Loads the certificate and listens.
    pub(super) async fn bind(settings: &Settings, data_dir: &DataDir) -> Result<Self> {
        let tls = load_tls(settings)?;
        let http = TcpListener::bind(settings.listen).await.wrap_err_with(|| {
            format!("cannot listen on {}; choose another address with --listen", settings.listen)
        })?;
        let websocket = listen_websocket(settings, data_dir).await?;
        let address = http.local_addr()?;
        // Last: scripts wait for this file and then rely on the other files.
        data_dir.announce(address)?;
        log_start(settings, address, data_dir)?;
        Ok(Self { http, address, websocket, tls })
    }

    /// Starts the servers.
    pub(super) fn serve(
        self,
        settings: &Settings,
        adapters: &Adapters,
        served: Served,
        stopping: &CancellationToken,
        supervisor: &mut Supervisor,
    ) {
        let Served { intake, history, queries } = served;
        let (debug_bus, tls) = (Arc::clone(&adapters.debug_bus), self.tls);
        let context = HttpContext::new(Arc::clone(&intake), debug_bus, settings.http.clone())
            .in_process(settings.roles, stopping.clone())
            .with_data_dir(&settings.data_dir)
            .with_history(history)
            .with_queries(queries)
            .with_store(adapters.store.clone(), adapters.presence.clone())
            .serving_sockets(self.websocket.is_some())
            .over_tls(tls.clone().filter(|_| settings.http.tls));
        let listener = self.http;
        supervisor.spawn("HTTP server", |stop| async move {
            http::serve(listener, Arc::new(context), stop).await.map_err(Into::into)
        });
        if let Some(listener) = self.websocket {
            start_websocket(listener, intake, tls.clone(), settings, adapters, supervisor);
        }
        if let Some(tls) = tls {
            supervisor.spawn_in_group("TLS certificate", |stop| finish(tls.watch(stop)));
        }
    }
}

fn start_websocket(
    listener: TcpListener,
    intake: Arc<Intake>,
    tls: Option<Arc<ServerTls>>,
    settings: &Settings,
    adapters: &Adapters,
    supervisor: &mut Supervisor,
) {
    let live_bus = Arc::clone(&adapters.live_bus);
    let http = &settings.http;
    let limits =
        Limits { header_timeout: http.header_timeout, max_body_bytes: http.max_body_bytes };
    let context = WebSocketContext::new(intake, live_bus, settings.websocket.clone(), limits);
    let context = Arc::new(context.over_tls(tls));
    // Both servers drain at the same time: the worker needs the rest of the time.
    supervisor.spawn_in_group("WebSocket server", |stop| async move {
        websocket::serve(listener, context, stop).await.map_err(Into::into)
    });
}

fn log_start(settings: &Settings, address: SocketAddr, data_dir: &DataDir) -> Result<()> {
    if settings.http.playground != Playground::Off {
        tracing::info!("serving the playground: http://{address}/playground");
    }
    let adapters = adapters::describe(settings)?;
    let data_dir = data_dir.path().display();
    if settings.roles.has(Role::Ingestion) {
        tracing::info!(%address, %data_dir, adapters, "accepting events");
        return Ok(());
    }
    let roles = settings.roles.iter().map(Role::as_str).collect::<Vec<_>>().join(",");
    tracing::info!(%address, %data_dir, adapters, roles, "running without ingestion");
    Ok(())
}

/// The WebSocket server's listener. At its default address it is optional: another program may have
/// that port.
async fn listen_websocket(settings: &Settings, data_dir: &DataDir) -> Result<Option<TcpListener>> {
    if !settings.roles.has(Role::Websocket) {
        return Ok(None);
    }
    let configured = settings.websocket.listen;
    let address = configured.unwrap_or(WebSocketSettings::DEFAULT_LISTEN);
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) if configured.is_none() => {
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
