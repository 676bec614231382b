//! Whether other programs start sessions, so that versions need not be searched for if none does.
//! Bklit's services number their versions differently.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ::clickhouse::Row;
use serde::Deserialize;

use super::ClickHouseStore;
use bklit_pipeline::store::StoreError;
use bklit_pipeline::store::schema::TRACKED_SESSION;
use bklit_pipeline::store::session::ROW_ID_PREFIX;

/// How long after the start of a session another program may write its first version, in seconds.
const LATE: i64 = 10 * 60;

/// What has been searched so far.
#[derive(Default)]
pub(super) struct ForeignStarts(Mutex<Searched>);

#[derive(Clone, Copy, Default)]
struct Searched {
    /// Sessions that started between these times, in seconds since the epoch.
    times: Option<(i64, i64)>,
    /// The latest start that was found; 0 if there was none.
    latest: u32,
}

/// What is known now.
pub(super) struct ForeignSessions {
    /// The server's clock, in seconds since the epoch.
    pub(super) clock: u32,
    /// Whether another program has started a session since the given time.
    pub(super) exist: bool,
}

#[derive(Row, Deserialize)]
struct Found {
    clock: u32,
    latest: u32,
}

impl ForeignStarts {
    fn searched(&self) -> MutexGuard<'_, Searched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server's clock, in seconds since the epoch.
pub(super) async fn clock(store: &ClickHouseStore) -> Result<u32, StoreError> {
    since(store, None).await.map(|foreign| foreign.clock)
}

/// Whether other programs have started sessions since this time, in seconds since the epoch.
pub(super) async fn since(
    store: &ClickHouseStore,
    since: Option<i64>,
) -> Result<ForeignSessions, StoreError> {
    let clock = "toUInt32(toUnixTimestamp(now())) AS clock";
    let before = *store.foreign_starts.searched();
    let from = since.map(|since| match before.times {
        Some((from, until)) if from <= since => since.max(until - LATE),
        _ => since,
    });
    let query = match from {
        Some(from) => format!(
            "SELECT {clock}, toUInt32(ifNull(toUnixTimestamp(max(started_at)), 0)) AS latest \
             FROM {} WHERE started_at >= toDateTime({}) AND NOT startsWith(id, '{ROW_ID_PREFIX}')",
            TRACKED_SESSION.name,
            from.max(0)
        ),
        None => format!("SELECT {clock}, toUInt32(0) AS latest"),
    };
    let rows: Vec<Found> = store.connection.rows(store.connection.statement(&query)).await?;
    let found = rows
        .first()
        .ok_or_else(|| StoreError::Unavailable("ClickHouse did not report its time".to_owned()))?;
    let mut searched = store.foreign_starts.searched();
    searched.latest = searched.latest.max(found.latest);
    if let Some(since) = since {
        let from = searched.times.map_or(since, |(from, _)| from.min(since));
        searched.times = Some((from, i64::from(found.clock)));
    }
    let exist = since.is_some_and(|since| i64::from(searched.latest) >= since);
    Ok(ForeignSessions { clock: found.clock, exist })
}
