//! Rows that cannot be read, for example because the file is damaged. They must not block the
//! queue: a body that is not text is moved to the failed events unchanged.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};

use super::tables::{Tables, now_millis};

/// A body that cannot be read.
pub(super) struct Unreadable {
    seq: i64,
    reason: String,
}

/// Reads the body from a row of `seq, body`. A BLOB that is valid UTF-8 is accepted as text.
pub(super) fn body(row: &Row<'_>) -> rusqlite::Result<Result<String, Unreadable>> {
    let seq = row.get(0)?;
    let reason = match row.get_ref(1)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => return Ok(Ok(text.to_owned())),
            Err(error) => format!("invalid UTF-8 at byte {}", error.valid_up_to()),
        },
        other => format!("{} instead of text", other.data_type()),
    };
    Ok(Err(Unreadable { seq, reason }))
}

/// A value as text, for display.
pub(super) fn lossy_text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Null => String::new(),
    }
}

impl Tables {
    /// Moves items to the failed events. The caller adjusts the count that they were part of.
    pub(super) fn set_aside(&mut self, items: &[Unreadable]) -> rusqlite::Result<()> {
        for Unreadable { seq, reason } in items {
            let reason = format!("cannot be read from the queue's file: {reason}");
            let sql = "INSERT INTO failed_item (body, reason, failed_at)
                       SELECT coalesce(body, ''), ?, ? FROM queue_item WHERE seq = ?";
            let row = params![reason, now_millis(), seq];
            self.connection.prepare_cached(sql)?.execute(row)?;
            let sql = "DELETE FROM queue_item WHERE seq = ?";
            self.connection.prepare_cached(sql)?.execute([seq])?;
            self.state.stats.failed += 1;
            tracing::error!(seq, reason, "moved an unreadable event to the failed events");
        }
        Ok(())
    }
}

/// Removes batches that cannot be read and appends their items to the queue again. The store
/// recognises those that are already stored.
pub(super) fn dissolve_batches(connection: &Connection) -> rusqlite::Result<()> {
    let sql = "SELECT hex(id), id, first_seq, last_seq, epoch FROM batch";
    let mut unreadable = Vec::new();
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let read = row.get::<_, String>(1).and_then(|_| {
            let [_, _] = [row.get::<_, i64>(2)?, row.get::<_, i64>(3)?];
            row.get::<_, u64>(4)
        });
        if let Err(error) = read {
            tracing::error!(%error, "cannot read a batch of the queue; its events are queued again");
            unreadable.push(row.get::<_, String>(0)?);
        }
    }
    if unreadable.is_empty() {
        return Ok(());
    }
    for id in &unreadable {
        connection.execute("DELETE FROM batch WHERE hex(id) = ?", [id])?;
        connection.execute("DELETE FROM batch_claim WHERE hex(batch_id) = ?", [id])?;
    }
    let claimed_to: i64 =
        connection
            .query_row("SELECT coalesce(max(last_seq), 0) FROM batch", (), |row| row.get(0))?;
    let orphans = "seq <= ? AND NOT EXISTS
                   (SELECT 1 FROM batch WHERE seq BETWEEN first_seq AND last_seq)";
    let again = "INSERT INTO queue_item (body) SELECT body FROM queue_item WHERE";
    connection.execute(&format!("{again} {orphans} ORDER BY seq"), [claimed_to])?;
    connection.execute(&format!("DELETE FROM queue_item WHERE {orphans}"), [claimed_to])?;
    Ok(())
}
