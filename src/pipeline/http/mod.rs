//! The HTTP server: events come in, health, metrics and the debug stream go out.
//!
//! [`ROUTES`] is the table of routes, with who may call each.

mod body;
mod debug_stream;
mod event_api;
mod ingest;
mod live_view;
mod queue_api;
mod ready;
mod refusal;
mod response;
mod routes;
mod server;
mod settings;
mod status;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Instant;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use bklit_wire::debug_bus::DebugBus;

use crate::intake::Intake;
use crate::presence::Presence;
use crate::roles::Roles;
use crate::server::access::Caller;
use crate::store::Store;

pub use routes::{Access, ROUTES, Route};
pub use server::serve;
pub use settings::HttpSettings;

/// What the server works with.
pub struct HttpContext {
    intake: Arc<Intake>,
    debug_bus: Arc<dyn DebugBus>,
    settings: HttpSettings,
    /// To ask who is there now, where this process has it.
    store: Option<Arc<dyn Store>>,
    presence: Option<Arc<dyn Presence>>,
    /// Such a question is being answered.
    live: tokio::sync::Mutex<live_view::Last>,
    /// Held by who looks for an event.
    lookups: tokio::sync::Mutex<()>,
    started: Instant,
    /// Open debug streams.
    streams: AtomicUsize,
    roles: Roles,
    /// Whether the WebSocket server runs, where it is among the roles.
    serves_sockets: bool,
    /// Cancelled when the process is about to stop, before the server is.
    stopping: CancellationToken,
}

impl HttpContext {
    /// A server's parts; its uptime counts from here.
    pub fn new(intake: Arc<Intake>, debug_bus: Arc<dyn DebugBus>, settings: HttpSettings) -> Self {
        Self {
            intake,
            debug_bus,
            settings,
            store: None,
            presence: None,
            live: tokio::sync::Mutex::default(),
            lookups: tokio::sync::Mutex::default(),
            started: Instant::now(),
            streams: AtomicUsize::new(0),
            roles: Roles::ALL,
            serves_sockets: true,
            stopping: CancellationToken::new(),
        }
    }

    /// The same in a process with these roles, which is about to stop once `stopping` is
    /// cancelled. Without the role of ingestion no events are accepted.
    #[must_use]
    pub fn in_process(self, roles: Roles, stopping: CancellationToken) -> Self {
        Self { roles, stopping, ..self }
    }

    /// Whether the WebSocket server of that role runs: it is done without where its usual address
    /// is taken.
    #[must_use]
    pub fn serving_sockets(self, serves_sockets: bool) -> Self {
        Self { serves_sockets, ..self }
    }

    /// Also answers who is there now.
    #[must_use]
    pub fn with_store(
        self,
        store: Option<Arc<dyn Store>>,
        presence: Option<Arc<dyn Presence>>,
    ) -> Self {
        Self { store, presence, ..self }
    }
}

/// One client's connection.
struct Peer {
    context: Arc<HttpContext>,
    /// The other end.
    ip: IpAddr,
    /// The server listens on loopback only.
    loopback_only: bool,
    /// The client may still be sending a body that nobody reads: the connection must not be
    /// closed on it, or the answer gets lost on the way.
    linger: Arc<AtomicBool>,
    /// Streams end with it.
    shutdown: CancellationToken,
    /// The tasks of debug streams.
    streams: TaskTracker,
}

impl Peer {
    fn caller(&self) -> Caller<'_> {
        Caller {
            authenticator: self.context.intake.authenticator(),
            ip: self.ip,
            loopback_only: self.loopback_only,
            trust_forwarded: self.context.intake.trusts_forwarded(),
        }
    }
}
