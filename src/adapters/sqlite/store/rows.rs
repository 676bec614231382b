//! Inserts events as rows of the embedded store's tables.

use std::sync::LazyLock;

use rusqlite::types::{ToSql, ToSqlOutput, Value, ValueRef};
use rusqlite::{CachedStatement, Transaction, params_from_iter};

use bklit_pipeline::store::rows::{Cell, custom_event_cells, page_view_cells};
use bklit_pipeline::store::schema::{PAGE_VIEW_EVENT, TRACKED_EVENT, Table};
use bklit_wire::event::{Payload, QueuedEvent};

/// A cell as a statement parameter.
pub(super) struct Parameter<'a>(pub(super) Cell<'a>);

impl ToSql for Parameter<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match &self.0 {
            Cell::Null => ValueRef::Null,
            Cell::Text(text) => ValueRef::Text(text.as_bytes()),
            Cell::Real(number) => ValueRef::Real(*number),
            Cell::Bool(yes) => ValueRef::Integer((*yes).into()),
            Cell::Int(number) => ValueRef::Integer((*number).into()),
            Cell::Millis(number) => ValueRef::Integer(*number),
            Cell::Moment(moment) => {
                return Ok(ToSqlOutput::Owned(Value::Text(moment.to_date_time())));
            }
        }))
    }
}

static INSERT_PAGE_VIEW: LazyLock<String> = LazyLock::new(|| insert_new(&PAGE_VIEW_EVENT));
static INSERT_TRACKED_EVENT: LazyLock<String> = LazyLock::new(|| insert_new(&TRACKED_EVENT));

/// Adds the row unless the project already has one with this id. Not `INSERT OR IGNORE`, which
/// would also ignore a row that violates another constraint.
fn insert_new(table: &Table) -> String {
    let marks = vec!["?"; table.columns.len()].join(", ");
    format!(
        "INSERT INTO {} ({}) VALUES ({marks}) ON CONFLICT (project_id, id) DO NOTHING",
        table.name,
        table.column_list()
    )
}

/// Adds events in a transaction, with statements that are prepared once.
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

    /// Stores an event as a row; false if it was already stored, or if its kind has no row.
    pub(super) fn insert(&mut self, event: &QueuedEvent) -> rusqlite::Result<bool> {
        let added = match &event.payload {
            Payload::Pageview(view) => self
                .page_views
                .execute(params_from_iter(page_view_cells(event, view).map(Parameter)))?,
            Payload::Event(custom) => self
                .custom_events
                .execute(params_from_iter(custom_event_cells(event, custom).map(Parameter)))?,
            Payload::SessionEnd(_) => 0,
        };
        Ok(added == 1)
    }
}
