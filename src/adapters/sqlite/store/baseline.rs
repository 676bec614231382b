//! The baseline tables in the store's file.

use std::sync::Arc;

use async_trait::async_trait;
use data_encoding::HEXLOWER;
use rusqlite::{params, params_from_iter};

use super::rows::Parameter;
use super::{SqliteStore, query, tables};
use bklit_pipeline::store::baseline;
use bklit_pipeline::store::baseline::{Baseline, Gap, Kind, Pick, READ_LIMITS, Rows, Side, Span};
use bklit_pipeline::store::schema::{BASELINE_GAP, BASELINE_TABLES};
use bklit_pipeline::store::{Dialect, QueryResult, StoreError};
use bklit_wire::event::QueuedEvent;
use bklit_wire::sql::Engine;

pub(super) const DIALECT: Dialect = Dialect {
    engine: Engine::Sqlite,
    columns: "SELECT t.name, c.name, c.type FROM sqlite_schema AS t \
              JOIN pragma_table_info(t.name) AS c \
              WHERE t.type IN ('table', 'view') AND t.name NOT LIKE 'sqlite@_%' ESCAPE '@' \
              ORDER BY t.name, c.cid",
    // Also for characters that a literal cannot contain.
    text: |text| format!("CAST(x'{}' AS TEXT)", HEXLOWER.encode(text.as_bytes())),
    moment: |seconds| format!("'{}'", baseline::moment(seconds)),
    seconds: |column| format!("unixepoch({column})"),
};

impl SqliteStore {
    async fn read_rows(&self, sql: &str) -> Result<QueryResult, StoreError> {
        query::run(&self.path, &self.queries, sql, READ_LIMITS).await
    }
}

#[async_trait]
impl Baseline for SqliteStore {
    async fn prepare(&self) -> Result<(), StoreError> {
        self.write(|transaction| transaction.execute_batch(&tables::baseline_definitions())).await
    }

    async fn exists(&self) -> Result<bool, StoreError> {
        let tables = BASELINE_TABLES.iter().map(|(table, _)| table.name);
        let names: Vec<_> =
            tables.chain([BASELINE_GAP.name]).map(|name| format!("'{name}'")).collect();
        let list = names.join(", ");
        let sql = format!("SELECT count(*) FROM sqlite_schema WHERE name IN ({list})");
        Ok(baseline::number(&self.read_rows(&sql).await?) == Some(names.len() as i64))
    }

    async fn write(&self, events: &Arc<Vec<QueuedEvent>>) -> Result<(), StoreError> {
        let events = Arc::clone(events);
        self.write(move |transaction| {
            for event in events.iter() {
                let (Some(kind), Some(cells)) = (Kind::of(event), baseline::cells(event)) else {
                    continue;
                };
                let table = kind.table(Side::Baseline);
                let marks = vec!["?"; cells.len()].join(", ");
                let sql = format!(
                    "INSERT INTO {} ({}) VALUES ({marks}) ON CONFLICT (project_id, id) DO NOTHING",
                    table.name,
                    table.column_list()
                );
                transaction
                    .prepare_cached(&sql)?
                    .execute(params_from_iter(cells.into_iter().map(Parameter)))?;
            }
            Ok(())
        })
        .await
    }

    async fn record_gap(&self, gap: Gap) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let sql = format!("INSERT INTO {} VALUES (?, ?, ?)", BASELINE_GAP.name);
            let (since, until) = (baseline::moment(gap.since), baseline::moment(gap.until));
            let events = i32::try_from(gap.events).unwrap_or(i32::MAX);
            transaction.execute(&sql, params![since, until, events]).map(|_| ())
        })
        .await
    }

    async fn gaps(&self, span: &Span) -> Result<Vec<Gap>, StoreError> {
        let result = self.read_rows(&baseline::gaps_in(&DIALECT, span)).await?;
        Ok(baseline::gaps(span, &result))
    }

    async fn read(&self, side: Side, kind: Kind, pick: Pick<'_>) -> Result<Rows, StoreError> {
        // Ids are indexed, so the time is not needed.
        let pick = match pick {
            Pick::Events { keys, .. } => Pick::Events { keys, seconds: &[] },
            span @ Pick::Span { .. } => span,
        };
        let result = self.read_rows(&baseline::select(&DIALECT, side, kind, pick)).await?;
        baseline::rows(kind, pick, result)
    }

    async fn count(&self, side: Side, kind: Kind, span: &Span) -> Result<u64, StoreError> {
        let result = self.read_rows(&baseline::count(&DIALECT, side, kind, span)).await?;
        baseline::counted(&result)
    }

    async fn extent(&self, kind: Kind) -> Result<Option<[i64; 2]>, StoreError> {
        Ok(baseline::extent(&self.read_rows(&baseline::extent_of(&DIALECT, kind)).await?))
    }
}
