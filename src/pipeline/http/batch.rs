//! `POST /batch`: several events in one request, with a result for each.
//!
//! The events are written to the queue together, and each is accepted or refused on its own. Events
//! with an `eventId` are queued once, so the whole batch may be sent again.

use std::borrow::Cow;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bklit_wire::event::{EventKind, Payload};
use bklit_wire::json;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use memchr::memchr;
use memchr::memmem::Finder;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::body::{self, Expected};
use super::ingest::{About, Refused, RefusedEvent, bearer};
use super::refusal::Refusal;
use super::response::{self, ResponseBody};
use super::{Arrival, Peer};
use crate::auth::{Denied, Scope};
use crate::intake::{self, Envelope, Rejection, Sender};
use crate::queue::MAX_PUSHED;

/// The most bytes of batches that are parsed and queued at once; further batches wait. Parsed
/// events take up to twelve times the memory of their JSON.
const MAX_PARSED: usize = 4 << 20;
/// The most bytes of all batches being received.
const MAX_RECEIVED: usize = 64 << 20;
/// The unit in which both are counted, in bytes.
const UNIT: usize = 1024;
/// Events parsed before other tasks get a turn.
const PARSED_AT_ONCE: usize = 32;
/// May precede JSON.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
const KINDS: [EventKind; 3] = [EventKind::Pageview, EventKind::Event, EventKind::SessionEnd];
/// The longest event type that is quoted, in characters.
const MAX_TYPE: usize = 40;

/// Bounds what all batches take together.
pub struct BatchLimits {
    received: Arc<Semaphore>,
    parsed: Semaphore,
}

impl Default for BatchLimits {
    fn default() -> Self {
        let received = Arc::new(Semaphore::new(MAX_RECEIVED / UNIT));
        Self { received, parsed: Semaphore::new(MAX_PARSED / UNIT) }
    }
}

impl BatchLimits {
    /// The memory of one batch, initially none.
    fn memory(&self) -> BatchMemory {
        BatchMemory { received: Arc::clone(&self.received), held: None }
    }

    /// Waits until a batch of `bytes` can be parsed. It counts until the result is dropped. Never
    /// fails: the semaphore stays open.
    async fn turn(&self, bytes: usize) -> Option<SemaphorePermit<'_>> {
        let units = bytes.clamp(1, MAX_PARSED).div_ceil(UNIT);
        self.parsed.acquire_many(u32::try_from(units).ok()?).await.ok()
    }
}

/// The memory that the body of a batch takes, until it is dropped.
pub struct BatchMemory {
    received: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl BatchMemory {
    /// Makes it large enough for `bytes`.
    ///
    /// # Errors
    /// [`Refusal::Busy`] if all batches together would take too much.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = bytes.div_ceil(UNIT).saturating_sub(held);
        let more = u32::try_from(more).map_err(|_| Refusal::Busy)?;
        if more == 0 {
            return Ok(());
        }
        let permit = Arc::clone(&self.received).try_acquire_many_owned(more);
        let permit = permit.map_err(|_| Refusal::Busy)?;
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
        Ok(())
    }
}

/// The result of one event.
#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum ItemResult {
    Accepted { status: u16, event_id: String },
    Refused { status: u16, error: String },
}

#[derive(Serialize)]
struct Results {
    /// Why no event was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    results: Vec<ItemResult>,
}

/// Accepts the events of a batch.
pub(super) async fn ingest(
    peer: &Peer,
    arrival: Arrival,
    head: &Parts,
    incoming: Incoming,
) -> Result<Response<ResponseBody>, Refused> {
    let (context, Arrival { began, client }) = (&*peer.context, arrival);
    let settings = &context.settings;
    let expected = Expected { most: settings.max_batch_bytes, lines: true };
    let coding = body::check_head(&head.headers, &incoming, expected)?;
    let secret = bearer(&head.headers).ok_or(Denied::Missing)??;
    let token = context.intake.authenticator().identify_from(client.ip, secret).await?;
    let of_sender = |why| Refused::of_sender(why, Some(Arc::clone(&token)), None);
    if token.scope != Scope::Ingest {
        return Err(of_sender(Denied::Scope(token.scope).into()));
    }
    let mut memory = context.batches.memory();
    let most = settings.max_batch_bytes;
    let read = body::read_with(incoming, settings.body_timeout, most, |size| memory.grow(size));
    let bytes = read.await.map_err(of_sender)?;
    peer.linger.store(false, Relaxed);

    let _turn = context.batches.turn(coding.most_decoded(bytes.len())).await;
    let bytes = coding.decode(bytes).await.map_err(of_sender)?;
    let items = split(&bytes).map_err(of_sender)?;
    let mut parsed = Vec::with_capacity(items.len());
    for some in items.chunks(PARSED_AT_ONCE) {
        parsed.extend(some.iter().map(|item| parse(item, settings.max_body_bytes)));
        tokio::task::yield_now().await;
    }
    let visitor = context.intake.visitors().visitor(client, &head.headers);
    let sender = Sender { visitor: &visitor, headers: &head.headers, token: Some(&token), began };
    let mut results = context.intake.accept_many(sender, parsed).await;
    for (result, item) in results.iter_mut().zip(&items) {
        if let Err(refused) = result {
            let (token, kind) = (Some(Arc::clone(&token)), kind_of(item));
            let body = Some(bytes.slice_ref(item));
            refused.event = Some(Box::new(RefusedEvent { token, kind, body }));
        }
    }
    let about = About::new(client.ip, &head.uri, &head.headers, true);
    log_refused(peer, &about, &results, began.elapsed());
    Ok(respond(results))
}

type Parsed = Result<Envelope<Payload>, Refused>;

/// 200 if at least one event was accepted; else the status of the first that may be accepted later, or
/// of the first.
fn respond(results: Vec<Result<String, Refused>>) -> Response<ResponseBody> {
    let is_for_later = |why: &Refusal| {
        matches!(why.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
    };
    let refused = || results.iter().filter_map(|result| result.as_ref().err());
    let (mut error, mut status, mut wait) = (None, StatusCode::OK, None);
    if results.iter().all(Result::is_err) {
        let decisive = refused().find(|refused| is_for_later(&refused.why));
        if let Some(refused) = decisive.or_else(|| refused().next()) {
            (status, wait) = (refused.why.status(), refused.why.retry_after());
            error = Some(format!("no event was accepted: {}", refused.why.for_client()));
        }
    }
    let results = results.into_iter().map(|result| match result {
        Ok(event_id) => ItemResult::Accepted { status: StatusCode::OK.as_u16(), event_id },
        Err(Refused { why, .. }) => {
            ItemResult::Refused { status: why.status().as_u16(), error: why.for_client() }
        }
    });
    let results = Results { error, results: results.collect() };
    response::retryable(response::json(status, &results), wait)
}

/// Counts and logs the refused events.
fn log_refused(peer: &Peer, about: &About, results: &[Result<String, Refused>], took: Duration) {
    let refused = results.iter().filter_map(|result| result.as_ref().err());
    refused.for_each(|refused| refused.log(peer, about, took));
}

/// The JSON of each event: the members of an array, or lines.
fn split(body: &[u8]) -> Result<Vec<&[u8]>, Refusal> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let items: Vec<&[u8]> = if body.trim_ascii_start().starts_with(b"[") {
        json::members(body)
            .map_err(|error| Refusal::field("body", format!("not a JSON array: {error}")))?
    } else {
        let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        lines.filter(|line| !line.is_empty()).collect()
    };
    match items.len() {
        0 => Err(Refusal::field("body", "empty; expected a JSON array or lines of JSON objects")),
        1..=MAX_PUSHED => Ok(items),
        _ => Err(Refusal::TooMany(MAX_PUSHED)),
    }
}

/// An event of a batch: its fields next to `type`, or in `data` as over a WebSocket.
#[derive(Deserialize)]
struct Item<'a> {
    #[serde(default, borrow)]
    r#type: Option<&'a RawValue>,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
}

/// Parses an event of at most `most` bytes.
fn parse(item: &[u8], most: usize) -> Parsed {
    if item.len() > most {
        return Err(Refusal::TooLarge(most).into());
    }
    if !item.starts_with(b"{") {
        return Err(Rejection::field("body", "expected a JSON object").into());
    }
    if let Some(kind) = leading_kind(item) {
        return Ok(intake::parse(kind, item)?);
    }
    let Item { r#type, data } = serde_json::from_slice(item)
        .map_err(|error| Rejection::field("body", format!("not valid JSON: {error}")))?;
    let kind = kind(r#type)?;
    let fields = data.map_or(item, |data| data.get().as_bytes());
    Ok(intake::parse(kind, fields)?)
}

/// What makes the type of an event, or where its fields are, uncertain.
static OTHERS: LazyLock<[Finder<'static>; 3]> =
    LazyLock::new(|| [r#""type""#, r#""data""#, r"\u"].map(Finder::new));

/// The type of an event that begins with it and has its fields next to it, so that it can be parsed
/// in one pass; `None` if this is not certain.
fn leading_kind(item: &[u8]) -> Option<EventKind> {
    let value = item.strip_prefix(br#"{"type":"#)?.trim_ascii_start().strip_prefix(b"\"")?;
    let (name, rest) = value.split_at_checked(memchr(b'"', value)?)?;
    let kind = KINDS.into_iter().find(|kind| kind.as_str().as_bytes() == name)?;
    // A second `type` is an error, and either name can be written with escapes.
    OTHERS.iter().all(|other| other.find(rest).is_none()).then_some(kind)
}

/// The type of an event, if it has one.
fn kind_of(item: &[u8]) -> Option<EventKind> {
    let item: Item<'_> = serde_json::from_slice(item).ok()?;
    kind(item.r#type).ok()
}

fn kind(value: Option<&RawValue>) -> Result<EventKind, Rejection> {
    let value = value.ok_or_else(|| Rejection::field("type", "missing"))?;
    let name: Cow<'_, str> = serde_json::from_str(value.get())
        .map_err(|_| Rejection::field("type", "expected a string"))?;
    KINDS.into_iter().find(|kind| kind.as_str() == name).ok_or_else(|| {
        let name: String = name.chars().take(MAX_TYPE).collect();
        let problem = format!("unknown event type `{name}` (pageview, event, session_end)");
        Rejection::field("type", problem)
    })
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const VIEW: &str = r#"{"type":"pageview","url":"https://a.example/","projectId":"p"}"#;

    #[test]
    fn a_batch_is_an_array_or_lines() {
        let array = format!("\u{feff} [{VIEW}, 7,\n{VIEW}] ");
        assert_eq!(split(array.as_bytes()).unwrap(), [VIEW, "7", VIEW].map(str::as_bytes));
        let lines = format!("{VIEW}\r\n\n not JSON \n{VIEW}");
        let expected = [VIEW, "not JSON", VIEW].map(str::as_bytes);
        assert_eq!(split(lines.as_bytes()).unwrap(), expected);
        let latin: &[u8] = b"[{\"a\":1}, {\"b\":\"\xe9\"} ,\"\xff\xfe\",{\"c\":2}]";
        let expected: [&[u8]; 4] =
            [b"{\"a\":1}", b"{\"b\":\"\xe9\"}", b"\"\xff\xfe\"", b"{\"c\":2}"];
        assert_eq!(split(latin).unwrap(), expected);
        let broken = split(b"[{\"a\":1}, \xe9").unwrap_err();
        assert_eq!(broken.status(), StatusCode::BAD_REQUEST, "{broken}");
        for body in ["", " \n\r\n", "[]", "[1,", "[{}] x", "[\u{1}]"] {
            let error = split(body.as_bytes()).unwrap_err();
            assert_eq!(error.status(), StatusCode::BAD_REQUEST, "{body}: {error}");
        }
        for (count, is_ok) in [(MAX_PUSHED, true), (MAX_PUSHED + 1, false)] {
            let array = format!("[{}]", vec![VIEW; count].join(","));
            let lines = vec![VIEW; count].join("\n");
            for body in [array, lines] {
                assert_eq!(split(body.as_bytes()).is_ok(), is_ok, "{count}");
            }
        }
    }

    #[test]
    fn the_type_decides_how_an_event_is_parsed() {
        let parsed = |item: &str| {
            let found = parse(item.as_bytes(), 1024).map_err(|refused| refused.why);
            found.map(|found| found.event.kind())
        };
        for (item, kind) in [
            (VIEW, EventKind::Pageview),
            (r#"{"url":"u","\u0074ype":"page\u0076iew"}"#, EventKind::Pageview),
            (r#"{"type":"event","data":{"trackingId":"t","eventType":"e"}}"#, EventKind::Event),
            (r#"{"type":"session_end","data":null,"sessionId":"s"}"#, EventKind::SessionEnd),
        ] {
            assert_eq!(parsed(item).unwrap(), kind, "{item}");
        }
        let long = format!(r#"{{"type":"{}"}}"#, "x".repeat(900));
        for (item, problem) in [
            ("7", "body: expected a JSON object"),
            ("{", "body: not valid JSON: "),
            ("{}", "type: missing"),
            (r#"{"type":null}"#, "type: missing"),
            (r#"{"type":7}"#, "type: expected a string"),
            (
                r#"{"type":"auth"}"#,
                "type: unknown event type `auth` (pageview, event, session_end)",
            ),
            (r#"{"type":"event","type":"event"}"#, "body: not valid JSON: duplicate field `type`"),
            (r#"{"type":"event","data":[]}"#, "body: expected a JSON object"),
            (r#"{"type":"event","trackingId":"t"}"#, "eventType: missing"),
            (&long, "type: unknown event type `xxxxx"),
        ] {
            let error = parsed(item).unwrap_err();
            assert_eq!(error.status(), StatusCode::BAD_REQUEST);
            assert!(error.to_string().starts_with(problem), "{item}: {error}");
            assert!(error.to_string().len() < 150, "{error}");
        }
        for (item, kind) in [
            (VIEW, Some(EventKind::Pageview)),
            (r#"{"type": "event","trackingId":"t"}"#, Some(EventKind::Event)),
            (r#"{"url":"u","type":"event"}"#, None),
            (r#"{"type":"event","data":{}}"#, None),
            (r#"{"type":"event","d\u0061ta":{}}"#, None),
            (r#"{"type":"event","type":"event"}"#, None),
            (r#"{"type":"auth"}"#, None),
            (r#"{"type":"#, None),
        ] {
            assert_eq!(leading_kind(item.as_bytes()), kind, "{item}");
        }
        let error = parse(VIEW.as_bytes(), VIEW.len() - 1).unwrap_err().why;
        assert_eq!(error.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[test]
    fn the_memory_of_all_batches_is_bounded() {
        let limits = BatchLimits::default();
        let (mut first, mut second) = (limits.memory(), limits.memory());
        first.grow(1).unwrap();
        first.grow(MAX_RECEIVED - UNIT).unwrap();
        second.grow(UNIT).unwrap();
        assert!(matches!(second.grow(UNIT + 1), Err(Refusal::Busy)));
        drop(first);
        second.grow(MAX_RECEIVED).unwrap();
        assert!(second.grow(MAX_RECEIVED + 1).is_err());
    }

    #[tokio::test]
    async fn what_is_parsed_at_once_is_bounded() {
        let limits = BatchLimits::default();
        let small = limits.turn(1).await.unwrap();
        let others = limits.turn(MAX_PARSED - UNIT).await.unwrap();
        assert!(limits.turn(0).now_or_never().is_none());
        drop(small);
        assert!(limits.turn(UNIT).now_or_never().is_some());
        // A batch that exceeds the bound is parsed alone.
        drop(others);
        assert!(limits.turn(usize::MAX).now_or_never().flatten().is_some());
    }
}
