//! A dashboard: it sees its project's events once they are stored.

use std::time::{Duration, Instant};

use hyper::header::ORIGIN;
use tokio::time::{MissedTickBehavior, interval};
use tokio_tungstenite::tungstenite::Error;

use super::handshake::Kind;
use super::message::{Live, Lost, ToClient};
use super::socket::{AWAY, POLICY, Received, Socket};
use super::{Guest, server};
use crate::auth::Denied;
use crate::bus::{LiveMessage, LiveStream};
use crate::intake::{Rejection, validate};
use crate::server::access;
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::time::UtcMillis;

/// So often it is asked again whether the reader may read, as its token may have been revoked,
/// and a line tells how much was delivered.
const RECHECK: Duration = Duration::from_secs(3);
/// Messages that are written together at most.
const MAX_TOGETHER: usize = 64;

/// Serves a dashboard until it leaves or has to.
pub async fn serve(guest: Guest, mut socket: Socket) {
    let (project, way) = match admit(&guest).await {
        Ok(admitted) => admitted,
        Err(why) => {
            let project = access::query(&guest.head.uri, "projectId");
            return guest.refuse(&mut socket, Kind::Dashboard, project.as_deref(), &why).await;
        }
    };
    // Before the greeting: what is stored from then on is delivered.
    let source = guest.context.live_bus.subscribe();
    let counts = Counts::default();
    Dashboard { guest, socket, project, way, source, unreported: 0, counts }.run().await;
}

/// How a dashboard got in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By its origin, which does not change.
    Origin,
    /// As a reader, which can end.
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
        // The long text does not fit into a closing frame.
        Err(Denied::NotLocal) => {
            Err("this needs a read token, or an origin in websocket.allowed_origins".to_owned())
        }
        Err(denied) => Err(Rejection::from(denied).for_client()),
    }
}

fn is_allowed_origin(guest: &Guest) -> bool {
    let of = |text: &str| url::Url::parse(text).ok().map(|url| url.origin());
    let mut origins = guest.head.headers.get_all(ORIGIN).iter();
    let (Some(origin), None) = (origins.next(), origins.next()) else { return false };
    let Some(origin) = origin.to_str().ok().and_then(of).filter(url::Origin::is_tuple) else {
        return false;
    };
    guest.context.settings.allowed_origins.iter().any(|own| of(own).as_ref() == Some(&origin))
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
    /// Events delivered since the last line about it.
    unreported: u64,
    counts: Counts,
}

impl Dashboard {
    async fn run(mut self) {
        let opened = Instant::now();
        let project = self.project.clone();
        self.guest.step(Some(&project)).info("Dashboard connected", || self.guest.details([]));
        let shutdown = self.guest.shutdown.clone();
        // A reader that takes nothing must not hold up the stop.
        let end = tokio::select! {
            biased;
            end = self.converse() => end.unwrap_or("the connection broke"),
            () = shutdown.cancelled() => {
                self.socket.close(AWAY, "the server is stopping").await;
                "the server is stopping"
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
                    // Dashboards have nothing to say.
                    Received::Text(_) => {}
                    Received::Unusable(code, reason) => {
                        self.socket.close(code, &reason).await;
                        return Ok("a message cannot be read");
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

    /// Sends a message, and with it what else is there.
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

    /// Tells how many events were delivered since the last time; they are counted already.
    fn report(&mut self) {
        let count = std::mem::take(&mut self.unreported);
        if count == 0 {
            return;
        }
        let step = self.guest.step(Some(&self.project)).uncounted();
        step.info("Live events delivered", || self.guest.details([("events", count.into())]));
    }
}

/// False once the token was revoked or has expired; not because it cannot be found out now.
async fn is_still_allowed(guest: &Guest, project: &str) -> bool {
    let answer = access::authorize(guest.caller(), &guest.head, Some(project)).await;
    matches!(answer, Ok(()) | Err(Denied::Unavailable(_)))
}
