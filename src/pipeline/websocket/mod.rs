//! The WebSocket server: visitors' browsers send events, dashboards see them live.
//!
//! | address | who may |
//! | --- | --- |
//! | `/?projectId=P&sessionId=S` | browsers; they send with an ingest token of the project |
//! | `/dashboard?projectId=P` | readers as over HTTP, and pages of the allowed origins |
//!
//! A browser's messages are taken in one after the other, by the way that HTTP requests go; what
//! is not read yet waits in the client. A dashboard that is too slow loses events and is told how
//! many.

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

/// What the server works with.
pub struct WebSocketContext {
    intake: Arc<Intake>,
    live_bus: Arc<dyn LiveBus>,
    settings: WebSocketSettings,
    limits: Limits,
    /// Of browsers that may send.
    sessions: Arc<Sessions>,
    /// Of browsers that have left.
    disconnect_grace: DisconnectGrace,
}

impl WebSocketContext {
    /// A server's parts.
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

/// Who opened a socket.
struct Guest {
    context: Arc<WebSocketContext>,
    /// The request that opened it.
    head: Parts,
    ip: IpAddr,
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
            trust_forwarded: intake.trusts_forwarded(),
        }
    }

    fn sender<'a>(&'a self, token: Option<&'a TokenRecord>, began: Instant) -> Sender<'a> {
        Sender { ip: self.ip, headers: &self.head.headers, token, began }
    }

    fn step<'a>(&'a self, project: Option<&'a str>) -> Step<'a> {
        let step = self.context.intake.log().step(Stage::Websocket);
        match project {
            Some(project) => step.project(project),
            None => step,
        }
    }

    /// Closes a socket that may not stay, and tells of it.
    async fn refuse(&self, socket: &mut Socket, kind: Kind, project: Option<&str>, reason: &str) {
        self.step(project).warn("Socket refused", || {
            self.details([("kind", kind.as_str().into()), ("error", reason.into())])
        });
        socket.close(socket::POLICY, reason).await;
    }

    fn details<const N: usize>(&self, more: [(&str, serde_json::Value); N]) -> Data {
        let peer = [("peer", self.ip.to_string().into())];
        more.into_iter().chain(peer).map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
