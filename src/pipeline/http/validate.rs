//! What a well-formed event is, beyond its JSON.

use url::Url;

use super::refusal::Refusal;
use crate::pipeline::event::{CustomEvent, PageView, SessionEnd};

/// The longest id of a project, session or event definition, in bytes.
pub const MAX_ID: usize = 256;
/// The longest id of an event that a client may choose.
pub const MAX_EVENT_ID: usize = 128;
/// The longest other text, in bytes.
pub const MAX_TEXT: usize = 8192;

/// What is wrong with an id of a project, session or event definition, if anything.
pub fn id_problem(id: &str) -> Option<&'static str> {
    if id.is_empty() {
        Some("must not be empty")
    } else if id.len() > MAX_ID {
        Some("longer than 256 bytes")
    } else if id.chars().any(char::is_control) {
        Some("must not contain control characters")
    } else {
        None
    }
}

pub(super) fn id(field: &'static str, id: &str) -> Result<(), Refusal> {
    id_problem(id).map_or(Ok(()), |problem| Err(Refusal::field(field, problem)))
}

/// An id that a client may leave out: empty is as good as absent.
fn optional_id(field: &'static str, value: &mut Option<String>) -> Result<(), Refusal> {
    if value.as_deref() == Some("") {
        *value = None;
    }
    value.as_deref().map_or(Ok(()), |value| id(field, value))
}

fn text(field: &'static str, text: &str) -> Result<(), Refusal> {
    if text.len() <= MAX_TEXT {
        return Ok(());
    }
    Err(Refusal::field(field, format!("longer than {MAX_TEXT} bytes")))
}

/// The id that a client chose for its event.
pub(super) fn event_id(id: &str) -> Result<(), Refusal> {
    if (1..=MAX_EVENT_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Refusal::field(
        "eventId",
        format!("must be 1 to {MAX_EVENT_ID} printable ASCII characters without spaces"),
    ))
}

/// Checks a page view; returns its parsed address.
pub(super) fn page_view(view: &mut PageView) -> Result<Url, Refusal> {
    optional_id("sessionId", &mut view.session_id)?;
    text("url", &view.url)?;
    for (field, value) in view.texts() {
        text(field, value)?;
    }
    Url::parse(&view.url)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or_else(|| Refusal::field("url", "must be an absolute http or https URL"))
}

pub(super) fn custom_event(event: &mut CustomEvent) -> Result<(), Refusal> {
    id("trackingId", &event.tracking_id)?;
    id("eventType", &event.event_type)?;
    optional_id("sessionId", &mut event.session_id)
}

pub(super) fn session_end(end: &SessionEnd) -> Result<(), Refusal> {
    id("sessionId", &end.session_id)?;
    match end.reason.as_deref() {
        None | Some("timeout" | "closed" | "manual" | "disconnect") => Ok(()),
        Some(_) => Err(Refusal::field("reason", "must be timeout, closed, manual or disconnect")),
    }
}
