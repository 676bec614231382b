//! The tables of Bklit's ClickHouse as data, so that all stores have the same columns.

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// Text.
    Text,
    /// A time in UTC, to the second: `YYYY-MM-DD HH:MM:SS`.
    DateTime,
    /// A floating-point number.
    Float64,
    /// An integer.
    Int32,
    /// A boolean as 1 or 0.
    Bool,
}

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: ColumnType,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// What ClickHouse stores for a row without a value, as an expression; `None` for the default of
    /// the type.
    pub default: Option<&'static str>,
}

/// A table.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns, in order.
    pub columns: &'static [Column],
    /// The columns it is sorted by.
    pub order: &'static [&'static str],
}

const fn required(name: &'static str, kind: ColumnType) -> Column {
    Column { name, kind, nullable: false, default: None }
}

/// The time at which a row is written, unless it says otherwise.
const fn written_at(name: &'static str) -> Column {
    let default = Some("now()");
    Column { default, ..required(name, ColumnType::DateTime) }
}

/// False unless a row says otherwise.
const fn flag(name: &'static str) -> Column {
    Column { default: Some("false"), ..required(name, ColumnType::Bool) }
}

const fn optional(name: &'static str, kind: ColumnType) -> Column {
    Column { name, kind, nullable: true, default: None }
}

const fn text(name: &'static str) -> Column {
    optional(name, ColumnType::Text)
}

/// One row per page view.
pub const PAGE_VIEW_EVENT: Table = Table {
    name: "page_view_event",
    columns: &[
        required("id", ColumnType::Text),
        required("url", ColumnType::Text),
        required("timestamp", ColumnType::DateTime),
        written_at("created_at"),
        text("city"),
        text("country"),
        text("country_code"),
        text("ip"),
        text("isp"),
        optional("lat", ColumnType::Float64),
        optional("lon", ColumnType::Float64),
        optional("mobile", ColumnType::Bool),
        text("region"),
        text("region_name"),
        text("timezone"),
        text("zip"),
        text("user_agent"),
        text("session_id"),
        required("project_id", ColumnType::Text),
        text("referrer"),
        text("utm_campaign"),
        text("utm_content"),
        text("utm_medium"),
        text("utm_source"),
        text("utm_term"),
        text("title"),
        text("description"),
        text("og_image"),
        text("og_title"),
        text("favicon"),
        text("canonical_url"),
        text("language"),
        text("robots"),
        text("referrer_hostname"),
        text("referrer_path"),
        text("referrer_type"),
        text("utm_id"),
        text("gclid"),
        text("fbclid"),
        text("msclkid"),
        text("ttclid"),
        text("li_fat_id"),
        text("twclid"),
        flag("is_new_visitor"),
        text("landing_page"),
    ],
    order: &["project_id", "timestamp", "id"],
};

/// One row per custom event.
pub const TRACKED_EVENT: Table = Table {
    name: "tracked_event",
    columns: &[
        required("id", ColumnType::Text),
        required("timestamp", ColumnType::DateTime),
        text("metadata"),
        written_at("created_at"),
        required("event_definition_id", ColumnType::Text),
        required("project_id", ColumnType::Text),
        text("session_id"),
    ],
    order: &["project_id", "event_definition_id", "timestamp", "id"],
};

/// Page views as inserted directly by ingestion.
pub const PAGE_VIEW_EVENT_BASELINE: Table =
    Table { name: "page_view_event_baseline", ..PAGE_VIEW_EVENT };

/// Custom events as inserted directly by ingestion.
pub const TRACKED_EVENT_BASELINE: Table = Table { name: "tracked_event_baseline", ..TRACKED_EVENT };

/// Periods in which events were not written to the baseline, so that they cannot be compared.
pub const BASELINE_GAP: Table = Table {
    name: "baseline_gap",
    columns: &[
        required("since", ColumnType::DateTime),
        required("until", ColumnType::DateTime),
        required("events", ColumnType::Int32),
    ],
    order: &["since"],
};

/// Versions of sessions, of which the one with the latest `updated_at` counts. The embedded store
/// keeps only that one.
pub const TRACKED_SESSION: Table = Table {
    name: "tracked_session",
    columns: &[
        required("id", ColumnType::Text),
        required("session_id", ColumnType::Text),
        required("started_at", ColumnType::DateTime),
        optional("ended_at", ColumnType::DateTime),
        optional("duration", ColumnType::Int32),
        flag("did_bounce"),
        text("visitor_id"),
        required("entry_page", ColumnType::Text),
        text("exit_page"),
        text("user_agent"),
        text("country"),
        text("country_code"),
        text("city"),
        required("project_id", ColumnType::Text),
        written_at("updated_at"),
    ],
    order: &["project_id", "started_at", "session_id"],
};

/// All tables.
pub const TABLES: [&Table; 3] = [&PAGE_VIEW_EVENT, &TRACKED_EVENT, &TRACKED_SESSION];

/// The tables of the baseline, which exist only during verification, each with the table it is
/// compared with.
pub const BASELINE_TABLES: [(&Table, &Table); 2] =
    [(&PAGE_VIEW_EVENT_BASELINE, &PAGE_VIEW_EVENT), (&TRACKED_EVENT_BASELINE, &TRACKED_EVENT)];

impl Table {
    /// The names of its columns, comma-separated.
    pub fn column_list(&self) -> String {
        self.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
    }
}
