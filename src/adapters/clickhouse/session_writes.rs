//! Writes what has been planned for sessions.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::blocks::{self, Origin, Record, Target, Views};
use super::connection::Insertion;
use super::events::month;
use super::native::Block;
use super::session_plan::{Next, Plan};
use super::session_state::{self, StateRows};
use super::settings::MERGE_ROWS;
use super::{ClickHouseStore, recovery};
use bklit_pipeline::store::StoreError;
use bklit_pipeline::store::schema::TRACKED_SESSION;
use bklit_wire::time::UtcMillis;

/// Writes the states, then the versions. The server ignores versions that are repeated with the same
/// `attempt`.
pub(super) async fn write(
    store: &ClickHouseStore,
    attempt: usize,
    clock: u32,
    planned: &[Plan<'_>],
) -> Result<(), StoreError> {
    let mut states = StateRows::default();
    let mut months: BTreeMap<i32, Vec<(&Plan<'_>, u32)>> = BTreeMap::new();
    for plan in planned {
        let version = match plan.next {
            Next::Now(version) => version,
            Next::None | Next::Later(_) => 0,
        };
        states.add(plan.key, &plan.known, version);
        if version > 0
            && let Some(started) = plan.session.started_at()
        {
            months.entry(month(started)).or_default().push((plan, version));
        }
    }
    store.writer.mark_states(&mut states);
    recovery::mark_written(store, clock, &mut states);
    insert(store, &session_state::insert_into(), states.finish()).await?;
    store.writer.begun();
    for (month, versions) in months {
        write_versions(store, attempt, month, &versions).await?;
    }
    Ok(())
}

/// Writes the versions of one partition.
async fn write_versions(
    store: &ClickHouseStore,
    attempt: usize,
    month: i32,
    versions: &[(&Plan<'_>, u32)],
) -> Result<(), StoreError> {
    let versions: Vec<_> = versions.iter().map(|&(plan, at)| Row { plan, at }).collect();
    let token = format!("{}:{month}:{attempt}", TRACKED_SESSION.name);
    let target =
        Target { table: &TRACKED_SESSION, token, origin: Origin::Derived, views: Views::Served };
    Ok(blocks::insert(store, &target, &versions).await?)
}

/// A version of a session.
struct Row<'p, 'k> {
    plan: &'p Plan<'k>,
    /// Its `updated_at`, in seconds since the epoch.
    at: u32,
}

impl Record for Row<'_, '_> {
    fn moment(&self) -> UtcMillis {
        self.plan.session.started_at().unwrap_or(UtcMillis::from_epoch_millis(0))
    }

    fn write(&self, block: &mut Block<'_>) -> Result<(), String> {
        let mut shown = self.plan.session.shown(self.plan.key);
        if let Some(latest) = &self.plan.latest {
            latest.keep_in(&mut shown);
        }
        let updated_at = UtcMillis::from_epoch_millis(i64::from(self.at) * 1000);
        block.row(&shown.cells(self.plan.key, updated_at))
    }
}

/// Inserts rows to which repeats add nothing.
pub(super) async fn insert(
    store: &ClickHouseStore,
    into: &str,
    rows: Bytes,
) -> Result<(), StoreError> {
    // Keys do not repeat within an insert.
    let settings = vec![(MERGE_ROWS, "0".to_owned())];
    let insertion = Insertion { into, token: None, rows, settings };
    Ok(store.connection.insert(&insertion).await?)
}
