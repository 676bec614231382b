//! `POST /track` and the other routes that accept events.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bklit_wire::debug_log::Stage;
use bklit_wire::event::EventKind;
use bklit_wire::json::push_quoted;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, ORIGIN, REFERER};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode, Uri};

use super::body::Expected;
use super::refusal::Refusal;
use super::response::{self, ResponseBody};
use super::{Arrival, Peer, body};
use crate::auth::{Denied, Secret, TokenRecord};
use crate::intake::{self, Rejected, Rejection, Sender};
use crate::refused::{self, Found, Why};
use crate::server::access::{bearer_token, secret};
use crate::telemetry::{Data, Repeated};

/// The most characters of a path, an origin or another text of a client that are logged.
const MAX_SHOWN: usize = 200;

/// A refused request, with the project it concerns if that is known.
pub struct Refused {
    pub why: Refusal,
    pub project: Option<String>,
    /// What was known about its event.
    pub event: Option<Box<RefusedEvent>>,
}

/// A refused event.
pub struct RefusedEvent {
    pub token: Option<Arc<TokenRecord>>,
    pub kind: Option<EventKind>,
    /// Its JSON, if that arrived.
    pub body: Option<Bytes>,
}

impl<T: Into<Refusal>> From<T> for Refused {
    fn from(why: T) -> Self {
        Self { why: why.into(), project: None, event: None }
    }
}

impl From<Rejected> for Refused {
    fn from(Rejected { why, project }: Rejected) -> Self {
        Self { why: why.into(), project, event: None }
    }
}

/// What the log shows about the request of a refusal.
pub struct About {
    pub uri: Uri,
    pub origin: Option<HeaderValue>,
    /// The client's whole address, which is not shown.
    pub client: IpAddr,
    referer: Option<HeaderValue>,
    authorization: Option<HeaderValue>,
    /// Whether it was meant to be an event.
    for_events: bool,
}

impl About {
    pub(super) fn new(client: IpAddr, uri: &Uri, headers: &HeaderMap, for_events: bool) -> Self {
        // All are cheap to clone.
        let header = |name| headers.get(name).cloned();
        Self {
            uri: uri.clone(),
            origin: header(ORIGIN),
            client,
            referer: header(REFERER),
            authorization: header(AUTHORIZATION),
            for_events,
        }
    }

    /// The first characters of the token.
    fn token_prefix(&self) -> Option<String> {
        let secret = bearer_token(self.authorization.as_ref()?.as_bytes())?;
        Secret::parse(secret).map(|secret| secret.prefix().to_owned())
    }
}

impl Refused {
    /// A request with this token whose body could not be read.
    pub(super) fn of_sender(
        why: impl Into<Refusal>,
        token: Option<Arc<TokenRecord>>,
        kind: Option<EventKind>,
    ) -> Self {
        let event = Some(Box::new(RefusedEvent { token, kind, body: None }));
        Self { event, ..why.into().into() }
    }

    /// Counts it, and keeps it if it was meant to be an event. Returns what is known of that event.
    pub(super) fn count(&self, peer: &Peer, about: &About) -> Found {
        let metrics = peer.context.intake.log().metrics();
        if let Refusal::Rejected(Rejection::Throttled(throttled)) = &self.why {
            metrics.throttled(throttled.limit);
        }
        if about.for_events { self.keep(peer, about) } else { Found::default() }
    }

    fn keep(&self, peer: &Peer, about: &About) -> Found {
        let rejection = match &self.why {
            Refusal::Rejected(rejection) => Some(rejection),
            _ => None,
        };
        let why = Why {
            reason: self.why.kind(),
            status: self.why.status().as_u16(),
            error: self.why.to_string(),
            rejection,
        };
        let event = self.event.as_deref();
        let known = event.and_then(|event| event.token.as_ref()).map(|token| token.id.clone());
        let is_stranger = known.is_none();
        // Anyone can make up any number of them: only those that are looked up are limited.
        let is_lookup = !matches!(rejection, Some(Rejection::Throttled(_)));
        let token = known.or_else(|| about.token_prefix().filter(|_| is_lookup));
        let page = about.referer.as_ref().or(about.origin.as_ref());
        let intake = &peer.context.intake;
        intake.refuse(refused::Refused {
            why,
            project: self.project.as_deref(),
            is_stranger,
            token: token.as_deref(),
            page: page.map(HeaderValue::as_bytes),
            path: about.uri.path(),
            client: about.client,
            peer: intake.visitors().shown(about.client),
            kind: event.and_then(|event| event.kind),
            body: event.and_then(|event| event.body.as_deref()),
        })
    }

    /// How log lines about it are folded.
    fn folded_with(&self, client: IpAddr) -> Repeated {
        match (&self.why, &self.project) {
            (Refusal::Rejected(why), Some(project)) if why.is_about_project() => {
                Repeated::of_project(why.kind(), project)
            }
            (why, _) => Repeated::from_address(why.kind(), client),
        }
    }

    /// Counts and logs it. A site that a token does not allow is also reported in the program's own
    /// log, because operators do not see the page's errors.
    pub(super) fn log(&self, peer: &Peer, about: &About, took: Duration) {
        let found = self.count(peer, about);
        let status = self.why.status();
        let origin = about.origin.as_ref().map(shown);
        if status == StatusCode::FORBIDDEN && peer.context.rejected_origins.failure().is_some() {
            let (origin, project) = (origin.as_deref().unwrap_or("none"), self.project.as_deref());
            tracing::warn!(origin, project, error = %self.why, "a site may not send events");
        }
        let log = peer.context.intake.log();
        let mut step = log.step(Stage::Ingestion).took(took);
        if let Some(project) = self.project.as_ref().or(found.project.as_ref()) {
            step = step.project(project);
        }
        step.warn_repeated(self.folded_with(about.client), "Request refused", || {
            let mut data = Data::from_iter([
                ("status".to_owned(), status.as_u16().into()),
                ("error".to_owned(), self.why.to_string().into()),
                ("path".to_owned(), shown(about.uri.path()).into()),
            ]);
            data.extend(peer.shown(about.client));
            data.extend(origin.map(|origin| ("origin".to_owned(), origin.into())));
            data.extend(found.details());
            data
        });
    }
}

/// A client's text as the log shows it.
pub fn shown(text: impl AsRef<[u8]>) -> String {
    String::from_utf8_lossy(text.as_ref()).chars().take(MAX_SHOWN).collect()
}

/// The response to an accepted event, which is written for each.
fn accepted(id: &str) -> Response<ResponseBody> {
    const START: &str = r#"{"message":"Event queued","eventId":"#;
    // With the quotes and the brace.
    let mut json = String::with_capacity(START.len() + id.len() + 3);
    json.push_str(START);
    push_quoted(&mut json, id);
    json.push('}');
    response::json_text(StatusCode::OK, json)
}

/// Accepts an event of `kind`.
pub(super) async fn ingest(
    peer: &Peer,
    kind: EventKind,
    arrival: Arrival,
    head: &Parts,
    incoming: Incoming,
) -> Result<Response<ResponseBody>, Refused> {
    let (context, Arrival { began, client }) = (&*peer.context, arrival);
    let most = context.settings.max_body_bytes;
    let expected = Expected { most, lines: false };
    let coding = body::check_head(&head.headers, &incoming, expected)?;
    let token = match identify(peer, client.ip, kind, &head.headers).await {
        Ok(token) => token,
        Err(why) => {
            let body = match why {
                // Anyone could send any number of them.
                Denied::Throttled(_) | Denied::Unavailable(_) => None,
                _ => body::read_of_stranger(incoming, coding).await,
            };
            if body.is_some() {
                peer.linger.store(false, Relaxed);
            }
            let event = Some(Box::new(RefusedEvent { token: None, kind: Some(kind), body }));
            return Err(Refused { event, ..why.into() });
        }
    };
    let received = async {
        let bytes = body::read(incoming, context.settings.body_timeout, most).await?;
        peer.linger.store(false, Relaxed);
        coding.decode(bytes).await
    };
    let bytes = match received.await {
        Ok(bytes) => bytes,
        Err(why) => return Err(Refused::of_sender(why, token, Some(kind))),
    };
    let visitor = context.intake.visitors().visitor(client, &head.headers);
    let sender =
        Sender { visitor: &visitor, headers: &head.headers, token: token.as_deref(), began };
    let result = match intake::parse(kind, &bytes) {
        Ok(envelope) => context.intake.accept(sender, envelope).await,
        Err(why) => Err(why.into()),
    };
    match result {
        Ok(id) => Ok(accepted(&id)),
        Err(rejected) => {
            let event = Some(Box::new(RefusedEvent { token, kind: Some(kind), body: Some(bytes) }));
            Err(Refused { event, ..rejected.into() })
        }
    }
}

/// The sender's token; an end of a session needs none.
async fn identify(
    peer: &Peer,
    client: IpAddr,
    kind: EventKind,
    headers: &HeaderMap,
) -> Result<Option<Arc<TokenRecord>>, Denied> {
    match bearer(headers) {
        Some(secret) => {
            let authenticator = peer.context.intake.authenticator();
            authenticator.identify_from(client, secret?).await.map(Some)
        }
        None if kind == EventKind::SessionEnd => Ok(None),
        None => Err(Denied::Missing),
    }
}

/// The bearer token; `None` without the header, an error if the header has another form.
pub(super) fn bearer(headers: &HeaderMap) -> Option<Result<&str, Denied>> {
    headers.get(AUTHORIZATION).map(secret)
}
