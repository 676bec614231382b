//! The port `Baseline`: rows that ingestion inserts directly, without queue and worker, while both
//! paths are compared. They are in separate tables in the same database as the store's.
//!
//! - `cells`: builds an event's row
//! - `select`: the SQL that reads both sides, and its results

mod cells;
mod select;

use std::cmp::Ordering;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

pub use self::cells::cells;
pub use self::select::{
    READ_LIMITS, count, counted, extent, extent_of, gaps, gaps_in, moment, number, rows, select,
};
use super::StoreError;
use super::schema::{
    PAGE_VIEW_EVENT, PAGE_VIEW_EVENT_BASELINE, TRACKED_EVENT, TRACKED_EVENT_BASELINE, Table,
};
use bklit_wire::event::{Payload, QueuedEvent};

/// The path by which a row came into the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Through the queue and the worker: the tables that dashboards read.
    Queue,
    /// Inserted directly by ingestion.
    Baseline,
}

impl Side {
    /// Both sides.
    pub const ALL: [Self; 2] = [Self::Queue, Self::Baseline];
}

/// The kinds of events that have rows, one for each table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Page views.
    PageViews,
    /// Custom events.
    CustomEvents,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::PageViews, Self::CustomEvents];

    /// The kind of an event; `None` for one without a row.
    pub fn of(event: &QueuedEvent) -> Option<Self> {
        match &event.payload {
            Payload::Pageview(_) => Some(Self::PageViews),
            Payload::Event(_) => Some(Self::CustomEvents),
            Payload::SessionEnd(_) => None,
        }
    }

    /// Its table on one side. Both sides have the same columns in the same order.
    pub fn table(self, side: Side) -> &'static Table {
        match (self, side) {
            (Self::PageViews, Side::Queue) => &PAGE_VIEW_EVENT,
            (Self::PageViews, Side::Baseline) => &PAGE_VIEW_EVENT_BASELINE,
            (Self::CustomEvents, Side::Queue) => &TRACKED_EVENT,
            (Self::CustomEvents, Side::Baseline) => &TRACKED_EVENT_BASELINE,
        }
    }
}

/// The key of an event: ids are unique within a project.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventKey {
    /// The project.
    pub project_id: String,
    /// The event's id.
    pub id: String,
}

/// A stored row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// In the order of the table's columns; times as seconds since the epoch.
    pub cells: Vec<Value>,
}

impl Row {
    /// The cell of a column.
    pub fn cell(&self, kind: Kind, column: &str) -> &Value {
        let columns = kind.table(Side::Queue).columns;
        let at = columns.iter().position(|known| known.name == column);
        at.and_then(|at| self.cells.get(at)).unwrap_or(&Value::Null)
    }

    /// The key of its event.
    pub fn key(&self, kind: Kind) -> EventKey {
        let text = |column| self.cell(kind, column).as_str().unwrap_or_default().to_owned();
        EventKey { project_id: text("project_id"), id: text("id") }
    }

    /// When its event was accepted, in seconds since the epoch.
    pub fn created_at(&self, kind: Kind) -> i64 {
        self.cell(kind, "created_at").as_i64().unwrap_or_default()
    }

    /// Compares it with another row in the table's order.
    pub fn order(&self, other: &Self, kind: Kind) -> Ordering {
        let columns = kind.table(Side::Queue).order.iter();
        columns.fold(Ordering::Equal, |known, column| {
            known.then_with(|| order(self.cell(kind, column), other.cell(kind, column)))
        })
    }
}

fn order(one: &Value, other: &Value) -> Ordering {
    match (one, other) {
        (Value::String(one), Value::String(other)) => one.cmp(other),
        _ => one.as_i64().cmp(&other.as_i64()),
    }
}

/// A span of time by `created_at`, in seconds since the epoch, excluding the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The first second.
    pub since: i64,
    /// The second after the last.
    pub until: i64,
    /// Restricts it to this project.
    pub project: Option<String>,
}

/// A period in which events were not written to the baseline, in seconds since the epoch, including
/// both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// When the first of these events was accepted.
    pub since: i64,
    /// When the last of them was accepted.
    pub until: i64,
    /// Their number; 0 if not known.
    pub events: u64,
}

impl Gap {
    /// A gap that covers both and the time between them.
    pub fn merged(self, other: Self) -> Self {
        Self {
            since: self.since.min(other.since),
            until: self.until.max(other.until),
            events: self.events.saturating_add(other.events),
        }
    }
}

/// Which rows to read.
#[derive(Clone, Copy, Debug)]
pub enum Pick<'a> {
    /// The rows of a span, in the table's order.
    Span {
        /// The span.
        span: &'a Span,
        /// Only rows after this one.
        after: Option<&'a Row>,
        /// The most rows to read.
        most: usize,
    },
    /// The rows of some events, whenever they were accepted.
    Events {
        /// The events.
        keys: &'a [EventKey],
        /// Only rows of events that happened in these seconds, which are found faster; empty for all.
        seconds: &'a [i64],
    },
}

/// The result of reading rows.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// The rows.
    pub rows: Vec<Row>,
    /// Whether there may be more: the limit was reached, or the rows were too large for one result.
    pub truncated: bool,
}

/// Writes the baseline and reads both sides. All methods are safe to call concurrently.
#[async_trait]
pub trait Baseline: Send + Sync {
    /// Creates missing tables.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn prepare(&self) -> Result<(), StoreError>;

    /// Whether there are baseline tables to compare with.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn exists(&self) -> Result<bool, StoreError>;

    /// Adds the rows of events that have none yet; skips events without a row.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: any part may have been written; call it again.
    /// [`StoreError::Refused`]: some event in it can never be stored.
    async fn write(&self, events: &Arc<Vec<QueuedEvent>>) -> Result<(), StoreError>;

    /// Records that accepted events are missing from the baseline.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: call it again; recording a gap twice changes nothing.
    async fn record_gap(&self, gap: Gap) -> Result<(), StoreError>;

    /// The gaps that overlap a span.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn gaps(&self, span: &Span) -> Result<Vec<Gap>, StoreError>;

    /// Reads rows of one side.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn read(&self, side: Side, kind: Kind, pick: Pick<'_>) -> Result<Rows, StoreError>;

    /// The number of rows of one side in a span.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn count(&self, side: Side, kind: Kind, span: &Span) -> Result<u64, StoreError>;

    /// The first and last `created_at` of the baseline, in seconds since the epoch; `None` if it has
    /// no rows of this kind.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn extent(&self, kind: Kind) -> Result<Option<[i64; 2]>, StoreError>;
}
