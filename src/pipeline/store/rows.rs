//! Events as rows of the tables, the same for every store.

use std::borrow::Cow;

use super::schema::{PAGE_VIEW_EVENT, TRACKED_EVENT};
use bklit_wire::event::{CustomEvent, PageView, QueuedEvent};
use bklit_wire::object::Object;
use bklit_wire::time::UtcMillis;

/// A value to store. Texts are borrowed from the event.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    /// NULL.
    Null,
    /// A text.
    Text(Cow<'a, str>),
    /// A floating-point number.
    Real(f64),
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i32),
    /// A time in milliseconds since the epoch, as a number.
    Millis(i64),
    /// A time.
    Moment(UtcMillis),
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Cell<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl<'a> From<&'a Option<String>> for Cell<'a> {
    fn from(text: &'a Option<String>) -> Self {
        text.as_deref().map_or(Self::Null, Self::from)
    }
}

impl From<Option<f64>> for Cell<'_> {
    fn from(number: Option<f64>) -> Self {
        number.map_or(Self::Null, Self::Real)
    }
}

impl From<UtcMillis> for Cell<'_> {
    fn from(moment: UtcMillis) -> Self {
        Self::Moment(moment)
    }
}

/// The row of a page view, in the order of the table's columns. A test compares each cell with the
/// field of the column's name.
pub fn page_view_cells<'a>(
    event: &'a QueuedEvent,
    view: &'a PageView,
) -> [Cell<'a>; PAGE_VIEW_EVENT.columns.len()] {
    [
        event.id.as_str().into(),
        view.url.as_str().into(),
        event.timestamp().into(),
        event.queued_at.into(),
        (&view.city).into(),
        (&view.country).into(),
        (&view.country_code).into(),
        (&view.ip).into(),
        (&view.isp).into(),
        view.lat.into(),
        view.lon.into(),
        view.mobile.map_or(Cell::Null, Cell::Bool),
        (&view.region).into(),
        (&view.region_name).into(),
        (&view.timezone).into(),
        (&view.zip).into(),
        (&view.user_agent).into(),
        (&view.session_id).into(),
        event.project_id.as_str().into(),
        (&view.referrer).into(),
        (&view.utm_campaign).into(),
        (&view.utm_content).into(),
        (&view.utm_medium).into(),
        (&view.utm_source).into(),
        (&view.utm_term).into(),
        (&view.title).into(),
        (&view.description).into(),
        (&view.og_image).into(),
        (&view.og_title).into(),
        (&view.favicon).into(),
        (&view.canonical_url).into(),
        (&view.language).into(),
        (&view.robots).into(),
        (&view.referrer_hostname).into(),
        (&view.referrer_path).into(),
        (&view.referrer_type).into(),
        (&view.utm_id).into(),
        (&view.gclid).into(),
        (&view.fbclid).into(),
        (&view.msclkid).into(),
        (&view.ttclid).into(),
        (&view.li_fat_id).into(),
        (&view.twclid).into(),
        Cell::Bool(view.is_new_visitor.unwrap_or(false)),
        (&view.landing_page).into(),
    ]
}

/// The row of a custom event, in the order of the table's columns.
pub fn custom_event_cells<'a>(
    event: &'a QueuedEvent,
    custom: &'a CustomEvent,
) -> [Cell<'a>; TRACKED_EVENT.columns.len()] {
    [
        event.id.as_str().into(),
        event.timestamp().into(),
        metadata(custom).into(),
        event.queued_at.into(),
        custom.definition().into(),
        event.project_id.as_str().into(),
        (&custom.session_id).into(),
    ]
}

/// The sender's additional data, plus the event's type.
fn metadata(custom: &CustomEvent) -> String {
    let (name, event_type) = ("eventType", &custom.event_type);
    match &custom.metadata {
        Some(metadata) => metadata.with(name, event_type),
        None => Object::default().with(name, event_type),
    }
}
