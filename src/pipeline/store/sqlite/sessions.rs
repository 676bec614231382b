//! What is known of a visitor's session, folded from its events.
//!
//! Every part of it is a smallest, a largest or a count over distinct events. So the result does
//! not depend on the order in which they come, on how they are cut into batches or on repeats.
//! It begins with a page view: before one is known, what other events say is kept aside.
//!
//! The end is the latest end that was reported, unless something happened after it: then the
//! session goes on. A visitor's clock may be fast, so for what comes after what, an event is taken
//! to have happened when it was queued at the latest.

use std::fmt::Write as _;
use std::sync::LazyLock;

use rusqlite::types::ToSql;
use rusqlite::{CachedStatement, OptionalExtension, Row, Transaction, params};
use sha2::{Digest, Sha256};

use crate::pipeline::event::{Payload, QueuedEvent};
use crate::pipeline::store::SessionKey;
use crate::pipeline::store::schema::TRACKED_SESSION;
use crate::pipeline::time::UtcMillis;

/// The table behind the view `tracked_session`.
pub(super) const TABLE: &str = "session_state";

/// Columns of [`TABLE`] beside those of `tracked_session`. A `…_key` says which page view a value
/// is from.
pub(super) const INTERNAL_COLUMNS: &[(&str, &str)] = &[
    ("views", "INTEGER NOT NULL"),
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

/// Digits of a moment in a key, so that keys sort as moments do.
const MOMENT_DIGITS: usize = 13;

/// A value and the page view it is from: its moment, then its id, so that of two in the same
/// moment the one that was accepted first counts as earlier.
#[derive(Clone, Debug, PartialEq)]
struct Sourced {
    key: String,
    value: String,
}

/// A session's state.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Session {
    views: i64,
    entry: Option<Sourced>,
    exit: Option<Sourced>,
    user_agent: Option<Sourced>,
    country: Option<Sourced>,
    country_code: Option<Sourced>,
    city: Option<Sourced>,
    /// The latest moment of an event, as its sender says.
    last_at: Option<i64>,
    /// The same, no later than it was queued.
    last_seen: Option<i64>,
    end_at: Option<i64>,
    end_seen: Option<i64>,
}

impl Session {
    /// Adds an event that was not added before.
    pub(super) fn add(&mut self, event: &QueuedEvent) {
        let at = event.timestamp().epoch_millis();
        let seen = Some(at.min(event.queued_at.epoch_millis()));
        if let Payload::SessionEnd(_) = &event.payload {
            self.end_at = self.end_at.max(Some(at));
            self.end_seen = self.end_seen.max(seen);
            return;
        }
        self.last_at = self.last_at.max(Some(at));
        self.last_seen = self.last_seen.max(seen);
        if let Payload::Pageview(view) = &event.payload {
            self.views += 1;
            let key = format!("{at:0MOMENT_DIGITS$}{}", event.id);
            if self.exit.as_ref().is_none_or(|known| known.key < key) {
                self.exit = Some(Sourced { key: key.clone(), value: view.url.clone() });
            }
            earliest(&mut self.entry, &key, Some(&view.url));
            earliest(&mut self.user_agent, &key, view.user_agent.as_deref());
            earliest(&mut self.country, &key, view.country.as_deref());
            earliest(&mut self.country_code, &key, view.country_code.as_deref());
            earliest(&mut self.city, &key, view.city.as_deref());
        }
    }

    /// Ends it as of its last event, for nothing more came.
    pub(super) fn end_as_of_last_event(&mut self) {
        self.end_at = self.end_at.max(self.last_at);
        self.end_seen = self.end_seen.max(self.last_seen);
    }

    /// Whether it is shown: without a page view there is nothing to show.
    pub(super) fn begun(&self) -> bool {
        self.views > 0
    }

    /// Whether it has ended, and nothing happened since.
    pub(super) fn ended(&self) -> bool {
        self.begun() && self.end_seen >= self.last_seen
    }

    fn ended_at(&self) -> Option<UtcMillis> {
        let end = if self.ended() { self.end_at.max(self.last_at) } else { None };
        end.map(UtcMillis::from_epoch_millis)
    }

    fn started_at(&self) -> Option<UtcMillis> {
        let moment = self.entry.as_ref()?.key.get(..MOMENT_DIGITS)?;
        Some(UtcMillis::from_epoch_millis(moment.parse().ok()?))
    }

    /// Since when nothing has happened, for as long as the sweep has to look at it.
    fn idle_since(&self) -> Option<i64> {
        if self.ended() { None } else { self.last_seen.max(self.end_seen) }
    }

    /// From a row of [`SELECT`].
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let sourced = |key: usize| -> rusqlite::Result<Option<Sourced>> {
            let found: Option<String> = row.get(key)?;
            found.map(|found| Ok(Sourced { key: found, value: row.get(key + 1)? })).transpose()
        };
        Ok(Self {
            views: row.get(0)?,
            last_at: row.get(1)?,
            last_seen: row.get(2)?,
            end_at: row.get(3)?,
            end_seen: row.get(4)?,
            entry: sourced(5)?,
            exit: sourced(7)?,
            user_agent: sourced(9)?,
            country: sourced(11)?,
            country_code: sourced(13)?,
            city: sourced(15)?,
        })
    }
}

fn earliest(known: &mut Option<Sourced>, key: &str, value: Option<&str>) {
    let Some(value) = value else { return };
    if known.as_ref().is_none_or(|known| key < known.key.as_str()) {
        *known = Some(Sourced { key: key.to_owned(), value: value.to_owned() });
    }
}

static SELECT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT views, last_at, last_seen, end_at, end_seen, entry_key, entry_page, exit_key, \
         exit_page, user_agent_key, user_agent, country_key, country, country_code_key, \
         country_code, city_key, city FROM {TABLE} WHERE project_id = ?1 AND session_id = ?2"
    )
});

/// Adds the row, or brings it up to date; `updated_at` rises with each change.
static UPSERT: LazyLock<String> = LazyLock::new(|| {
    let public = TRACKED_SESSION.columns.iter().map(|column| column.name);
    let columns: Vec<_> = public.chain(INTERNAL_COLUMNS.iter().map(|(name, _)| *name)).collect();
    let marks = vec!["?"; columns.len()].join(", ");
    let key = ["id", "project_id", "session_id", "updated_at"];
    let changed = columns.iter().filter(|name| !key.contains(name));
    let updates: Vec<_> = changed.map(|name| format!("{name} = excluded.{name}")).collect();
    format!(
        "INSERT INTO {TABLE} ({}) VALUES ({marks}) ON CONFLICT (project_id, session_id) DO UPDATE \
         SET {}, updated_at = max(excluded.updated_at, datetime(updated_at, '+1 second'))",
        columns.join(", "),
        updates.join(", ")
    )
});

/// Reads and writes sessions within a transaction; its statements are prepared once.
pub(super) struct Sessions<'t> {
    select: CachedStatement<'t>,
    upsert: CachedStatement<'t>,
    now: String,
}

impl<'t> Sessions<'t> {
    pub(super) fn new(transaction: &'t Transaction<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            select: transaction.prepare_cached(&SELECT)?,
            upsert: transaction.prepare_cached(&UPSERT)?,
            now: UtcMillis::now().to_date_time(),
        })
    }

    /// A session as it is stored, or a new one.
    pub(super) fn load(&mut self, key: &SessionKey) -> rusqlite::Result<Session> {
        let key = params![key.project_id, key.session_id];
        Ok(self.select.query_row(key, Session::from_row).optional()?.unwrap_or_default())
    }

    /// Stores a session as it is now.
    pub(super) fn save(&mut self, key: &SessionKey, session: &Session) -> rusqlite::Result<()> {
        let date_time = |moment: Option<UtcMillis>| moment.map(UtcMillis::to_date_time);
        let (started, ended) = (session.started_at(), session.ended_at());
        let seconds = |end: UtcMillis| end.epoch_seconds() - started.unwrap_or(end).epoch_seconds();
        let duration = ended.map(|end| seconds(end).clamp(0, i32::MAX.into()));
        let visitor: Option<String> = None;
        let row: [&dyn ToSql; 27] = [
            &id(key),
            &key.session_id,
            &date_time(started),
            &date_time(ended),
            &duration,
            &(session.views < 2),
            // Nothing that clients send names a visitor.
            &visitor,
            &value(&session.entry),
            &value(&session.exit),
            &value(&session.user_agent),
            &value(&session.country),
            &value(&session.country_code),
            &value(&session.city),
            &key.project_id,
            &self.now,
            &session.views,
            &source(&session.entry),
            &source(&session.exit),
            &source(&session.user_agent),
            &source(&session.country),
            &source(&session.country_code),
            &source(&session.city),
            &session.last_at,
            &session.last_seen,
            &session.end_at,
            &session.end_seen,
            &session.idle_since(),
        ];
        self.upsert.execute(&row[..])?;
        Ok(())
    }
}

/// The value, where there is one.
fn value(sourced: &Option<Sourced>) -> Option<&str> {
    sourced.as_ref().map(|sourced| sourced.value.as_str())
}

/// Which page view it is from.
fn source(sourced: &Option<Sourced>) -> Option<&str> {
    sourced.as_ref().map(|sourced| sourced.key.as_str())
}

/// The row's id: made from its key, so that it is the same whenever and wherever it is made.
fn id(key: &SessionKey) -> String {
    let mut hash = Sha256::new();
    hash.update(key.project_id.len().to_be_bytes());
    hash.update(&key.project_id);
    hash.update(&key.session_id);
    let mut id = "ses_".to_owned();
    for byte in &hash.finalize()[..16] {
        // Writing to a String cannot fail.
        let _ = write!(id, "{byte:02x}");
    }
    id
}

/// Forgets what was kept aside for sessions that never began; at most `most`.
pub(super) fn forget_never_begun(
    transaction: &Transaction<'_>,
    since: UtcMillis,
    most: usize,
) -> rusqlite::Result<()> {
    let sql = format!(
        "DELETE FROM {TABLE} WHERE rowid IN (SELECT rowid FROM {TABLE} \
         WHERE idle_since < ?1 AND views = 0 ORDER BY idle_since LIMIT ?2)"
    );
    transaction.prepare_cached(&sql)?.execute(params![since.epoch_millis(), limit(most)])?;
    Ok(())
}

/// Sessions that have not ended and in which nothing happened since `since`.
pub(super) fn idle(
    transaction: &Transaction<'_>,
    since: UtcMillis,
    most: usize,
) -> rusqlite::Result<Vec<SessionKey>> {
    let sql = format!(
        "SELECT project_id, session_id FROM {TABLE} \
         WHERE idle_since < ?1 AND views > 0 ORDER BY idle_since LIMIT ?2"
    );
    let mut statement = transaction.prepare_cached(&sql)?;
    let keys = statement.query_map(params![since.epoch_millis(), limit(most)], |row| {
        Ok(SessionKey { project_id: row.get(0)?, session_id: row.get(1)? })
    })?;
    keys.collect()
}

fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}
