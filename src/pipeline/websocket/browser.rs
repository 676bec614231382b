//! The socket of a visitor's browser: it authenticates and sends events, each of which is acknowledged
//! once it is queued.

use std::sync::Arc;
use std::time::Instant;

use hyper::StatusCode;
use hyper::header::{HeaderValue, ORIGIN, REFERER};
use tokio_tungstenite::tungstenite::Error;

use super::disconnect_grace::{Left, brief};
use super::handshake::Kind;
use super::message::{self, FromBrowser, RETRY_AFTER, ToClient};
use super::sessions::Member;
use super::socket::{AGAIN, AWAY, POLICY, Received, Socket};
use super::{Guest, server};
use crate::auth::{Denied, Secret, TokenRecord};
use crate::intake::{Rejection, parse, validate};
use crate::refused::{Found, Refused, Why};
use crate::server::access::{query, site};
use crate::telemetry::{Data, Repeated};
use bklit_wire::event::{EventKind, Payload};
use bklit_wire::json::repaired;
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

const NO_KEY: &str = "no API key: send {\"type\":\"auth\",\"apiKey\":\"bk_live_…\"} first, or apiKey \
                      with each message";
/// Why a socket is closed to make room for another.
const FULL: &str = "too many connections without an API key; try again later";

/// Serves a browser until its socket is closed by either side.
pub async fn serve(guest: Guest, mut socket: Socket) {
    let session = match session(&guest) {
        Ok(session) => session,
        Err(why) => return guest.refuse(&mut socket, Kind::Browser, None, &why.to_string()).await,
    };
    let (token, member) = (None, None);
    Browser { guest, socket, session, token, member, accepted: 0, has_gone: false }.run().await;
}

/// The session in the socket's address.
fn session(guest: &Guest) -> Result<SessionKey, Rejection> {
    let field = |name: &'static str| {
        let mut value =
            query(&guest.head.uri, name).ok_or_else(|| Rejection::field(name, "missing"))?;
        // As in the events, so that both mean the same session.
        if name == "sessionId" {
            validate::repair_session(&mut value);
        }
        validate::id_problem(&value).map_or(Ok(value), |why| Err(Rejection::field(name, why)))
    };
    Ok(SessionKey { project_id: field("projectId")?, session_id: field("sessionId")? })
}

struct Browser {
    guest: Guest,
    socket: Socket,
    session: SessionKey,
    /// The last valid API key, and its token.
    token: Option<(Secret, Arc<TokenRecord>)>,
    /// Set once there is a valid API key.
    member: Option<Member>,
    accepted: u64,
    /// Nothing can be sent any more; what has arrived is still read.
    has_gone: bool,
}

/// Why a message is refused.
enum Problem {
    /// The message is rejected; others may be accepted.
    Refused(Rejection),
    /// There is no API key.
    NoKey,
}

impl<T: Into<Rejection>> From<T> for Problem {
    fn from(why: T) -> Self {
        Self::Refused(why.into())
    }
}

impl Problem {
    /// The text for our own log.
    fn text(&self) -> String {
        match self {
            Self::Refused(why) => why.to_string(),
            Self::NoKey => NO_KEY.to_owned(),
        }
    }

    fn why(&self) -> Why<'_> {
        let (reason, status, rejection) = match self {
            Self::Refused(why) => (why.kind(), why.status(), Some(why)),
            Self::NoKey => ("token missing", StatusCode::UNAUTHORIZED, None),
        };
        Why { reason, status: status.as_u16(), error: self.text(), rejection }
    }

    fn for_client(&self) -> String {
        match self {
            Self::Refused(why) => why.for_client(),
            Self::NoKey => NO_KEY.to_owned(),
        }
    }

    /// Whether the same message may be accepted later.
    fn is_retryable(&self) -> bool {
        matches!(self, Self::Refused(why) if why.is_temporary())
    }

    /// Seconds after which to try again, if the message may be accepted then.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Refused(why) if why.is_temporary() => {
                Some(why.retry_after().map_or(RETRY_AFTER, |wait| wait.as_secs()))
            }
            Self::Refused(_) | Self::NoKey => None,
        }
    }

    /// Whether this socket can send no messages at all.
    fn is_final(&self) -> bool {
        matches!(self, Self::Refused(Rejection::Denied(Denied::Domain(_))))
    }
}

/// Why a message that could not be read is refused.
fn unreadable(problem: &str) -> Why<'static> {
    let status = StatusCode::BAD_REQUEST.as_u16();
    Why { reason: "unreadable message", status, error: problem.to_owned(), rejection: None }
}

impl Browser {
    async fn run(mut self) {
        let opened = Instant::now();
        self.guest
            .step(Some(&self.session.project_id))
            .info("Browser connected", || self.details([]));
        let end = self.converse().await.unwrap_or("connection lost");
        self.guest.step(Some(&self.session.project_id)).info("Browser disconnected", || {
            self.details([
                ("reason", end.into()),
                ("seconds", server::seconds_since(opened)),
                ("accepted", self.accepted.into()),
            ])
        });
        // A server that stops does not end sessions: the browser reconnects to another process.
        if !self.guest.shutdown.is_cancelled() {
            self.leave();
        }
    }

    /// Handles messages until the socket is closed; returns why it was closed.
    async fn converse(&mut self) -> Result<&'static str, Error> {
        let connected = ToClient::Connected {
            project_id: &self.session.project_id,
            session_id: Some(&self.session.session_id),
            timestamp: UtcMillis::now(),
        };
        self.send(connected.to_json()).await?;
        let shutdown = self.guest.shutdown.clone();
        let connection = Arc::clone(&self.guest.connection);
        let patience = tokio::time::sleep(self.guest.context.settings.auth_timeout);
        tokio::pin!(patience);
        loop {
            let received = tokio::select! {
                biased;
                () = shutdown.cancelled() => {
                    self.socket.close(AWAY, "the server is stopping").await;
                    return Ok("the server is stopping");
                }
                () = &mut patience, if self.token.is_none() => {
                    let project = Some(self.session.project_id.as_str());
                    self.guest.refuse(&mut self.socket, Kind::Browser, project, NO_KEY).await;
                    return Ok("no API key in time");
                }
                () = connection.closing() => {
                    self.socket.close_at_once(AGAIN, FULL);
                    return Ok(FULL);
                }
                received = self.socket.next() => received,
            };
            match received {
                Received::Text(text) => {
                    // One after the other: a faster sender fills the socket's buffers and has to wait.
                    if !self.handle(&text).await? {
                        return Ok("domain not allowed");
                    }
                }
                Received::Unusable(code, reason) => {
                    let found = self.keep_refused(unreadable(&reason), None, None);
                    self.log_refused(None, &reason, &found);
                    self.socket.close(code, &reason).await;
                    return Ok("unreadable message");
                }
                Received::Ended(why) => {
                    self.socket.hang_up().await;
                    return Ok(why);
                }
            }
        }
    }

    /// Handles a message and sends the response; returns whether more messages may follow.
    async fn handle(&mut self, text: &str) -> Result<bool, Error> {
        let began = Instant::now();
        let text = repaired(text);
        let message = FromBrowser::parse(&text);
        let message_type = match &message {
            Ok(FromBrowser::Auth { .. }) => Some("auth"),
            Ok(FromBrowser::Event { kind, .. }) => Some(kind.as_str()),
            Err(_) => None,
        };
        let done = match message {
            Ok(message) => self.carry_out(message, began).await,
            Err(why) => Err(why.into()),
        };
        let problem = match done {
            Ok(Some(reply)) => return self.send(reply).await.map(|()| true),
            Ok(None) => return Ok(true),
            Err(problem) => problem,
        };
        if let Problem::Refused(Rejection::Throttled(throttled)) = &problem {
            self.guest.context.intake.log().metrics().throttled(throttled.limit);
        }
        let found = self.keep_refused(problem.why(), message_type, Some(&text));
        self.log_refused(message_type, &problem.text(), &found);
        let error = problem.for_client();
        let reply = ToClient::Error {
            error,
            retryable: problem.is_retryable(),
            retry_after: problem.retry_after(),
            message_type,
        };
        self.send(reply.to_json()).await?;
        if problem.is_final() {
            self.socket.close(POLICY, &problem.for_client()).await;
            return Ok(false);
        }
        Ok(true)
    }

    /// Sends a message, unless the socket is to be closed first.
    async fn send(&mut self, text: String) -> Result<(), Error> {
        if self.has_gone {
            return Ok(());
        }
        let connection = Arc::clone(&self.guest.connection);
        match connection.until_closing(self.socket.send(text)).await.unwrap_or(Ok(())) {
            // What it sent before still counts.
            Err(Error::Io(_)) => {
                self.has_gone = true;
                Ok(())
            }
            sent => sent,
        }
    }

    /// Returns the response; `None` if the socket is to be closed.
    async fn carry_out(
        &mut self,
        message: FromBrowser<'_>,
        began: Instant,
    ) -> Result<Option<String>, Problem> {
        match message {
            FromBrowser::Auth { api_key } => {
                let token = self.authenticate(api_key.as_deref()).await?;
                Ok(token.map(|_| ToClient::AuthSuccess.to_json()))
            }
            FromBrowser::Event { kind, data, api_key } => {
                let Some(token) = self.authenticate(api_key.as_deref()).await? else {
                    return Ok(None);
                };
                let id = self.accept(kind, data, &token, began).await?;
                let project = &self.session.project_id;
                let step = self.guest.step(Some(project)).event(&id).took(began.elapsed());
                step.info("Event acknowledged", || {
                    Data::from_iter([("type".to_owned(), kind.as_str().into())])
                });
                Ok(Some(ToClient::Ack { event_id: &id, message_type: kind.as_str() }.to_json()))
            }
        }
    }

    /// The token of this key, or of the last valid one, if it allows sending. Checked for every
    /// message, because the token may have been revoked. `None` if the socket is to be closed: only
    /// those without a valid token make room for others.
    async fn authenticate(
        &mut self,
        api_key: Option<&str>,
    ) -> Result<Option<Arc<TokenRecord>>, Problem> {
        let sent = api_key.map(|key| message::secret(key).ok_or(Denied::Unknown)).transpose()?;
        let last = self.token.as_ref().map(|(secret, _)| secret);
        let secret = sent.as_ref().or(last).ok_or(Problem::NoKey)?;
        let context = &self.guest.context;
        let authenticator = context.intake.authenticator();
        let identified = authenticator.identify_from(self.guest.visitor.ip(), secret.expose());
        let Some(token) = self.guest.connection.until_closing(identified).await else {
            return Ok(None);
        };
        let token = token?;
        let site = site(&self.guest.head.headers);
        token.allow_ingest(&self.session.project_id, site, authenticator.domain_rules())?;
        let secret = sent.or_else(|| Some(self.token.take()?.0));
        self.token = secret.map(|secret| (secret, Arc::clone(&token)));
        if self.member.is_none() {
            self.member = Some(context.sessions.join(self.session.clone()));
            self.guest.connection.keep();
        }
        Ok((!self.guest.connection.is_closing()).then_some(token))
    }

    async fn accept(
        &mut self,
        kind: EventKind,
        data: &str,
        token: &TokenRecord,
        began: Instant,
    ) -> Result<String, Rejection> {
        let mut envelope = parse(kind, data.as_bytes())?;
        let project = &self.session.project_id;
        if envelope.project_id.get_or_insert_with(|| project.clone()) != project {
            return Err(Rejection::field(
                "projectId",
                "differs from the one in the socket's address",
            ));
        }
        let session = match &mut envelope.event {
            Payload::Pageview(view) => &mut view.session_id,
            Payload::Event(event) => &mut event.session_id,
            Payload::SessionEnd(_) => &mut None,
        };
        if session.as_deref().is_none_or(str::is_empty) {
            *session = Some(self.session.session_id.clone());
        }
        let sender = self.guest.sender(Some(token), began);
        let accepted = self.guest.context.intake.accept(sender, envelope).await;
        let id = accepted.map_err(|rejected| rejected.why)?;
        self.accepted += 1;
        self.socket.accepted();
        Ok(id)
    }

    /// Leaves the session. If this was its last authenticated socket, the session ends after the
    /// grace period.
    fn leave(self) {
        let heard = self.socket.last_heard();
        let left = self.member.and_then(|member| Member::leave(member, heard));
        let (Some(absence), Some((secret, _))) = (left, self.token) else { return };
        let context = Arc::clone(&self.guest.context);
        let Self { mut guest, session, .. } = self;
        guest.head = brief(&guest.head);
        context.disconnect_grace.begin(absence, Left { guest, session, secret });
    }

    fn log_refused(&self, message_type: Option<&'static str>, error: &str, found: &Found) {
        let kind = Repeated::from_address("message refused", self.guest.visitor.ip());
        let step = self.guest.step(Some(&self.session.project_id));
        step.warn_repeated(kind, "Message refused", || {
            let mut data = self.details([
                ("type", message_type.into()),
                ("error", error.into()),
                ("origin", self.guest.origin().into()),
            ]);
            data.extend(found.details());
            data
        });
    }

    /// Counts a refused message, and keeps it for the operator. Returns what is known of it.
    fn keep_refused(&self, why: Why<'_>, kind: Option<&str>, message: Option<&str>) -> Found {
        let Guest { head, visitor, context, .. } = &self.guest;
        let kinds = [EventKind::Pageview, EventKind::Event, EventKind::SessionEnd];
        let sent = message.and_then(|message| FromBrowser::parse(message).ok()?.secret());
        let valid = self.token.as_ref().filter(|(secret, _)| {
            sent.as_ref().is_none_or(|sent| sent.expose() == secret.expose())
        });
        let page = head.headers.get(REFERER).or_else(|| head.headers.get(ORIGIN));
        context.intake.refuse(Refused {
            why,
            project: Some(&self.session.project_id),
            is_stranger: self.token.is_none(),
            token: valid.map(|(_, token)| &*token.id).or(sent.as_ref().map(Secret::prefix)),
            page: page.map(HeaderValue::as_bytes),
            path: "websocket",
            client: visitor.ip(),
            peer: visitor.shown_ip().map(str::to_owned),
            kind: kinds.into_iter().find(|known| Some(known.as_str()) == kind),
            body: message.map(str::as_bytes),
        })
    }

    fn details<const N: usize>(&self, more: [(&str, serde_json::Value); N]) -> Data {
        let mut data = self.guest.details(more);
        data.insert("sessionId".to_owned(), self.session.session_id.as_str().into());
        data
    }
}
