//! Writes what has been planned for sessions.

use std::collections::BTreeMap;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::encode::Encoder;
use super::events::month;
use super::session_state::{self, STATE, StateRows};
use super::sessions::{Next, Plan};
use super::{ClickHouseStore, postponed};
use bklit_pipeline::store::StoreError;
use bklit_pipeline::store::schema::TRACKED_SESSION;
use bklit_wire::time::UtcMillis;

/// Writes the states, then the versions.
pub(super) async fn write(
    store: &ClickHouseStore,
    writer: &str,
    planned: &[Plan<'_>],
) -> Result<(), StoreError> {
    let mut states = StateRows::default();
    let mut later = Vec::new();
    let mut months: BTreeMap<i32, Vec<(&Plan<'_>, u32)>> = BTreeMap::new();
    for plan in planned {
        let version = match plan.next {
            Next::Now(version) => version,
            Next::None => 0,
            Next::Later(due) => {
                later.push((plan.key, due));
                0
            }
        };
        if plan.is_new || version > 0 {
            states.add(plan.key, &plan.known, version);
        }
        if version > 0
            && let Some(started) = plan.session.started_at()
        {
            months.entry(month(started)).or_default().push((plan, version));
        }
    }
    postponed::record(store, writer, &later).await?;
    insert(store, &session_state::insert_into(), &format!("{writer}:{STATE}"), states.finish())
        .await?;
    for (month, versions) in months {
        write_versions(store, writer, month, &versions).await?;
    }
    Ok(())
}

/// Writes the versions of one partition.
async fn write_versions(
    store: &ClickHouseStore,
    writer: &str,
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
    let token = format!("{writer}:{}:{month}", TRACKED_SESSION.name);
    let result = insert(store, &into, &token, encoder.finish()).await;
    store.unless_altered(&TRACKED_SESSION, &schema, result).await
}

/// Inserts rows, if there are any. The token identifies them.
pub(super) async fn insert(
    store: &ClickHouseStore,
    into: &str,
    token: &str,
    rows: Bytes,
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let token = format!("{token}:{}", HEXLOWER.encode(&Sha256::digest(&rows)[..16]));
    store.connection.insert(into, &token, rows).await
}
