//! What was refused: groups with counts, and the last refused events with their bodies, to inspect and
//! to send again. In memory only, and bounded, however many are refused.
//!
//! - `groups`: groups and kept events
//! - `scan`: bodies without secrets and whole addresses
//! - `settings`: how much is kept

mod groups;
mod scan;
mod settings;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use url::Url;

use crate::intake::{Rejection, validate};
use crate::metrics::Metrics;
use bklit_wire::event::EventKind;
use bklit_wire::refused::RefusedView;
use bklit_wire::text::of_header;
use bklit_wire::time::UtcMillis;
use groups::{Groups, Key, New};
pub use groups::{MAX_GROUPS, MAX_STRANGER_GROUPS, MAX_WITHOUT_PAGE};
pub use scan::MAX_BODY;
pub(crate) use scan::clean;
use scan::{Scanned, scan};
pub use settings::RefusedSettings;

/// The most characters of a page, a project or another text of a client.
const MAX_NAME: usize = 200;
/// The most characters of an error message.
const MAX_ERROR: usize = 500;

/// Fields that metrics name; all others are `other`.
const FIELDS: [&str; 14] = [
    "body",
    "data",
    "eventId",
    "eventType",
    "message",
    "metadata",
    "projectId",
    "sessionId",
    "timestamp",
    "title",
    "trackingId",
    "type",
    "url",
    "userAgent",
];

/// Why something was refused.
pub struct Why<'a> {
    /// The kind of refusal: of HTTP requests `Refusal::kind`, of messages `Rejection::kind` or another.
    pub reason: &'static str,
    /// The status of the response.
    pub status: u16,
    /// The message for the operator.
    pub error: String,
    /// The rejection, if it was about the event itself.
    pub rejection: Option<&'a Rejection>,
}

/// A refused event, or a request or message that should have been one.
pub struct Refused<'a> {
    /// Why.
    pub why: Why<'a>,
    /// Its project, if known; otherwise it is looked for in the body.
    pub project: Option<&'a str>,
    /// Whether it came without a valid token, so that anyone could have sent it.
    pub is_stranger: bool,
    /// The id of its token; of an unknown one, its first characters.
    pub token: Option<&'a str>,
    /// The headers that name the page it is from: `Referer` or `Origin`.
    pub page: Option<&'a [u8]>,
    /// The path it was sent to.
    pub path: &'a str,
    /// The client's whole address, which is removed from the body.
    pub client: IpAddr,
    /// The client's address as it may be shown.
    pub peer: Option<String>,
    /// The type of the event.
    pub kind: Option<EventKind>,
    /// What arrived, decoded.
    pub body: Option<&'a [u8]>,
}

/// What is known about the event of a refusal, for the log: short, and without secrets and whole
/// addresses. The sender may have made it up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Its project.
    pub project: Option<String>,
    /// Its session.
    pub session: Option<String>,
    /// Its page, without user, query and fragment.
    pub page: Option<String>,
    /// The id of its token; of an unknown one, its first characters.
    pub token: Option<String>,
    /// The type of a custom event.
    pub event_type: Option<String>,
}

impl Found {
    /// The details of a log line about it.
    pub fn details(&self) -> impl Iterator<Item = (String, serde_json::Value)> + use<> {
        let Self { session, page, token, event_type, .. } = self.clone();
        let all =
            [("url", page), ("sessionId", session), ("token", token), ("eventType", event_type)];
        all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into())))
    }
}

/// Which of the kept events to list.
#[derive(Default)]
pub struct Wanted {
    /// The most of them.
    pub most: usize,
    /// Only this one, and no groups.
    pub id: Option<u64>,
    /// Only those of this project; also selects the groups.
    pub project: Option<String>,
    /// Only those with this reason; also selects the groups.
    pub reason: Option<String>,
}

/// What this process has refused.
pub struct Refusals {
    groups: Mutex<Groups>,
    since: UtcMillis,
}

impl Refusals {
    /// Nothing yet.
    pub fn new(settings: &RefusedSettings) -> Self {
        Self { groups: Mutex::new(Groups::new(settings.clone())), since: UtcMillis::now() }
    }

    /// Counts and keeps something that was refused. Returns what it found out about it.
    pub fn add(&self, refused: Refused<'_>, metrics: &Metrics) -> Found {
        let Why { reason, status, rejection, .. } = refused.why;
        let (field, problem) = match rejection {
            Some(Rejection::Field { field, problem }) => (Some(&**field), Some(problem)),
            _ => (None, None),
        };
        let error = cut(&refused.why.error, MAX_ERROR);
        metrics.refusals().refused(reason, field.map(known_field), &error);
        let scanned = refused.body.map(|body| scan(body, refused.client)).unwrap_or_default();
        let Scanned { text, truncated, project, mut session, url, event_type } = scanned;
        // As in the events, so that both mean the same session.
        session.as_mut().map(validate::repair_session);
        let page = url.as_deref().and_then(page).or_else(|| page(&of_header(refused.page?)));
        let project = refused.project.or(project.as_deref());
        let key = Key {
            is_stranger: refused.is_stranger,
            reason,
            field: field.map(|field| cut(field, MAX_NAME)),
            // Texts that are put together may contain the client's.
            problem: problem.and_then(|problem| match problem {
                Cow::Borrowed(problem) => Some(*problem),
                Cow::Owned(_) => None,
            }),
            project: project.map(|project| cut(project, MAX_NAME)),
            page,
            token: refused.token.map(|token| cut(token, MAX_NAME)),
        };
        let (project, page, token) = (key.project.clone(), key.page.clone(), key.token.clone());
        let event_type = event_type.map(|event_type| cut(&event_type, MAX_NAME));
        let found = Found { project, session, page, token, event_type };
        let new = New {
            at: UtcMillis::now(),
            status,
            error,
            path: cut(refused.path, MAX_NAME),
            peer: refused.peer,
            kind: refused.kind.map(EventKind::as_str),
            body: refused.body.is_some().then_some(text),
            truncated,
        };
        self.groups().add(key, new);
        found
    }

    /// The groups, and the requested kept events.
    pub fn view(&self, wanted: &Wanted) -> RefusedView {
        let groups = self.groups();
        RefusedView {
            since: self.since,
            total: groups.total(),
            groups: groups.groups(wanted),
            recent: groups.recent(wanted),
        }
    }

    /// A panic elsewhere cannot leave the counts inconsistent, so poisoning is ignored.
    fn groups(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Refusals {
    fn default() -> Self {
        Self::new(&RefusedSettings::default())
    }
}

/// The page at this URL, without user, query and fragment.
fn page(url: &str) -> Option<String> {
    let mut url = Url::parse(url).ok()?;
    url.set_query(None);
    url.set_fragment(None);
    // It fails where there can be none.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    Some(cut(url.as_str(), MAX_NAME))
}

fn known_field(field: &str) -> &'static str {
    FIELDS.into_iter().find(|known| *known == field).unwrap_or("other")
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

#[cfg(test)]
mod tests;
