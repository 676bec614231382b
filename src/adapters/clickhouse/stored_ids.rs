//! Which events a table already has.
//!
//! Tables are sorted by project and timestamp, so a lookup filters by project, timestamp and id.
//! The server reads only the batch's own rows and those of the same seconds.

use ::clickhouse::Row;
use foldhash::{HashMap, HashMapExt as _};
use serde::Deserialize;

use super::connection::Connection;
use super::table_schema::TableSchema;
use super::{errors, sql};
use bklit_pipeline::store::StoreError;
use bklit_pipeline::store::schema::Table;
use bklit_wire::event::QueuedEvent;

/// Limit of rows to read for the same seconds: a constant plus a number per event. Above it, the
/// query filters by id, which is more work for the server.
const BASE_ROWS: usize = 50_000;
const ROWS_PER_EVENT: usize = 4;

/// Ids in one statement.
const IDS_AT_ONCE: usize = 10_000;

/// The columns have other names than those of the table, whose types may be others.
#[derive(Row, Deserialize)]
struct StoredId<'a> {
    project: &'a str,
    event: &'a str,
}

/// The events to look up, and which of them were found.
struct Wanted<'a> {
    events: &'a [&'a QueuedEvent],
    /// Index by project and id. Built for the first row only, because usually no row is found.
    places: HashMap<(&'a str, &'a str), usize>,
    found: Vec<bool>,
}

/// The events that are missing from the table, in their original order.
pub(super) async fn missing<'a>(
    connection: &Connection,
    table: &Table,
    schema: &TableSchema,
    events: &[&'a QueuedEvent],
) -> Result<Vec<&'a QueuedEvent>, StoreError> {
    let storable = events.iter().copied();
    let storable: Vec<_> =
        storable.filter(|event| schema.fits("project_id", &event.project_id)).collect();
    if storable.is_empty() {
        return Ok(events.to_vec());
    }
    let limit = BASE_ROWS + ROWS_PER_EVENT * events.len();
    let select = |events: &[&QueuedEvent]| select(table, schema, events);
    let mut wanted = Wanted { events, places: HashMap::new(), found: vec![false; events.len()] };
    let all = format!("{} LIMIT {}", select(&storable), limit + 1);
    if read(connection, &all, &mut wanted).await? > limit {
        for some in storable.chunks(IDS_AT_ONCE) {
            let ids = sql::is_one_of("event", some.iter().map(|event| event.id.as_str()));
            let some = format!("{} AND {ids}", select(some));
            read(connection, &some, &mut wanted).await?;
        }
    }
    let missing = events.iter().zip(&wanted.found).filter(|(_, found)| !**found);
    Ok(missing.map(|(event, _)| *event).collect())
}

impl Wanted<'_> {
    fn find(&mut self, project_id: &str, id: &str) {
        if self.places.is_empty() {
            let events = self.events.iter().copied();
            self.places = events
                .map(|event| (event.project_id.as_str(), event.id.as_str()))
                .zip(0..)
                .collect();
        }
        if let Some(&place) = self.places.get(&(project_id, id)) {
            self.found[place] = true;
        }
    }
}

/// Selects the ids of all rows in the seconds of these events.
fn select(table: &Table, schema: &TableSchema, events: &[&QueuedEvent]) -> String {
    let mut projects: Vec<_> = events.iter().map(|event| event.project_id.as_str()).collect();
    // Adjacent events mostly have the same project: removing repeats first leaves little to sort.
    projects.dedup();
    projects.sort_unstable();
    projects.dedup();
    let mut seconds: Vec<_> =
        events.iter().map(|event| event.timestamp().epoch_seconds()).collect();
    seconds.sort_unstable();
    seconds.dedup();
    let moments = moments(schema, &seconds);
    // Not filtered by definition, although the table is sorted by it too: an event stays the same
    // when its definition is recreated between two attempts. Rows of other programs may have ids
    // that are not UTF-8; these cannot match ours.
    format!(
        "SELECT {} AS project, {} AS event FROM {} WHERE project_id IN ({}) AND {moments} AND isValidUTF8(event)",
        sql::text("project_id"),
        sql::text("id"),
        table.name,
        sql::list(projects),
    )
}

/// A condition that is true in these seconds, which are in order.
fn moments(schema: &TableSchema, seconds: &[i64]) -> String {
    let list = seconds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match (seconds, schema.subseconds) {
        ([first, .., last] | [first @ last], true) => format!(
            "timestamp >= toDateTime({first}) AND timestamp < toDateTime({}) \
             AND toUnixTimestamp(timestamp) IN ({list})",
            last.saturating_add(1)
        ),
        _ => format!("timestamp IN ({list})"),
    }
}

/// Marks the wanted events among the rows; returns the number of rows.
async fn read(
    connection: &Connection,
    sql: &str,
    wanted: &mut Wanted<'_>,
) -> Result<usize, StoreError> {
    let failed = |error: ::clickhouse::error::Error| errors::of_statement(&error);
    connection
        .in_time(async {
            let statement = connection.statement(sql);
            let query = connection.query(&statement, &connection.settings_of(&statement));
            let mut cursor = query.fetch::<StoredId<'_>>().map_err(failed)?;
            let mut rows = 0;
            while let Some(StoredId { project, event }) = cursor.next().await.map_err(failed)? {
                rows += 1;
                wanted.find(project, event);
            }
            Ok(rows)
        })
        .await
}
