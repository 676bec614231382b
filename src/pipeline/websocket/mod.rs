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

mod absence;
mod browser;
mod dashboard;
mod handshake;
mod message;
mod server;
mod sessions;
mod socket;

use std::net::IpAddr;
use std::sync::Arc;

use hyper::http::request::Parts;
use tokio_util::sync::CancellationToken;

use super::bus::LiveBus;
use super::debug_log::Stage;
use super::http::{Client, HttpContext};
use super::stage_log::{Data, Step};
use crate::config::WebSocketSettings;
use absence::Absences;
use handshake::Kind;
use sessions::Sessions;
use socket::Socket;

pub use server::serve;

/// What the server works with.
pub struct WebSocketContext {
    /// The way in that it shares with the HTTP server.
    http: Arc<HttpContext>,
    live_bus: Arc<dyn LiveBus>,
    settings: WebSocketSettings,
    /// Of browsers that may send.
    sessions: Arc<Sessions>,
    /// Of browsers that have left.
    absences: Absences,
}

impl WebSocketContext {
    /// A server's parts.
    pub fn new(
        http: Arc<HttpContext>,
        live_bus: Arc<dyn LiveBus>,
        settings: WebSocketSettings,
    ) -> Self {
        let absences = Absences::new(settings.session_grace);
        Self { http, live_bus, settings, sessions: Arc::default(), absences }
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
    fn client(&self) -> Client<'_> {
        Client { context: &self.context.http, ip: self.ip, loopback_only: self.loopback_only }
    }

    fn step<'a>(&'a self, project: Option<&'a str>) -> Step<'a> {
        let step = self.context.http.log.step(Stage::Websocket);
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
