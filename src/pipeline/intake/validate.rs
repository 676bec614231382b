//! The rules for a well-formed event, beyond its JSON.
//!
//! What is not essential is repaired rather than rejected: an event counts even if some text in it is
//! too long.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::changes::{Change, Changes};
use super::page::Page;
use super::urls::{remove_credentials, remove_parameters, shorten, truncate};
use super::{Globs, IntakeSettings, Rejection};
use bklit_wire::event::{CustomEvent, PageView, SessionEnd};

/// The longest id of a project, session or event definition, and the longest event type, in bytes.
pub const MAX_ID: usize = 256;
/// The longest event id that a client may choose, in bytes.
pub const MAX_EVENT_ID: usize = 128;
/// The longest value of any other text field, in bytes.
pub const MAX_TEXT: usize = 8192;

/// How many objects and arrays of an event's metadata may be open at once: as deep as SQLite's and
/// ClickHouse's JSON functions can read.
pub const MAX_METADATA_DEPTH: usize = 500;

/// What is done about control characters where a text is not only compared.
const CONTROLS: Change = Change::Removed("control characters");

/// What is wrong with an id of a project, session or event definition; `None` if it is valid.
pub fn id_problem(id: &str) -> Option<&'static str> {
    if id.is_empty() {
        Some("must not be empty")
    } else if id.len() > MAX_ID {
        Some("longer than 256 bytes")
    } else if has_controls(id) {
        Some("must not contain control characters")
    } else {
        None
    }
}

pub(crate) fn id(field: &'static str, id: &str) -> Result<(), Rejection> {
    id_problem(id).map_or(Ok(()), |problem| Err(Rejection::field(field, problem)))
}

/// Removes control characters; returns whether there were any.
fn remove_controls(text: &mut String) -> bool {
    let has_some = has_controls(text);
    if has_some {
        text.retain(|c| !c.is_control());
    }
    has_some
}

/// Whether a text has control characters. Bytes that may belong to one are looked for first, many at
/// once.
fn has_controls(text: &str) -> bool {
    // Those beyond ASCII, and other characters, begin with 0xc2.
    let may_be_one = |byte: u8| (byte < b' ') | (byte == 0x7f) | (byte == 0xc2);
    text.bytes().fold(false, |found, byte| found | may_be_one(byte))
        && text.chars().any(char::is_control)
}

/// What was changed about the id of a session.
pub(crate) struct Session {
    /// Control characters were removed.
    cleaned: bool,
    /// It was too long.
    hashed: bool,
}

/// Repairs the id of a session, in the same way wherever it occurs, so that it stays one session.
pub(crate) fn repair_session(session: &mut String) -> Session {
    Session { cleaned: remove_controls(session), hashed: hash_if_too_long(session) }
}

/// Replaces the id of a session by its hash if it is too long; returns whether it was. The hash is the
/// same in all events of the session, and different from those of other sessions.
fn hash_if_too_long(session: &mut String) -> bool {
    let is_too_long = session.len() > MAX_ID;
    if is_too_long {
        *session = format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(&*session)));
    }
    is_too_long
}

/// The id of a session.
fn session_id(session: &mut String, changes: &mut Changes) -> Result<(), Rejection> {
    let bytes = session.len();
    let Session { cleaned, hashed } = repair_session(session);
    if cleaned {
        changes.add("sessionId", CONTROLS);
    }
    if hashed {
        changes.add("sessionId", Change::Hashed { bytes });
    }
    id("sessionId", session)
}

/// An optional session: empty counts as absent.
fn optional_session(value: &mut Option<String>, changes: &mut Changes) -> Result<(), Rejection> {
    if value.as_deref().is_some_and(|session| session.chars().all(char::is_control)) {
        let session = value.take();
        changes.extend(session.filter(|it| !it.is_empty()).map(|_| ("sessionId", CONTROLS)));
    }
    value.as_mut().map_or(Ok(()), |value| session_id(value, changes))
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

/// Validates a page view, and removes credentials and the parameters `unwanted` from its URLs; returns
/// its parsed address, as long as it was sent.
pub(super) fn page_view(
    view: &mut PageView,
    settings: &IntakeSettings,
    unwanted: &Globs,
    changes: &mut Changes,
) -> Result<Page, Rejection> {
    optional_session(&mut view.session_id, changes)?;
    clean("url", &mut view.url, unwanted, changes);
    let problem = |problem| Rejection::field("url", problem);
    let url = Page::parse(&view.url).ok_or_else(|| problem("must be an absolute URL"))?;
    if !settings.accepts_scheme(url.scheme()) {
        return Err(problem("its scheme is not listed in intake.url_schemes"));
    }
    if url.host().is_none() && url.path().trim_matches('/').is_empty() {
        return Err(problem("must have a host or a path"));
    }
    let addresses = [
        ("referrer", &mut view.referrer),
        ("ogImage", &mut view.og_image),
        ("favicon", &mut view.favicon),
        ("canonicalUrl", &mut view.canonical_url),
        ("referrerPath", &mut view.referrer_path),
        ("landingPage", &mut view.landing_page),
    ];
    for (field, value) in addresses {
        let Some(text) = value else { continue };
        if is_image(field) && is_data(text) {
            *value = None;
            changes.add(field, Change::Removed("a data: URI"));
        } else {
            clean(field, text, unwanted, changes);
        }
    }
    Ok(url)
}

/// Removes from a URL what must not be stored.
fn clean(field: &'static str, url: &mut String, unwanted: &Globs, changes: &mut Changes) {
    if remove_credentials(url) {
        changes.add(field, Change::Credentials);
    }
    let removed = remove_parameters(url, unwanted);
    if removed > 0 {
        changes.add(field, Change::Parameters(removed));
    }
}

/// Brings the texts of a page view within their bounds.
pub(super) fn limit_texts(view: &mut PageView, changes: &mut Changes) -> Result<(), Rejection> {
    let bytes = view.url.len();
    if bytes > MAX_TEXT {
        if !shorten(&mut view.url, MAX_TEXT) {
            let problem = format!("longer than {MAX_TEXT} bytes without its path and query");
            return Err(Rejection::field("url", problem));
        }
        changes.add("url", Change::Shortened { bytes });
    }
    for (field, value) in view.texts_mut() {
        let Some(text) = value else { continue };
        let bytes = text.len();
        if bytes <= MAX_TEXT {
            continue;
        }
        if !is_url(field) {
            truncate(text, MAX_TEXT);
            changes.add(field, Change::Truncated { bytes });
        } else if shorten(text, MAX_TEXT) {
            changes.add(field, Change::Shortened { bytes });
        } else {
            *value = None;
            changes.add(field, Change::Removed("too long without its path and query"));
        }
    }
    Ok(())
}

/// Whether an optional text of a page view is a URL.
fn is_url(field: &str) -> bool {
    matches!(field, "referrer" | "canonicalUrl" | "landingPage") || is_image(field)
}

/// Whether it is the URL of an image.
fn is_image(field: &str) -> bool {
    matches!(field, "favicon" | "ogImage")
}

fn is_data(url: &str) -> bool {
    url.trim_start().get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"))
}

/// Validates a custom event.
pub(super) fn custom_event(
    event: &mut CustomEvent,
    changes: &mut Changes,
) -> Result<(), Rejection> {
    // Finds the event's definition, so a part of it, or a hash, would not do.
    id("trackingId", &event.tracking_id)?;
    if remove_controls(&mut event.event_type) {
        changes.add("eventType", CONTROLS);
    }
    let bytes = event.event_type.len();
    if bytes > MAX_ID {
        truncate(&mut event.event_type, MAX_ID);
        changes.add("eventType", Change::Truncated { bytes });
    }
    id("eventType", &event.event_type)?;
    optional_session(&mut event.session_id, changes)?;
    if event.metadata.as_ref().is_some_and(|metadata| metadata.depth() > MAX_METADATA_DEPTH) {
        let problem = format!("nested deeper than {MAX_METADATA_DEPTH} levels");
        return Err(Rejection::field("metadata", problem));
    }
    Ok(())
}

/// Validates the end of a session.
pub(super) fn session_end(end: &mut SessionEnd, changes: &mut Changes) -> Result<(), Rejection> {
    session_id(&mut end.session_id, changes)?;
    let is_known =
        |reason: &String| matches!(reason.as_str(), "timeout" | "closed" | "manual" | "disconnect");
    if end.reason.take_if(|reason| !is_known(reason)).is_some() {
        changes.add("reason", Change::Removed("not timeout, closed, manual or disconnect"));
    }
    Ok(())
}
