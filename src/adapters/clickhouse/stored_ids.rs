//! Which events the server has.
//!
//! An event is looked for by project, moment and id, as tables are sorted by project and moment.
//! So what has to be read is about the batch itself and whatever else happened in the same
//! seconds.

use std::collections::HashMap;

use ::clickhouse::Row;
use serde::Deserialize;

use super::connection::Connection;
use super::{errors, sql};
use bklit_pipeline::store::StoreError;
use bklit_pipeline::store::schema::Table;
use bklit_wire::event::QueuedEvent;

/// Rows of the same seconds that are read whatever the batch, and as many again for each of its
/// events. When there are more, the ids are looked for one by one, which costs the server more.
const READ_ANYHOW: usize = 50_000;
const READ_PER_EVENT: usize = 4;

/// Ids looked for in one statement.
const IDS_AT_ONCE: usize = 10_000;

#[derive(Row, Deserialize)]
struct StoredId<'a> {
    project_id: &'a str,
    id: &'a str,
}

/// The events that are looked for, each with whether it was found.
struct Wanted<'a> {
    events: &'a [&'a QueuedEvent],
    /// By project and id; made when there is a first row, as mostly there is none.
    places: HashMap<(&'a str, &'a str), usize>,
    found: Vec<bool>,
}

/// The events that are not in the table, in their order.
pub(super) async fn missing<'a>(
    connection: &Connection,
    table: &Table,
    events: &[&'a QueuedEvent],
) -> Result<Vec<&'a QueuedEvent>, StoreError> {
    let limit = READ_ANYHOW + READ_PER_EVENT * events.len();
    let mut wanted = Wanted { events, places: HashMap::new(), found: vec![false; events.len()] };
    let all = format!("{} LIMIT {}", select(table, events), limit + 1);
    if read(connection, &all, &mut wanted).await? > limit {
        for some in events.chunks(IDS_AT_ONCE) {
            let ids = sql::is_one_of("id", some.iter().map(|event| event.id.as_str()));
            let some = format!("{} AND {ids}", select(table, some));
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

/// Everything in the seconds of the events.
fn select(table: &Table, events: &[&QueuedEvent]) -> String {
    let mut projects: Vec<_> = events.iter().map(|event| event.project_id.as_str()).collect();
    // Most have their neighbour's project: without those there is little to sort.
    projects.dedup();
    projects.sort_unstable();
    projects.dedup();
    let mut seconds: Vec<_> =
        events.iter().map(|event| event.timestamp().epoch_seconds()).collect();
    seconds.sort_unstable();
    seconds.dedup();
    let seconds: Vec<_> = seconds.iter().map(ToString::to_string).collect();
    // Not by definition, although the table is sorted by it too: an event whose definition was
    // made anew between two tries is still the same event. Ids of other programs may be no text
    // that we could read, and then are none of ours.
    format!(
        "SELECT project_id, id FROM {} WHERE project_id IN ({}) AND timestamp IN ({}) \
         AND isValidUTF8(id)",
        table.name,
        sql::list(projects),
        seconds.join(", ")
    )
}

/// Notes the wanted events among the rows; returns how many rows there were.
async fn read(
    connection: &Connection,
    sql: &str,
    wanted: &mut Wanted<'_>,
) -> Result<usize, StoreError> {
    let failed = |error: ::clickhouse::error::Error| errors::of_statement(&error);
    connection
        .in_time(async {
            let mut cursor = connection.statement(sql).fetch::<StoredId<'_>>().map_err(failed)?;
            let mut rows = 0;
            while let Some(StoredId { project_id, id }) = cursor.next().await.map_err(failed)? {
                rows += 1;
                wanted.find(project_id, id);
            }
            Ok(rows)
        })
        .await
}
