//! Inserts events, each exactly once.
//!
//! Rows of one table and partition form one block, which the server stores whole or not at all. A
//! block's deduplication token is derived from the batch and the events in the block, so the server
//! keeps only one of two inserts of the same block, however they end.
//!
//! The token alone is not enough: an event may arrive again in a different batch, and the server
//! may have recorded a token without its rows. So an insert first queries which events are stored,
//! and sends only the others. If the same block may have been sent before, it then checks again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use data_encoding::HEXLOWER;
use foldhash::{HashSet, HashSetExt as _};
use jiff::tz::TimeZone;

use super::blocks::{self, Origin, Record, Sending, Sent, Target, Views};
use super::errors::InsertError;
use super::native::Block;
use super::table_schema::TableSchema;
use super::{ClickHouseStore, settings, stored_ids};
use bklit_pipeline::store::rows::{custom_event_cells, page_view_cells};
use bklit_pipeline::store::schema::{PAGE_VIEW_EVENT, TRACKED_EVENT, Table};
use bklit_pipeline::store::{self, Batch, StoreError};
use bklit_wire::event::{EventKind, Payload, QueuedEvent};
use bklit_wire::time::UtcMillis;

/// Pauses between checks for rows whose insert succeeded but that are missing. Another insert of
/// the same block may be about to commit them; the total is much longer than that takes.
const SETTLING: [Duration; 5] = [
    Duration::from_millis(20),
    Duration::from_millis(80),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_millis(1_000),
];

const SECONDS_OF_DAY: i64 = 24 * 60 * 60;

/// Tokens tried for a block before giving up: normally one, two after the server lost a part.
const GENERATIONS: u32 = 3;

/// Events whose rows belong to the same table and partition.
pub(super) struct Group<'a> {
    pub(super) table: &'static Table,
    month: i32,
    pub(super) events: Vec<&'a QueuedEvent>,
}

impl Group<'_> {
    /// Identifies it in this process. A queue that was set up anew may use the batch's id again.
    fn key(&self, batch: &str) -> String {
        let Self { table, month, events } = self;
        let first = events.first().map_or("", |event| event.id.as_str());
        let last = events.last().map_or("", |event| event.id.as_str());
        format!("{batch}:{}:{month}:{}:{first}:{last}", table.name, events.len())
    }

    /// The positions of some of its events, which are in the same order; `None` if they are all.
    fn positions(&self, some: &[&QueuedEvent]) -> Option<Vec<usize>> {
        if some.len() == self.events.len() {
            return None;
        }
        let mut some = some.iter().peekable();
        let events = self.events.iter().enumerate();
        let found =
            events.filter(|(_, event)| some.next_if(|one| std::ptr::eq(**one, **event)).is_some());
        Some(found.map(|(position, _)| position).collect())
    }
}

/// Stores the batch's events; returns the positions of those that were stored before.
pub(super) async fn store(
    store: &ClickHouseStore,
    batch: &Batch,
) -> Result<Vec<usize>, StoreError> {
    let groups = groups(&batch.events);
    let keys = groups.iter().flat_map(|group| group.events.iter());
    let keys = keys.map(|event| (&event.project_id, &event.id));
    let _held = store.key_locks.hold(keys).await;
    let mut new = Vec::with_capacity(batch.events.len());
    for group in &groups {
        new.append(&mut store_group(store, batch, group).await?);
    }
    let has_row = |event: &QueuedEvent| event.payload.kind() != EventKind::SessionEnd;
    if new.len() == batch.events.iter().filter(|event| has_row(event)).count() {
        return Ok(Vec::new());
    }
    let new: HashSet<usize> = new.into_iter().map(address).collect();
    let known = |event: &QueuedEvent| has_row(event) && !new.contains(&address(event));
    let events = batch.events.iter().enumerate();
    Ok(events.filter(|(_, event)| known(event)).map(|(position, _)| position).collect())
}

/// Identifies an event within its batch.
fn address(event: &QueuedEvent) -> usize {
    std::ptr::from_ref(event).addr()
}

/// Groups the events by table and month, in a fixed order and without duplicates.
fn groups(events: &[QueuedEvent]) -> Vec<Group<'_>> {
    let mut groups: BTreeMap<(&str, i32), Group<'_>> = BTreeMap::new();
    let mut seen = HashSet::with_capacity(events.len());
    // Most events are of the same day as the one before.
    let (mut last_day, mut month_of_day) = (i64::MIN, 0);
    for event in events {
        let table = match &event.payload {
            Payload::Pageview(_) => &PAGE_VIEW_EVENT,
            Payload::Event(_) => &TRACKED_EVENT,
            // Has no row; see `sessions`.
            Payload::SessionEnd(_) => continue,
        };
        if seen.insert((table.name, &event.project_id, &event.id)) {
            let moment = event.timestamp();
            let day = moment.epoch_seconds().div_euclid(SECONDS_OF_DAY);
            if day != last_day {
                (last_day, month_of_day) = (day, month(moment));
            }
            let month = month_of_day;
            let new = || Group { table, month, events: Vec::new() };
            groups.entry((table.name, month)).or_insert_with(new).events.push(event);
        }
    }
    groups.into_values().collect()
}

/// The partition key, `toYYYYMM`. If the server's time zone is not UTC, an insert may span two
/// partitions; the server then treats them as two blocks, even with the same token.
pub(super) fn month(moment: UtcMillis) -> i32 {
    let date = TimeZone::UTC.to_datetime(moment.timestamp()).date();
    i32::from(date.year()) * 100 + i32::from(date.month())
}

/// Stores a group; returns the events that were new.
async fn store_group<'a>(
    store: &ClickHouseStore,
    batch: &Batch,
    group: &Group<'a>,
) -> Result<Vec<&'a QueuedEvent>, StoreError> {
    let schema = store.schemas.of(&store.connection, group.table).await?;
    let block = group.key(&batch.id);
    let sent = store.in_doubt.take(&block);
    let mut missing = match &sent {
        Some(Sent { positions: Some(positions), .. }) => {
            positions.iter().filter_map(|&at| group.events.get(at).copied()).collect()
        }
        None if store.check_ids => missing_of(store, group, &schema, &group.events).await?,
        _ => group.events.clone(),
    };
    let new = missing.clone();
    let (mut views, mut note, mut sending) = (Views::Served, None, None);
    for generation in sent.map_or(0, |sent| sent.generation)..GENERATIONS {
        if missing.is_empty() {
            break;
        }
        let sent = Sent { positions: group.positions(&missing), generation };
        sending.into_iter().for_each(Sending::resolve);
        sending = schema.remembers_tokens.then(|| store.in_doubt.sending(&block, sent));
        match insert(store, &batch.id, group, &missing, generation, views).await {
            Ok(()) if needs_no_check(store, batch, &schema, generation) => missing.clear(),
            Ok(()) => missing = settled(store, group, &schema, missing).await?,
            Err(InsertError::View(reason)) if views == Views::Served => {
                note = Some(blocks::lacking(group.table.name, missing.len(), &reason));
                views = Views::Ignored;
                if store.check_ids {
                    // Without tokens, only looking for the rows shows which of them were stored.
                    missing = missing_of(store, group, &schema, &missing).await?;
                }
            }
            Err(error) => {
                // Of a refused block nothing is in doubt; its halves follow.
                if matches!(error, InsertError::Rows(_)) {
                    sending.into_iter().for_each(Sending::resolve);
                }
                return Err(error.into());
            }
        }
    }
    sending.into_iter().for_each(Sending::resolve);
    if missing.is_empty() {
        note.into_iter().for_each(|note| store.notes.add(note));
        return Ok(new);
    }
    Err(StoreError::Unavailable(format!(
        "ClickHouse confirmed an insert of batch {} into {}, but {} of its rows are missing",
        batch.id,
        group.table.name,
        missing.len()
    )))
}

/// Whether a confirmed insert needs no check. The server can have recorded a token without its rows
/// only if the token was used before, and can have confirmed rows that it has not stored only if its
/// inserts are asynchronous.
fn needs_no_check(
    store: &ClickHouseStore,
    batch: &Batch,
    schema: &TableSchema,
    generation: u32,
) -> bool {
    let is_first = batch.is_first_attempt && generation == 0;
    let is_asynchronous = store.connection.not_allowed.contains(settings::ASYNC);
    !store.check_ids || schema.replicated || is_first && !is_asynchronous
}

async fn missing_of<'a>(
    store: &ClickHouseStore,
    group: &Group<'_>,
    schema: &TableSchema,
    events: &[&'a QueuedEvent],
) -> Result<Vec<&'a QueuedEvent>, StoreError> {
    stored_ids::missing(&store.connection, group.table, schema, events).await
}

/// The events that are still missing after concurrent inserts have ended.
async fn settled<'a>(
    store: &ClickHouseStore,
    group: &Group<'_>,
    schema: &TableSchema,
    mut missing: Vec<&'a QueuedEvent>,
) -> Result<Vec<&'a QueuedEvent>, StoreError> {
    missing = missing_of(store, group, schema, &missing).await?;
    for pause in SETTLING {
        if missing.is_empty() {
            break;
        }
        tokio::time::sleep(pause).await;
        missing = missing_of(store, group, schema, &missing).await?;
    }
    Ok(missing)
}

async fn insert(
    store: &ClickHouseStore,
    batch: &str,
    group: &Group<'_>,
    events: &[&QueuedEvent],
    generation: u32,
    views: Views,
) -> Result<(), InsertError> {
    let Group { table, month, .. } = group;
    let mut token = format!("{batch}:{}:{month}:{}", table.name, digest(events));
    if generation > 0 {
        // Writing to a String cannot fail.
        let _ = write!(token, ":{generation}");
    }
    let target = Target { table, token, origin: Origin::Events, views };
    let rows: Vec<_> = events.iter().map(|event| Row(event)).collect();
    blocks::insert(store, &target, &rows).await
}

/// An event's row.
struct Row<'e>(&'e QueuedEvent);

impl Record for Row<'_> {
    fn moment(&self) -> UtcMillis {
        self.0.timestamp()
    }

    fn write(&self, block: &mut Block<'_>) -> Result<(), String> {
        match &self.0.payload {
            Payload::Pageview(view) => block.row(&page_view_cells(self.0, view)),
            Payload::Event(custom) => block.row(&custom_event_cells(self.0, custom)),
            Payload::SessionEnd(_) => Ok(()),
        }
    }
}

/// Identifies the events of a block. Needed in addition to the batch id: a queue that was recreated
/// may use the id of a stored batch for other events.
pub(super) fn digest(events: &[&QueuedEvent]) -> String {
    HEXLOWER.encode(&store::digest(events.iter().copied())[..16])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clickhouse::migrate::ServerTable;
    use crate::clickhouse::table_schema::ServerColumn;

    fn schema(table: &'static Table) -> TableSchema {
        let column = |name: &str, r#type: String| ServerColumn {
            name: name.to_owned(),
            r#type,
            default_kind: String::new(),
        };
        let columns = table.columns.iter().map(|known| {
            let kind = crate::clickhouse::table_schema::type_name(known.kind);
            let nullable = format!("Nullable({kind})");
            column(known.name, if known.nullable { nullable } else { kind.to_owned() })
        });
        let server = ServerTable {
            name: table.name.to_owned(),
            engine: "MergeTree".to_owned(),
            engine_full: String::new(),
        };
        TableSchema::new(table, Some(&server), &columns.collect::<Vec<_>>()).unwrap()
    }

    fn encode(schema: &TableSchema, events: &[&QueuedEvent]) -> bytes::Bytes {
        let mut block = Block::new(schema, true);
        events.iter().for_each(|event| Row(event).write(&mut block).unwrap());
        block.finish()
    }

    fn event(json: &str) -> QueuedEvent {
        QueuedEvent::from_json(json).unwrap()
    }

    /// After a crash, events are read from the queue again.
    #[test]
    fn a_batch_that_is_read_again_is_the_same_block() {
        let view = r#"{"id":"evt_1","type":"pageview","payload":{"url":"/","lat":59.91,"mobile":true},"queuedAt":"2026-01-31T12:00:00.123Z","projectId":"p"}"#;
        let custom = r#"{"id":"evt_2","type":"event","payload":{"trackingId":"t","eventType":"click","metadata":{"z":1.5,"a":{"ø":[null]},"m":"x"}},"queuedAt":"2026-01-31T12:00:00.123Z","projectId":"p"}"#;
        for (table, json) in [(&PAGE_VIEW_EVENT, view), (&TRACKED_EVENT, custom)] {
            let blocks: HashSet<_> =
                (0..10).map(|_| encode(&schema(table), &[&event(json), &event(json)])).collect();
            assert_eq!(blocks.len(), 1, "{}", table.name);
        }
    }

    #[test]
    fn a_block_is_encoded_as_the_format_requires() {
        let custom = |id: &str| {
            event(&format!(
                r#"{{"id":"{id}","type":"event","payload":{{"trackingId":"t","eventType":"c"}},"queuedAt":"1970-01-01T00:00:02.000Z","projectId":"p"}}"#,
            ))
        };
        let block = encode(&schema(&TRACKED_EVENT), &[&custom("e"), &custom("f")]);
        let start =
            b"\x07\x02\x02id\x06String\x01e\x01f\x09timestamp\x08DateTime\x02\0\0\0\x02\0\0\0\
                      \x08metadata\x10Nullable(String)\0\0\x11{\"eventType\":\"c\"}";
        assert!(block.starts_with(start), "{:?}", block.escape_ascii().to_string());
        assert!(block.ends_with(b"\x0asession_id\x10Nullable(String)\x01\x01\0\0"));
    }

    #[test]
    fn groups_are_by_table_and_month_and_have_each_event_once() {
        let view = |id: &str, time: &str| {
            event(&format!(
                r#"{{"id":"{id}","type":"pageview","payload":{{"url":"/"}},"queuedAt":"{time}","projectId":"p"}}"#
            ))
        };
        let events = [
            view("1", "2026-02-01T00:00:00Z"),
            view("2", "2026-01-31T23:59:59.999Z"),
            view("1", "2026-02-01T00:00:00Z"),
        ];
        let found: Vec<_> = groups(&events)
            .iter()
            .map(|group| {
                (group.month, group.events.iter().map(|e| e.id.clone()).collect::<String>())
            })
            .collect();
        assert_eq!(found, [(202_601, "2".to_owned()), (202_602, "1".to_owned())]);
    }
}
