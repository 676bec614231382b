//! Sessions in the embedded store: one row each.

use std::sync::LazyLock;

use rusqlite::{CachedStatement, OptionalExtension, Row, Transaction, params, params_from_iter};

use super::rows::Parameter;
use bklit_pipeline::store::rows::Cell;
use bklit_pipeline::store::schema::TRACKED_SESSION;
use bklit_pipeline::store::session::{Session, Sourced};
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

/// The table behind the view `tracked_session`.
pub(super) const TABLE: &str = "session_state";

/// Columns of [`TABLE`] in addition to those of `tracked_session`. A `…_key` identifies the page
/// view that a value is from.
pub(super) const INTERNAL_COLUMNS: &[(&str, &str)] = &[
    ("entry_key", "TEXT"),
    ("exit_key", "TEXT"),
    ("user_agent_key", "TEXT"),
    ("country_key", "TEXT"),
    ("country_code_key", "TEXT"),
    ("city_key", "TEXT"),
    ("last_at", "INTEGER"),
    ("last_seen", "INTEGER"),
    ("end_at", "INTEGER"),
    ("end_seen", "INTEGER"),
    ("idle_since", "INTEGER"),
];

/// Reads a row of [`SELECT`]. Invalid UTF-8 must not block the session's events.
fn from_row(row: &Row<'_>) -> rusqlite::Result<Session> {
    let text = |column: usize| -> rusqlite::Result<Option<String>> {
        let bytes = row.get_ref(column)?.as_bytes_or_null()?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
    };
    let sourced = |key: usize| -> rusqlite::Result<Option<Sourced>> {
        let (key, value) = (text(key)?, text(key + 1)?);
        Ok(key.map(|key| Sourced { key, value: value.unwrap_or_default() }))
    };
    Ok(Session {
        last_at: row.get(0)?,
        last_seen: row.get(1)?,
        end_at: row.get(2)?,
        end_seen: row.get(3)?,
        entry: sourced(4)?,
        exit: sourced(6)?,
        user_agent: sourced(8)?,
        country: sourced(10)?,
        country_code: sourced(12)?,
        city: sourced(14)?,
    })
}

static SELECT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT last_at, last_seen, end_at, end_seen, entry_key, entry_page, exit_key, \
         exit_page, user_agent_key, user_agent, country_key, country, country_code_key, \
         country_code, city_key, city FROM {TABLE} WHERE project_id = ?1 AND session_id = ?2"
    )
});

/// Inserts or updates the row; `updated_at` changes only with what the row shows.
static UPSERT: LazyLock<String> = LazyLock::new(|| {
    let key = ["id", "project_id", "session_id", "updated_at"];
    let public = TRACKED_SESSION.columns.iter().map(|column| column.name);
    let internal = INTERNAL_COLUMNS.iter().map(|(name, _)| *name);
    let columns: Vec<_> = public.clone().chain(internal).collect();
    let marks = vec!["?"; columns.len()].join(", ");
    let changed = columns.iter().filter(|name| !key.contains(name));
    let updates: Vec<_> = changed.map(|name| format!("{name} = excluded.{name}")).collect();
    let shown = public.filter(|name| !key.contains(name));
    let same: Vec<_> = shown.map(|name| format!("{name} IS excluded.{name}")).collect();
    format!(
        "INSERT INTO {TABLE} ({}) VALUES ({marks}) ON CONFLICT (project_id, session_id) DO UPDATE \
         SET {}, updated_at = CASE WHEN {} THEN updated_at \
         ELSE max(excluded.updated_at, updated_at) END",
        columns.join(", "),
        updates.join(", "),
        same.join(" AND ")
    )
});

static FORGET: LazyLock<String> =
    LazyLock::new(|| format!("DELETE FROM {TABLE} WHERE idle_since < ?1 AND entry_key IS NULL"));

static IDLE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT project_id, session_id, rowid FROM {TABLE} \
         WHERE idle_since < ?1 AND entry_key IS NOT NULL ORDER BY idle_since LIMIT ?2"
    )
});

/// Reads and writes sessions in a transaction, with statements that are prepared once.
pub(super) struct Sessions<'t> {
    select: CachedStatement<'t>,
    upsert: CachedStatement<'t>,
    now: UtcMillis,
}

impl<'t> Sessions<'t> {
    pub(super) fn new(transaction: &'t Transaction<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            select: transaction.prepare_cached(&SELECT)?,
            upsert: transaction.prepare_cached(&UPSERT)?,
            now: UtcMillis::now(),
        })
    }

    /// The stored session, or an empty one.
    pub(super) fn load(&mut self, key: &SessionKey) -> rusqlite::Result<Session> {
        let key = params![key.project_id, key.session_id];
        Ok(self.select.query_row(key, from_row).optional()?.unwrap_or_default())
    }

    /// Stores a session.
    pub(super) fn save(&mut self, key: &SessionKey, session: &Session) -> rusqlite::Result<()> {
        let source = |sourced: &'_ Option<Sourced>| {
            sourced.as_ref().map_or(Cell::Null, |sourced| Cell::from(sourced.key.clone()))
        };
        let sources = [
            &session.entry,
            &session.exit,
            &session.user_agent,
            &session.country,
            &session.country_code,
            &session.city,
        ];
        let moments = [
            session.last_at,
            session.last_seen,
            session.end_at,
            session.end_seen,
            session.idle_since(),
        ];
        let moment = |millis: Option<i64>| millis.map_or(Cell::Null, Cell::Millis);
        let internal = sources.into_iter().map(source).chain(moments.into_iter().map(moment));
        let row = session.shown(key).cells(key, self.now).into_iter().chain(internal);
        self.upsert.execute(params_from_iter(row.into_iter().map(Parameter)))?;
        Ok(())
    }
}

/// Removes the rows of sessions that never started and had no activity since `since`.
pub(super) fn remove_never_started(
    transaction: &Transaction<'_>,
    since: UtcMillis,
) -> rusqlite::Result<()> {
    transaction.prepare_cached(&FORGET)?.execute(params![since.epoch_millis()])?;
    Ok(())
}

/// Up to `most` sessions that have not ended and had no activity since `since`.
pub(super) fn idle(
    transaction: &Transaction<'_>,
    since: UtcMillis,
    most: usize,
) -> rusqlite::Result<Vec<SessionKey>> {
    let mut statement = transaction.prepare_cached(&IDLE)?;
    let mut rows = statement.query(params![since.epoch_millis(), limit(most)])?;
    let (mut keys, mut damaged) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        match (row.get(0), row.get(1)) {
            (Ok(project_id), Ok(session_id)) => keys.push(SessionKey { project_id, session_id }),
            _ => damaged.push(row.get::<_, i64>(2)?),
        }
    }
    for row in damaged {
        // No event can belong to it, and each sweep would find it again.
        tracing::warn!(row, "skipping a session whose id cannot be read");
        let sql = format!("UPDATE {TABLE} SET idle_since = NULL WHERE rowid = ?1");
        transaction.prepare_cached(&sql)?.execute([row])?;
    }
    Ok(keys)
}

fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::tables::open_for_writing;
    use super::*;

    #[test]
    fn a_sweep_reads_only_open_sessions_that_are_idle() {
        let dir = tempfile::tempdir().unwrap();
        let connection = open_for_writing(&dir.path().join("store.db")).unwrap();
        for sql in [&*FORGET, &*IDLE] {
            let sql = sql.replace("?1", "7").replace("?2", "7");
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let plan = statement.query_map([], |row| row.get::<_, String>(3)).unwrap();
            let plan: Vec<_> = plan.map(Result::unwrap).collect();
            let search = format!("SEARCH {TABLE} USING INDEX {TABLE}_idle (idle_since<?)");
            assert_eq!(plan, [search], "{sql}");
        }
    }
}
