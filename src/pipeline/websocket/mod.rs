//! The WebSocket server: visitors' browsers send events, dashboards receive them live.
//!
//! | address | who may open it |
//! | --- | --- |
//! | `/?projectId=P&sessionId=S` | browsers; they send with an ingest token of the project |
//! | `/dashboard?projectId=P` | readers as over HTTP, and pages of the allowed origins |
//!
//! A browser's messages are handled one after the other, through the same intake as HTTP requests;
//! messages not read yet wait in the client. A dashboard that is too slow loses events and receives
//! their number.
//!
//! - `browser`: the socket of a visitor's browser
//! - `dashboard`: the socket of a dashboard
//! - `disconnect_grace`: ends sessions some time after their last socket
//! - `handshake`: turns a request into a socket
//! - `message`: the messages of a socket
//! - `server`: connections
//! - `sessions`: tracks which sessions have open sockets
//! - `settings`: the server's settings
//! - `socket`: one open socket

mod browser;
mod dashboard;
mod disconnect_grace;
mod handshake;
mod message;
mod server;
mod sessions;
mod settings;
mod socket;

use std::sync::Arc;
use std::time::Instant;

use hyper::header::ORIGIN;
use hyper::http::request::Parts;
use tokio_util::sync::CancellationToken;

use super::auth::TokenRecord;
use super::bus::LiveBus;
use super::intake::visitor::Visitor;
use super::intake::{Intake, Sender, validate};
use super::refused::clean;
use super::server::Limits;
use super::server::access::{Caller, is_from_this_machine, query};
use super::server::connection::Connection;
use super::server::tls::ServerTls;
use super::telemetry::{Data, Repeated, Step};
use bklit_wire::debug_log::Stage;
use disconnect_grace::DisconnectGrace;
use handshake::Kind;
use sessions::Sessions;
use socket::Socket;

pub use server::serve;
pub use settings::WebSocketSettings;

/// The longest origin that is logged, in characters.
const MAX_ORIGIN: usize = 200;

/// What the server's connections share.
pub struct WebSocketContext {
    intake: Arc<Intake>,
    live_bus: Arc<dyn LiveBus>,
    settings: WebSocketSettings,
    limits: Limits,
    /// Sessions of authenticated browsers.
    sessions: Arc<Sessions>,
    /// Sessions of disconnected browsers.
    disconnect_grace: DisconnectGrace,
    tls: Option<Arc<ServerTls>>,
}

impl WebSocketContext {
    /// The context of a server.
    pub fn new(
        intake: Arc<Intake>,
        live_bus: Arc<dyn LiveBus>,
        settings: WebSocketSettings,
        limits: Limits,
    ) -> Self {
        let disconnect_grace = DisconnectGrace::new(settings.session_grace);
        let sessions = Arc::default();
        Self { intake, live_bus, settings, limits, sessions, disconnect_grace, tls: None }
    }

    /// Serves over TLS, if given.
    #[must_use]
    pub fn over_tls(self, tls: Option<Arc<ServerTls>>) -> Self {
        Self { tls, ..self }
    }
}

/// The client that opened a socket.
struct Guest {
    context: Arc<WebSocketContext>,
    connection: Arc<Connection>,
    /// The request that opened it.
    head: Parts,
    visitor: Visitor,
    loopback_only: bool,
    shutdown: CancellationToken,
}

impl Guest {
    fn caller(&self) -> Caller<'_> {
        let intake = &self.context.intake;
        Caller {
            authenticator: intake.authenticator(),
            ip: self.visitor.ip(),
            loopback_only: self.loopback_only,
            behind_proxies: intake.visitors().behind_proxies(),
        }
    }

    /// Origins whose pages may open dashboards without a token. Without a setting, those of Bklit's
    /// dashboard on a developer's machine, for clients on this machine.
    fn allowed_origins(&self) -> Vec<&str> {
        match &self.context.settings.allowed_origins {
            Some(origins) => origins.iter().map(String::as_str).collect(),
            None if is_from_this_machine(self.caller(), &self.head) => {
                WebSocketSettings::DEFAULT_ORIGINS.to_vec()
            }
            None => Vec::new(),
        }
    }

    fn sender<'a>(&'a self, token: Option<&'a TokenRecord>, began: Instant) -> Sender<'a> {
        Sender { visitor: &self.visitor, headers: &self.head.headers, token, began }
    }

    fn step<'a>(&'a self, project: Option<&'a str>) -> Step<'a> {
        let step = self.context.intake.log().step(Stage::Websocket);
        match project {
            Some(project) => step.project(project),
            None => step,
        }
    }

    /// The origin that the client sent, for log lines.
    fn origin(&self) -> Option<String> {
        let origin = self.head.headers.get(ORIGIN)?;
        let origin = String::from_utf8_lossy(origin.as_bytes());
        Some(origin.chars().take(MAX_ORIGIN).collect())
    }

    /// Closes a socket that is not allowed, and logs it.
    async fn refuse(&self, socket: &mut Socket, kind: Kind, project: Option<&str>, reason: &str) {
        let repeated = Repeated::from_address("socket refused", self.visitor.ip());
        let of_address = |name| {
            let id = query(&self.head.uri, name).filter(|id| validate::id_problem(id).is_none())?;
            Some(clean(&id, self.visitor.ip()).into_owned())
        };
        let named = of_address("projectId");
        self.step(project.or(named.as_deref())).warn_repeated(repeated, "Socket refused", || {
            let mut data = self.details([("kind", kind.as_str().into()), ("error", reason.into())]);
            data.extend(
                of_address("sessionId").map(|session| ("sessionId".to_owned(), session.into())),
            );
            if let Some(origin) = self.origin() {
                data.insert("origin".to_owned(), origin.into());
            }
            if kind == Kind::Dashboard {
                data.insert("allowedOrigins".to_owned(), self.allowed_origins().into());
            }
            data
        });
        socket.close(socket::POLICY, reason).await;
    }

    fn details<const N: usize>(&self, more: [(&str, serde_json::Value); N]) -> Data {
        let peer = self.visitor.shown_ip().map(|ip| ("peer", ip.into()));
        more.into_iter().chain(peer).map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
