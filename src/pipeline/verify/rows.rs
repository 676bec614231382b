//! Reads the rows of events, however large they are.

use std::collections::HashMap;

use super::compare::Pair;
use crate::store::StoreError;
use crate::store::baseline::{Baseline, EventKey, Kind, Pick, Row, Side};

/// Adds the rows of some events on one side. With `seconds`, only those that happened then.
pub async fn collect(
    store: &dyn Baseline,
    side: Side,
    kind: Kind,
    keys: &[EventKey],
    seconds: &[i64],
    pairs: &mut HashMap<EventKey, Pair>,
) -> Result<(), StoreError> {
    let mut parts = vec![keys];
    while let Some(keys) = parts.pop() {
        if keys.is_empty() {
            continue;
        }
        let read = store.read(side, kind, Pick::Events { keys, seconds }).await?;
        // A single event with this many rows is wrong, whatever the other rows are.
        if read.truncated && keys.len() > 1 {
            parts.extend(<[_; 2]>::from(keys.split_at(keys.len() / 2)));
            continue;
        }
        for row in read.rows {
            rows_of(pairs.entry(row.key(kind)).or_default(), side).push(row);
        }
    }
    Ok(())
}

/// The rows of one side.
pub fn rows_of(pair: &mut Pair, side: Side) -> &mut Vec<Row> {
    match side {
        Side::Queue => &mut pair.queue,
        Side::Baseline => &mut pair.baseline,
    }
}
