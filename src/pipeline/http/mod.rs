//! The HTTP server: it accepts events and serves health, metrics, the debug stream and the API of
//! consoles. [`ROUTES`] is the table of routes, with who may call each.
//!
//! - `batch`: `POST /batch`
//! - `body`: reads request bodies within bounds
//! - `charset`: the character encoding of request bodies
//! - `cors`: which responses pages of other sites may read; preflights
//! - `debug_stream`: `GET /api/debug-stream`
//! - `encoding`: decompresses bodies
//! - `event_api`: `GET /api/event`
//! - `history_api`: `GET /api/history`
//! - `ingest`: `POST /track` and the other routes that accept events
//! - `live_view`: `GET /api/live`
//! - `queue_api`: `/api/queue…`
//! - `playground`: `GET /playground`
//! - `ready`: `GET /ready`
//! - `refusal`: why a request is refused, and the status code
//! - `refused_api`: `GET /api/refused`
//! - `response`: builds responses
//! - `routes`: the table of routes, dispatch and permissions
//! - `server`: connections
//! - `settings`: the server's settings
//! - `sql_api`: `/api/sql…`
//! - `status`: `GET /health` and `GET /metrics`
//! - `tracker`: `GET /tracker.js`
//! - `who_api`: `GET /api/who`

mod batch;
mod body;
mod charset;
mod cors;
mod debug_stream;
mod encoding;
mod event_api;
mod history_api;
mod ingest;
mod live_view;
mod playground;
mod queue_api;
mod ready;
mod refusal;
mod refused_api;
mod response;
mod routes;
mod server;
mod settings;
mod sql_api;
mod status;
mod tracker;
mod who_api;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Instant;

use hyper::HeaderMap;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use bklit_net::log_throttle::LogThrottle;
use bklit_wire::debug_bus::DebugBus;

use crate::history::FigureHistory;
use crate::intake::Intake;
use crate::intake::visitor::Client;
use crate::presence::Presence;
use crate::roles::Roles;
use crate::server::access::Caller;
use crate::server::tls::ServerTls;
use crate::sql::Queries;
use crate::store::Store;

pub use routes::{Access, ROUTES, Route};
pub use server::serve;
pub use settings::{HttpSettings, Playground};

/// What the server's handlers share.
pub struct HttpContext {
    intake: Arc<Intake>,
    debug_bus: Arc<dyn DebugBus>,
    settings: HttpSettings,
    /// For queries, if this process has a store.
    store: Option<Arc<dyn Store>>,
    presence: Option<Arc<dyn Presence>>,
    /// The last live view; locked while it is being queried.
    live: tokio::sync::Mutex<live_view::Last>,
    /// Held during an event lookup.
    lookups: tokio::sync::Mutex<()>,
    /// The queries of operators that are running in this process.
    queries: Arc<Queries>,
    history: Option<Arc<FigureHistory>>,
    started: Instant,
    /// Open debug streams.
    streams: AtomicUsize,
    batches: batch::BatchLimits,
    /// When preflights that failed, and sites that a token does not allow, were logged.
    failed_preflights: LogThrottle,
    rejected_origins: LogThrottle,
    /// Where the playground finds the token of the first start.
    data_dir: Option<PathBuf>,
    roles: Roles,
    /// Whether the WebSocket server runs, if that is one of the roles.
    serves_sockets: bool,
    /// Cancelled when the process is about to stop, before the server is.
    stopping: CancellationToken,
    tls: Option<Arc<ServerTls>>,
}

impl HttpContext {
    /// The context of a server whose uptime counts from now.
    pub fn new(intake: Arc<Intake>, debug_bus: Arc<dyn DebugBus>, settings: HttpSettings) -> Self {
        Self {
            intake,
            debug_bus,
            settings,
            store: None,
            presence: None,
            live: tokio::sync::Mutex::default(),
            lookups: tokio::sync::Mutex::default(),
            queries: Arc::default(),
            history: None,
            started: Instant::now(),
            streams: AtomicUsize::new(0),
            batches: batch::BatchLimits::default(),
            failed_preflights: LogThrottle::default(),
            rejected_origins: LogThrottle::default(),
            data_dir: None,
            roles: Roles::ALL,
            serves_sockets: true,
            stopping: CancellationToken::new(),
            tls: None,
        }
    }

    /// Sets the process's roles; without ingestion no events are accepted. Once `stopping` is
    /// cancelled, `/ready` reports that the process is about to stop.
    #[must_use]
    pub fn in_process(self, roles: Roles, stopping: CancellationToken) -> Self {
        Self { roles, stopping, ..self }
    }

    /// Sets whether the WebSocket server runs: it does not if its default address is in use.
    #[must_use]
    pub fn serving_sockets(self, serves_sockets: bool) -> Self {
        Self { serves_sockets, ..self }
    }

    /// Fills in the playground's token from this data dir.
    #[must_use]
    pub fn with_data_dir(self, data_dir: &Path) -> Self {
        Self { data_dir: Some(data_dir.to_owned()), ..self }
    }

    /// Serves over TLS, if given.
    #[must_use]
    pub fn over_tls(self, tls: Option<Arc<ServerTls>>) -> Self {
        Self { tls, ..self }
    }

    /// Serves the history of figures.
    #[must_use]
    pub fn with_history(self, history: Arc<FigureHistory>) -> Self {
        Self { history: Some(history), ..self }
    }

    /// Runs queries in the slots that other users of this process share.
    #[must_use]
    pub fn with_queries(self, queries: Arc<Queries>) -> Self {
        Self { queries, ..self }
    }

    /// Enables the live view.
    #[must_use]
    pub fn with_store(
        self,
        store: Option<Arc<dyn Store>>,
        presence: Option<Arc<dyn Presence>>,
    ) -> Self {
        Self { store, presence, ..self }
    }
}

/// A client's connection.
struct Peer {
    context: Arc<HttpContext>,
    /// The other end.
    ip: IpAddr,
    /// Whether the server listens on loopback only.
    loopback_only: bool,
    /// Set if the client may still be sending a body that is not read: closing the connection then
    /// could lose the response.
    linger: Arc<AtomicBool>,
    /// Ends the streams.
    shutdown: CancellationToken,
    /// The tasks of debug streams.
    streams: TaskTracker,
}

/// When a request arrived, and from whom.
#[derive(Clone, Copy)]
struct Arrival {
    /// When its head had arrived.
    began: Instant,
    client: Client,
}

impl Peer {
    /// Who sent a request with these headers.
    fn client(&self, headers: &HeaderMap) -> Client {
        self.context.intake.visitors().client(self.ip, headers)
    }

    fn caller(&self, headers: &HeaderMap) -> Caller<'_> {
        Caller {
            authenticator: self.context.intake.authenticator(),
            ip: self.client(headers).ip,
            loopback_only: self.loopback_only,
            behind_proxies: self.context.intake.visitors().behind_proxies(),
        }
    }

    /// The entry `peer` of a line about a request: the client's address, as far as it may be shown.
    fn shown(&self, client: IpAddr) -> Option<(String, Value)> {
        let ip = self.context.intake.visitors().shown(client)?;
        Some(("peer".to_owned(), ip.into()))
    }
}
