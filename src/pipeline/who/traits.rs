//! What is counted about an event.

use std::borrow::Cow;

use crate::auth::TokenRecord;
use crate::intake::Sender;
use crate::refused::Found;
use bklit_wire::event::{EventKind, Payload, QueuedEvent};
use bklit_wire::who::{Dimension, MAX_VALUE};

/// A token, without its secret.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenName<'a> {
    /// Its id; of an unknown one, its first characters.
    pub id: &'a str,
    /// What the operator calls it.
    pub name: Option<&'a str>,
}

impl<'a> From<&'a TokenRecord> for TokenName<'a> {
    fn from(token: &'a TokenRecord) -> Self {
        Self { id: &token.id, name: token.name.as_deref() }
    }
}

/// What is counted about an event; empty where it is not known, or does not exist.
#[derive(Clone, Debug, Default)]
pub struct Traits<'a> {
    /// The project.
    pub project: &'a str,
    /// The token.
    pub token: TokenName<'a>,
    /// The address as it may be shown.
    pub address: &'a str,
    /// The page, without query and fragment.
    pub page: Cow<'a, str>,
    /// The type.
    pub kind: Cow<'a, str>,
    /// The host of the page that led to this one.
    pub referrer: &'a str,
    /// The code of the country.
    pub country: Cow<'a, str>,
}

impl<'a> Traits<'a> {
    /// What the event itself says.
    pub fn of(event: &'a QueuedEvent) -> Self {
        let project = &*event.project_id;
        match &event.payload {
            Payload::Pageview(view) => Self {
                project,
                address: view.ip.as_deref().unwrap_or_default(),
                page: page(&view.url),
                kind: EventKind::Pageview.as_str().into(),
                referrer: view.referrer_hostname.as_deref().unwrap_or_default(),
                country: view.country_code.as_deref().unwrap_or_default().into(),
                ..Self::default()
            },
            Payload::Event(custom) => {
                Self { project, kind: custom_kind(&custom.event_type), ..Self::default() }
            }
            Payload::SessionEnd(_) => {
                Self { project, kind: EventKind::SessionEnd.as_str().into(), ..Self::default() }
            }
        }
    }

    /// An event that was just accepted.
    pub fn sent(event: &'a QueuedEvent, sender: Sender<'a>) -> Self {
        let country = sender.visitor.location().country_code.as_deref();
        Self {
            token: sender.token.map(TokenName::from).unwrap_or_default(),
            address: sender.visitor.shown_ip().unwrap_or_default(),
            country: country.unwrap_or_default().into(),
            ..Self::of(event)
        }
    }

    /// A refused event.
    pub fn refused(
        found: &'a Found,
        address: Option<&'a str>,
        kind: Option<EventKind>,
        country: Option<String>,
    ) -> Self {
        let kind = match (kind, &found.event_type) {
            (Some(EventKind::Event), Some(event_type)) => custom_kind(event_type),
            (kind, _) => kind.map_or("", EventKind::as_str).into(),
        };
        let text = |text: &'a Option<String>| text.as_deref().unwrap_or_default();
        Self {
            project: text(&found.project),
            token: TokenName { id: text(&found.token), name: None },
            address: address.unwrap_or_default(),
            page: text(&found.page).into(),
            kind,
            referrer: "",
            country: country.unwrap_or_default().into(),
        }
    }

    /// The value by which it is counted.
    pub fn value(&self, by: Dimension) -> &str {
        match by {
            Dimension::Project => self.project,
            Dimension::Token => self.token.id,
            Dimension::Address => self.address,
            Dimension::Page => &self.page,
            Dimension::Type => &self.kind,
            Dimension::Referrer => self.referrer,
            Dimension::Country => &self.country,
        }
    }

    /// What the operator calls the token.
    pub fn token_name(&self) -> Option<&'a str> {
        self.token.name
    }
}

/// The page at a URL without query and fragment, as [`Found::page`] has it.
fn page(url: &str) -> Cow<'_, str> {
    let page = url.split(['?', '#']).next().unwrap_or_default();
    match page.split_once("://") {
        Some((_, host)) if !host.contains('/') => format!("{page}/").into(),
        _ => page.into(),
    }
}

fn custom_kind(event_type: &str) -> Cow<'static, str> {
    format!("{} {event_type}", EventKind::Event.as_str()).into()
}

/// At most [`MAX_VALUE`] bytes of a text.
pub fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_VALUE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
