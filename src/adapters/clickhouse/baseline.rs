//! The baseline tables next to Bklit's.
//!
//! Rows are encoded separately from the worker's batches. Both use the same protection against
//! duplicates.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;

use super::blocks::{self, Origin, Record, Target, Views};
use super::events::{digest, month};
use super::native::Block;
use super::{ClickHouseStore, query, sql, stored_ids};
use bklit_pipeline::store::baseline;
use bklit_pipeline::store::baseline::{Baseline, Gap, Kind, Pick, READ_LIMITS, Rows, Side, Span};
use bklit_pipeline::store::rows::Cell;
use bklit_pipeline::store::schema::{BASELINE_GAP, BASELINE_TABLES};
use bklit_pipeline::store::{Dialect, QueryResult, StoreError};
use bklit_wire::event::QueuedEvent;
use bklit_wire::sql::Engine;
use bklit_wire::time::UtcMillis;

pub(super) const DIALECT: Dialect = Dialect {
    engine: Engine::Clickhouse,
    columns: "SELECT table, name, type FROM system.columns WHERE database = currentDatabase() \
              ORDER BY table, position",
    text: sql::literal,
    moment: |seconds| format!("toDateTime({})", seconds.clamp(0, u32::MAX.into())),
    // Independent of the column's time zone.
    seconds: |column| format!("toUnixTimestamp({column})"),
};

impl ClickHouseStore {
    async fn read_rows(&self, sql: &str) -> Result<QueryResult, StoreError> {
        // The statement is generated here, so an error is never the input's fault.
        query::run(&self.connection, sql, READ_LIMITS).await.map_err(|error| match error {
            StoreError::Refused(reason) => StoreError::Unavailable(reason),
            unavailable @ StoreError::Unavailable(_) => unavailable,
        })
    }

    async fn write_baseline(&self, kind: Kind, events: &[&QueuedEvent]) -> Result<(), StoreError> {
        let table = kind.table(Side::Baseline);
        let schema = self.schemas.of(&self.connection, table).await?;
        let missing = stored_ids::missing(&self.connection, table, &schema, events).await?;
        if missing.is_empty() {
            return Ok(());
        }
        let token = format!("{}:{}", table.name, digest(&missing));
        let target = Target { table, token, origin: Origin::Events, views: Views::Served };
        let rows: Vec<_> = missing.into_iter().map(Row).collect();
        Ok(blocks::insert(self, &target, &rows).await?)
    }
}

/// An event's row in the baseline.
struct Row<'e>(&'e QueuedEvent);

impl Record for Row<'_> {
    fn moment(&self) -> UtcMillis {
        self.0.timestamp()
    }

    fn write(&self, block: &mut Block<'_>) -> Result<(), String> {
        baseline::cells(self.0).map_or(Ok(()), |cells| block.row(&cells))
    }
}

impl Record for Gap {
    fn moment(&self) -> UtcMillis {
        UtcMillis::from_epoch_millis(self.since.saturating_mul(1000))
    }

    fn write(&self, block: &mut Block<'_>) -> Result<(), String> {
        let until = UtcMillis::from_epoch_millis(self.until.saturating_mul(1000));
        let events = Cell::Int(i32::try_from(self.events).unwrap_or(i32::MAX));
        block.row(&[Cell::Moment(self.moment()), Cell::Moment(until), events])
    }
}

#[async_trait]
impl Baseline for ClickHouseStore {
    async fn prepare(&self) -> Result<(), StoreError> {
        self.create_missing().await.map(|_| ())
    }

    async fn exists(&self) -> Result<bool, StoreError> {
        let tables = self.server_tables().await?;
        let exists = |name: &str| tables.iter().any(|found| found.name == name);
        let both = BASELINE_TABLES.iter().all(|(one, of)| exists(one.name) && exists(of.name));
        Ok(both && exists(BASELINE_GAP.name))
    }

    async fn write(&self, events: &Arc<Vec<QueuedEvent>>) -> Result<(), StoreError> {
        let mut groups: BTreeMap<(Kind, i32), Vec<&QueuedEvent>> = BTreeMap::new();
        let mut seen = HashSet::new();
        for event in events.iter() {
            if let Some(kind) = Kind::of(event)
                && seen.insert((kind, &event.project_id, &event.id))
            {
                // One block per partition: the server stores a block whole or not at all.
                groups.entry((kind, month(event.timestamp()))).or_default().push(event);
            }
        }
        for ((kind, _), events) in groups {
            self.write_baseline(kind, &events).await?;
        }
        Ok(())
    }

    async fn record_gap(&self, gap: Gap) -> Result<(), StoreError> {
        let token = format!("{}:{}:{}:{}", BASELINE_GAP.name, gap.since, gap.until, gap.events);
        let (origin, views) = (Origin::Derived, Views::Served);
        let target = Target { table: &BASELINE_GAP, token, origin, views };
        Ok(blocks::insert(self, &target, &[gap]).await?)
    }

    async fn gaps(&self, span: &Span) -> Result<Vec<Gap>, StoreError> {
        let result = self.read_rows(&baseline::gaps_in(&DIALECT, span)).await?;
        Ok(baseline::gaps(span, &result))
    }

    async fn read(&self, side: Side, kind: Kind, pick: Pick<'_>) -> Result<Rows, StoreError> {
        let result = self.read_rows(&baseline::select(&DIALECT, side, kind, pick)).await?;
        baseline::rows(kind, pick, result)
    }

    async fn count(&self, side: Side, kind: Kind, span: &Span) -> Result<u64, StoreError> {
        baseline::counted(&self.read_rows(&baseline::count(&DIALECT, side, kind, span)).await?)
    }

    async fn extent(&self, kind: Kind) -> Result<Option<[i64; 2]>, StoreError> {
        Ok(baseline::extent(&self.read_rows(&baseline::extent_of(&DIALECT, kind)).await?))
    }
}
