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

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use hyper::http::request::Parts;
use tokio_util::sync::CancellationToken;

use super::auth::TokenRecord;
use super::bus::LiveBus;
use super::intake::visitor::Visitor;
use super::intake::{Intake, Sender};
use super::server::Limits;
use super::server::access::Caller;
use super::telemetry::{Data, Step};
use bklit_wire::debug_log::Stage;
use disconnect_grace::DisconnectGrace;
use handshake::Kind;
use sessions::Sessions;
use socket::Socket;

pub use server::serve;
pub use settings::WebSocketSettings;

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
        Self { intake, live_bus, settings, limits, sessions: Arc::default(), disconnect_grace }
    }
}

/// The client that opened a socket.
struct Guest {
    context: Arc<WebSocketContext>,
    /// The request that opened it.
    head: Parts,
    /// The other end of the connection.
    ip: IpAddr,
    visitor: Visitor,
    loopback_only: bool,
    shutdown: CancellationToken,
}

impl Guest {
    fn caller(&self) -> Caller<'_> {
        let intake = &self.context.intake;
        Caller {
            authenticator: intake.authenticator(),
            ip: self.ip,
            loopback_only: self.loopback_only,
            behind_proxies: intake.visitors().behind_proxies(),
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

    /// Closes a socket that is not allowed, and logs it.
    async fn refuse(&self, socket: &mut Socket, kind: Kind, project: Option<&str>, reason: &str) {
        self.step(project).warn("Socket refused", || {
            self.details([("kind", kind.as_str().into()), ("error", reason.into())])
        });
        socket.close(socket::POLICY, reason).await;
    }

    fn details<const N: usize>(&self, more: [(&str, serde_json::Value); N]) -> Data {
        let peer = self.visitor.shown_ip().map(|ip| ("peer", ip.into()));
        more.into_iter().chain(peer).map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
