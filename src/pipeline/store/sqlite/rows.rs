//! Events as rows of the embedded store's tables.

use std::borrow::Cow;
use std::sync::LazyLock;

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Transaction, params_from_iter};
use serde_json::{Map, Value};

use crate::pipeline::event::{CustomEvent, PageView, Payload, QueuedEvent};
use crate::pipeline::store::schema::{PAGE_VIEW_EVENT, TRACKED_EVENT, Table};

/// A value to store: texts are borrowed from the event.
enum Cell<'a> {
    Null,
    Text(Cow<'a, str>),
    Real(f64),
    Bool(bool),
}

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Bool(yes) => ValueRef::Integer((*yes).into()),
        }))
    }
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

static INSERT_PAGE_VIEW: LazyLock<String> = LazyLock::new(|| insert_new(&PAGE_VIEW_EVENT));
static INSERT_TRACKED_EVENT: LazyLock<String> = LazyLock::new(|| insert_new(&TRACKED_EVENT));

/// Adds the row unless the project has one with this id. Not `INSERT OR IGNORE`, which would
/// also pass over a row that breaks another rule.
fn insert_new(table: &Table) -> String {
    let marks = vec!["?"; table.columns.len()].join(", ");
    format!(
        "INSERT INTO {} ({}) VALUES ({marks}) ON CONFLICT (project_id, id) DO NOTHING",
        table.name,
        table.column_list()
    )
}

/// Adds events within a transaction; its statements are prepared once.
pub(super) struct Rows<'t> {
    page_views: CachedStatement<'t>,
    custom_events: CachedStatement<'t>,
}

impl<'t> Rows<'t> {
    pub(super) fn new(transaction: &'t Transaction<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            page_views: transaction.prepare_cached(&INSERT_PAGE_VIEW)?,
            custom_events: transaction.prepare_cached(&INSERT_TRACKED_EVENT)?,
        })
    }

    /// Stores an event as its row; false when it was there, or is of a kind that has none.
    pub(super) fn insert(&mut self, event: &QueuedEvent) -> rusqlite::Result<bool> {
        let added = match &event.payload {
            Payload::Pageview(view) => {
                self.page_views.execute(params_from_iter(page_view_cells(event, view)))?
            }
            Payload::Event(custom) => {
                self.custom_events.execute(params_from_iter(custom_event_cells(event, custom)))?
            }
            Payload::SessionEnd(_) => 0,
        };
        Ok(added == 1)
    }
}

/// In the order of the table's columns; a test compares each with the field of its name.
fn page_view_cells<'a>(
    event: &'a QueuedEvent,
    view: &'a PageView,
) -> [Cell<'a>; PAGE_VIEW_EVENT.columns.len()] {
    [
        event.id.as_str().into(),
        view.url.as_str().into(),
        event.timestamp().to_date_time().into(),
        event.queued_at.to_date_time().into(),
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

fn custom_event_cells<'a>(
    event: &'a QueuedEvent,
    custom: &'a CustomEvent,
) -> [Cell<'a>; TRACKED_EVENT.columns.len()] {
    [
        event.id.as_str().into(),
        event.timestamp().to_date_time().into(),
        metadata(custom).into(),
        event.queued_at.to_date_time().into(),
        custom.tracking_id.as_str().into(),
        event.project_id.as_str().into(),
        (&custom.session_id).into(),
    ]
}

/// What the sender added, with the event's type.
fn metadata(custom: &CustomEvent) -> String {
    let mut all: Map<String, Value> = custom.metadata.clone().unwrap_or_default();
    all.insert("eventType".to_owned(), custom.event_type.as_str().into());
    Value::Object(all).to_string()
}
