//! The rules for a well-formed event, beyond its JSON.

use url::Url;

use super::Rejection;
use bklit_wire::event::{CustomEvent, PageView, SessionEnd};

/// The longest id of a project, session or event definition, in bytes.
pub const MAX_ID: usize = 256;
/// The longest event id that a client may choose, in bytes.
pub const MAX_EVENT_ID: usize = 128;
/// The longest value of any other text field, in bytes.
pub const MAX_TEXT: usize = 8192;

/// How many objects and arrays of an event's metadata may be open at once: as deep as SQLite's and
/// ClickHouse's JSON functions can read.
pub const MAX_METADATA_DEPTH: usize = 500;

/// What is wrong with an id of a project, session or event definition; `None` if it is valid.
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

pub(crate) fn id(field: &'static str, id: &str) -> Result<(), Rejection> {
    id_problem(id).map_or(Ok(()), |problem| Err(Rejection::field(field, problem)))
}

/// An optional id: empty counts as absent.
fn optional_id(field: &'static str, value: &mut Option<String>) -> Result<(), Rejection> {
    if value.as_deref() == Some("") {
        *value = None;
    }
    value.as_deref().map_or(Ok(()), |value| id(field, value))
}

fn text(field: &'static str, text: &str) -> Result<(), Rejection> {
    if text.len() <= MAX_TEXT {
        return Ok(());
    }
    Err(Rejection::field(field, format!("longer than {MAX_TEXT} bytes")))
}

/// Checks the id that a client chose for its event.
pub(crate) fn event_id(id: &str) -> Result<(), Rejection> {
    if (1..=MAX_EVENT_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Rejection::field(
        "eventId",
        format!("must be 1 to {MAX_EVENT_ID} printable ASCII characters without spaces"),
    ))
}

/// Validates a page view; returns its parsed address.
pub(crate) fn page_view(view: &mut PageView) -> Result<Url, Rejection> {
    optional_id("sessionId", &mut view.session_id)?;
    text("url", &view.url)?;
    for (field, value) in view.texts() {
        text(field, value)?;
    }
    Url::parse(&view.url)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or_else(|| Rejection::field("url", "must be an absolute http or https URL"))
}

pub(crate) fn custom_event(event: &mut CustomEvent) -> Result<(), Rejection> {
    id("trackingId", &event.tracking_id)?;
    id("eventType", &event.event_type)?;
    optional_id("sessionId", &mut event.session_id)?;
    if event.metadata.as_ref().is_some_and(|metadata| metadata.depth() > MAX_METADATA_DEPTH) {
        let problem = format!("nested deeper than {MAX_METADATA_DEPTH} levels");
        return Err(Rejection::field("metadata", problem));
    }
    Ok(())
}

pub(crate) fn session_end(end: &SessionEnd) -> Result<(), Rejection> {
    id("sessionId", &end.session_id)?;
    match end.reason.as_deref() {
        None | Some("timeout" | "closed" | "manual" | "disconnect") => Ok(()),
        Some(_) => Err(Rejection::field("reason", "must be timeout, closed, manual or disconnect")),
    }
}
