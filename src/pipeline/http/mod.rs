//! The HTTP server: events come in, health, metrics and the debug stream go out.
//!
//! | route | who may |
//! | --- | --- |
//! | `POST /track`, `/api/track`, `/track-event` | an ingest token of the project |
//! | `POST /session-end` | the same, or without a token as `navigator.sendBeacon` sends it |
//! | `GET /health` | everybody; figures only for readers |
//! | `GET /ready` | everybody |
//! | `GET /metrics`, `GET /api/debug-stream` | readers: a read token, or this machine |
//! | `GET /api/queue`, `/api/queue/batch`, `/api/queue/failed`, `/api/event`, `/api/live` | readers of all projects |
//! | `POST /api/queue/failed/retry`, `/delete` | an admin token, or this machine |
//! | `OPTIONS` | everybody |

pub(super) mod access;
mod body;
pub(super) mod connections;
mod debug_stream;
mod enrich;
pub(super) mod envelope;
mod event;
pub(super) mod ingest;
mod live;
mod place;
mod queue;
mod ready;
pub(super) mod refusal;
mod response;
mod routes;
mod server;
pub(super) mod socket;
mod status;
pub mod validate;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Instant;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::auth::Authenticator;
use super::bus::{DebugBus, Presence};
use super::queue::Queue;
use super::stage_log::StageLog;
use super::store::Store;
use super::verify::BaselineSender;
use crate::config::{HttpSettings, Roles};

pub use server::serve;

/// What the server works with.
pub struct HttpContext {
    queue: Arc<dyn Queue>,
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) log: Arc<StageLog>,
    debug_bus: Arc<dyn DebugBus>,
    pub(super) settings: HttpSettings,
    /// Takes each accepted event, while both ways into the store are compared.
    baseline: Option<BaselineSender>,
    /// To ask who is there now, where this process has it.
    store: Option<Arc<dyn Store>>,
    presence: Option<Arc<dyn Presence>>,
    /// Such a question is being answered.
    live: tokio::sync::Mutex<live::Last>,
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
    pub fn new(
        queue: Arc<dyn Queue>,
        authenticator: Arc<Authenticator>,
        log: Arc<StageLog>,
        debug_bus: Arc<dyn DebugBus>,
        settings: HttpSettings,
    ) -> Self {
        Self {
            queue,
            authenticator,
            log,
            debug_bus,
            settings,
            baseline: None,
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

    /// Also hands accepted events over to be inserted past the queue.
    #[must_use]
    pub fn with_baseline(self, baseline: Option<BaselineSender>) -> Self {
        Self { baseline, ..self }
    }
}

/// Whom events come from and who wants to read, whichever server was asked.
#[derive(Clone, Copy)]
pub(super) struct Client<'a> {
    pub context: &'a HttpContext,
    /// The other end of the connection.
    pub ip: IpAddr,
    /// The server listens on loopback only.
    pub loopback_only: bool,
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
    fn client(&self) -> Client<'_> {
        Client { context: &self.context, ip: self.ip, loopback_only: self.loopback_only }
    }
}
