//! The port `Baseline`: the rows that ingestion inserts by itself, without queue and worker, for
//! as long as both ways are compared. They lie in tables of their own beside the store's.

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

/// The way by which a row came into the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Through the queue and the worker: the tables that dashboards read.
    Queue,
    /// Inserted by ingestion itself.
    Baseline,
}

impl Side {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Queue, Self::Baseline];
}

/// Events that have rows, by their table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Page views.
    PageViews,
    /// Custom events.
    CustomEvents,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::PageViews, Self::CustomEvents];

    /// The kind of an event; `None` for one that has no row.
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

/// Names an event: ids are their project's own.
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
    /// In the order of the table's columns; moments as seconds since the epoch.
    pub cells: Vec<Value>,
}

impl Row {
    /// The cell of a column.
    pub fn cell(&self, kind: Kind, column: &str) -> &Value {
        let columns = kind.table(Side::Queue).columns;
        let at = columns.iter().position(|known| known.name == column);
        at.and_then(|at| self.cells.get(at)).unwrap_or(&Value::Null)
    }

    /// Which event it is.
    pub fn key(&self, kind: Kind) -> EventKey {
        let text = |column| self.cell(kind, column).as_str().unwrap_or_default().to_owned();
        EventKey { project_id: text("project_id"), id: text("id") }
    }

    /// When it was accepted, in seconds since the epoch.
    pub fn created_at(&self, kind: Kind) -> i64 {
        self.cell(kind, "created_at").as_i64().unwrap_or_default()
    }

    /// Where it stands relative to another row in the table's order.
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

/// Rows accepted within a time, by `created_at`: seconds since the epoch, the end not included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// From this second on.
    pub since: i64,
    /// Up to before this second.
    pub until: i64,
    /// Of this project only.
    pub project: Option<String>,
}

/// A time in which events were not written to the baseline, in seconds since the epoch, both ends
/// included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// When the first of them was accepted.
    pub since: i64,
    /// When the last of them was.
    pub until: i64,
    /// How many they are; 0 when that is not known.
    pub events: u64,
}

impl Gap {
    /// Both gaps and what is between them.
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
    /// Those of a span, in the table's order.
    Span {
        /// The span.
        span: &'a Span,
        /// Only what comes after this row.
        after: Option<&'a Row>,
        /// At most so many.
        most: usize,
    },
    /// Those of some events, whenever they were accepted.
    Events {
        /// The events.
        keys: &'a [EventKey],
        /// Only those that happened in these seconds, which are found faster; all when empty.
        seconds: &'a [i64],
    },
}

/// Rows as read.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// The rows.
    pub rows: Vec<Row>,
    /// There may be more: of a span `most` came, or they were too large for one answer.
    pub truncated: bool,
}

/// What ingestion inserts by itself, and how both sides are read. All methods are safe to call
/// concurrently.
#[async_trait]
pub trait Baseline: Send + Sync {
    /// Makes the tables that are missing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn prepare(&self) -> Result<(), StoreError>;

    /// Whether there are baseline tables to compare with.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn exists(&self) -> Result<bool, StoreError>;

    /// Adds the rows of the events that have none yet; those without a row are passed over.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: any part may be written, do it again.
    /// [`StoreError::Refused`]: some event in it can never be stored.
    async fn write(&self, events: &Arc<Vec<QueuedEvent>>) -> Result<(), StoreError>;

    /// Notes that events are not in the baseline, although they were accepted.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: do it again, noting it twice changes nothing.
    async fn note_gap(&self, gap: Gap) -> Result<(), StoreError>;

    /// The gaps that reach into a span.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn gaps(&self, span: &Span) -> Result<Vec<Gap>, StoreError>;

    /// Rows of one side.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn read(&self, side: Side, kind: Kind, pick: Pick<'_>) -> Result<Rows, StoreError>;

    /// How many rows one side has in a span.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn count(&self, side: Side, kind: Kind, span: &Span) -> Result<u64, StoreError>;

    /// The least and the greatest `created_at` of the baseline, in seconds since the epoch; `None`
    /// when it has no rows of this kind.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn extent(&self, kind: Kind) -> Result<Option<[i64; 2]>, StoreError>;
}
