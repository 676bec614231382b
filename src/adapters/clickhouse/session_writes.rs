//! Writes what has been planned for sessions.

use std::collections::BTreeMap;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::encode::Encoder;
use super::events::month;
use super::session_state::{self, StateRows};
use super::sessions::{Next, Plan};
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
    recovery::mark_written(store, clock, &mut states);
    insert(store, &session_state::insert_into(), states.finish()).await?;
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
    let schema = store.schemas.of(&store.connection, &TRACKED_SESSION).await?;
    let mut encoder = Encoder::with_header(&schema);
    for (plan, version) in versions {
        let mut shown = plan.session.shown(plan.key);
        if let Some(latest) = &plan.latest {
            latest.keep_in(&mut shown);
        }
        let updated_at = UtcMillis::from_epoch_millis(i64::from(*version) * 1000);
        encoder.row(&schema, &shown.cells(plan.key, updated_at));
    }
    let columns = schema.column_list();
    let into = format!("{} ({columns}) FORMAT RowBinaryWithNamesAndTypes", TRACKED_SESSION.name);
    let rows = encoder.finish();
    let digest = HEXLOWER.encode(&Sha256::digest(&rows)[..16]);
    let token = format!("{}:{month}:{digest}:{attempt}", TRACKED_SESSION.name);
    let result = store.connection.insert(&into, Some(&token), rows).await;
    store.unless_altered(&TRACKED_SESSION, &schema, result).await
}

/// Inserts rows to which repeats add nothing.
pub(super) async fn insert(
    store: &ClickHouseStore,
    into: &str,
    rows: Bytes,
) -> Result<(), StoreError> {
    store.connection.insert(into, None, rows).await
}
