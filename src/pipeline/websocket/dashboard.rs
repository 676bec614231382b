//! The socket of a dashboard: it receives its project's events once they are stored.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::header::ORIGIN;
use tokio::time::{MissedTickBehavior, interval};
use tokio_tungstenite::tungstenite::Error;
use url::Url;

use super::handshake::Kind;
use super::message::{Live, Lost, ToClient};
use super::socket::{AGAIN, AWAY, POLICY, Received, Socket};
use super::{Guest, server};
use crate::auth::Denied;
use crate::bus::{LiveMessage, LiveStream};
use crate::intake::{Rejection, validate};
use crate::server::access;
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::time::UtcMillis;

/// How often the reader's permission is checked again, because its token may have been revoked, and
/// the number of delivered events is logged.
const RECHECK: Duration = Duration::from_secs(3);
/// The most messages that are written together.
const MAX_TOGETHER: usize = 64;
/// Why a socket is closed to make room for another.
const FULL: &str = "too many connections; try again later";

/// Serves a dashboard until its socket is closed by either side.
pub async fn serve(guest: Guest, mut socket: Socket) {
    let admitted = guest.connection.until_closing(admit(&guest)).await;
    let (project, way) = match admitted {
        Some(Ok(admitted)) => admitted,
        None => return socket.close_at_once(AGAIN, FULL),
        Some(Err(why)) => {
            let project = access::query(&guest.head.uri, "projectId");
            return guest.refuse(&mut socket, Kind::Dashboard, project.as_deref(), &why).await;
        }
    };
    guest.connection.keep();
    // Before the greeting: everything stored after the greeting is delivered.
    let source = guest.context.live_bus.subscribe();
    let counts = Counts::default();
    Dashboard { guest, socket, project, way, source, unreported: 0, counts }.run().await;
}

/// How a dashboard was authorized.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By its origin, which cannot change.
    Origin,
    /// As a reader, whose permission can end.
    Reader,
}

async fn admit(guest: &Guest) -> Result<(String, Way), String> {
    let project = access::query(&guest.head.uri, "projectId").ok_or("projectId: missing")?;
    if let Some(problem) = validate::id_problem(&project) {
        return Err(format!("projectId: {problem}"));
    }
    if is_allowed_origin(guest) {
        return Ok((project, Way::Origin));
    }
    match access::authorize(guest.caller(), &guest.head, Some(&project)).await {
        Ok(()) => Ok((project, Way::Reader)),
        // The full text does not fit into a close frame.
        Err(Denied::NotLocal) if guest.head.headers.contains_key(ORIGIN) => {
            Err("this origin is not in websocket.allowed_origins, and there is no read token"
                .to_owned())
        }
        Err(Denied::NotLocal) => {
            Err("this needs a read token, or an origin in websocket.allowed_origins".to_owned())
        }
        Err(denied) => Err(Rejection::from(denied).for_client()),
    }
}

fn is_allowed_origin(guest: &Guest) -> bool {
    let mut origins = guest.head.headers.get_all(ORIGIN).iter();
    let (Some(origin), None) = (origins.next(), origins.next()) else { return false };
    let origin = origin.to_str().ok().and_then(|text| Url::parse(text).ok());
    let Some(origin) = origin.filter(|url| url.origin().is_tuple()) else { return false };
    guest.allowed_origins().into_iter().any(|own| is_origin_of(own, &origin))
}

/// Whether a page is from this origin; `https://*.example.com` stands for all subdomains.
fn is_origin_of(own: &str, page: &Url) -> bool {
    let Ok(own) = Url::parse(own) else { return false };
    let Some(domain) = own.host_str().and_then(|host| host.strip_prefix('*')) else {
        return own.origin() == page.origin();
    };
    let is_below = |host: &str| host.len() > domain.len() && host.ends_with(domain);
    own.scheme() == page.scheme()
        && own.port_or_known_default() == page.port_or_known_default()
        && page.host_str().is_some_and(is_below)
}

#[derive(Default)]
struct Counts {
    delivered: u64,
    lost: u64,
}

struct Dashboard {
    guest: Guest,
    socket: Socket,
    project: String,
    way: Way,
    source: Box<dyn LiveStream>,
    /// Events delivered since the last line about them.
    unreported: u64,
    counts: Counts,
}

impl Dashboard {
    async fn run(mut self) {
        let opened = Instant::now();
        let project = self.project.clone();
        self.guest.step(Some(&project)).info("Dashboard connected", || self.guest.details([]));
        let shutdown = self.guest.shutdown.clone();
        let connection = Arc::clone(&self.guest.connection);
        // A reader that does not read must not hold up the shutdown.
        let end = tokio::select! {
            biased;
            end = self.converse() => end.unwrap_or("connection lost"),
            () = shutdown.cancelled() => {
                self.socket.close(AWAY, "the server is stopping").await;
                "the server is stopping"
            }
            () = connection.closing() => {
                self.socket.close_at_once(AGAIN, FULL);
                FULL
            }
        };
        self.report();
        self.guest.step(Some(&project)).info("Dashboard disconnected", || {
            self.guest.details([
                ("reason", end.into()),
                ("seconds", server::seconds_since(opened)),
                ("delivered", self.counts.delivered.into()),
                ("lost", self.counts.lost.into()),
            ])
        });
    }

    async fn converse(&mut self) -> Result<&'static str, Error> {
        let connected = ToClient::Connected {
            project_id: &self.project,
            session_id: None,
            timestamp: UtcMillis::now(),
        };
        self.socket.send(connected.to_json()).await?;
        let mut recheck = interval(RECHECK);
        recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
        recheck.tick().await;
        loop {
            tokio::select! {
                biased;
                _ = recheck.tick() => {
                    self.report();
                    let may_end = self.way == Way::Reader;
                    if may_end && !is_still_allowed(&self.guest, &self.project).await {
                        let reason = "the token no longer allows this";
                        self.socket.close(POLICY, reason).await;
                        return Ok(reason);
                    }
                }
                received = self.socket.next() => match received {
                    // Messages from dashboards are ignored.
                    Received::Text(_) => {}
                    Received::Unusable(code, reason) => {
                        self.socket.close(code, &reason).await;
                        return Ok("unreadable message");
                    }
                    Received::Ended(why) => {
                        self.socket.hang_up().await;
                        return Ok(why);
                    }
                },
                message = self.source.next() => {
                    let Some(message) = message else { return Ok("the bus has closed") };
                    self.forward(message).await?;
                }
            }
        }
    }

    /// Sends a message together with others that are available.
    async fn forward(&mut self, first: LiveMessage) -> Result<(), Error> {
        let before = self.counts.delivered;
        let mut next = Some(first);
        for _ in 0..MAX_TOGETHER {
            let Some(message) = next.take() else { break };
            self.feed(&message).await?;
            next = tokio::select! {
                biased;
                message = self.source.next() => message,
                () = std::future::ready(()) => None,
            };
        }
        if let Some(message) = next {
            self.feed(&message).await?;
        }
        self.socket.flush().await?;
        let count = self.counts.delivered - before;
        self.guest.context.intake.log().metrics().steps(Stage::Websocket, Level::Info, None, count);
        Ok(())
    }

    async fn feed(&mut self, message: &LiveMessage) -> Result<(), Error> {
        let lost = |count| ToClient::Lost { data: Lost { count }, timestamp: UtcMillis::now() };
        let json = match message {
            LiveMessage::Event(event) if event.project_id != self.project => return Ok(()),
            LiveMessage::Event(event) => {
                self.unreported += 1;
                self.counts.delivered += 1;
                let (r#type, data, timestamp) = (event.r#type, &event.data, event.timestamp);
                Live { r#type, data, timestamp }.to_json()
            }
            LiveMessage::Lost(count) => {
                self.counts.lost += count;
                self.guest.context.intake.log().metrics().live_events_lost(*count);
                self.guest
                    .step(Some(&self.project))
                    .warn("Live events lost: slow dashboard", || {
                        self.guest.details([("lost", (*count).into())])
                    });
                lost(Some(*count)).to_json()
            }
            LiveMessage::Interrupted => lost(None).to_json(),
        };
        self.socket.feed(json).await
    }

    /// Logs the number of events delivered since the last line; they are already counted.
    fn report(&mut self) {
        let count = std::mem::take(&mut self.unreported);
        if count == 0 {
            return;
        }
        let step = self.guest.step(Some(&self.project)).uncounted();
        step.info("Live events delivered", || self.guest.details([("events", count.into())]));
    }
}

/// False once the token was revoked or has expired, but not while it cannot be checked.
async fn is_still_allowed(guest: &Guest, project: &str) -> bool {
    let allowed = access::authorize(guest.caller(), &guest.head, Some(project)).await;
    matches!(allowed, Ok(()) | Err(Denied::Unavailable(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_may_stand_for_all_subdomains() {
        for (own, page, is_allowed) in [
            ("https://*.x.example", "https://a.x.example", true),
            ("https://*.x.example", "https://a.b.x.example:443", true),
            ("https://*.x.example", "https://x.example", false),
            ("https://*.x.example", "https://evilx.example", false),
            ("https://*.x.example", "http://a.x.example", false),
            ("https://*.x.example", "https://a.x.example:8443", false),
            ("https://*.x.example:8443", "https://a.x.example:8443", true),
            ("https://x.example", "https://x.example", true),
            ("https://x.example", "https://a.x.example", false),
        ] {
            let page = Url::parse(page).unwrap();
            assert_eq!(is_origin_of(own, &page), is_allowed, "{own} {page}");
        }
    }
}
