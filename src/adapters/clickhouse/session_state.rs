//! The states of sessions: rows of what batches know, which the server aggregates.

use std::collections::BTreeSet;

use ::clickhouse::Row;
use bytes::Bytes;
use foldhash::{HashMap, HashMapExt as _};
use serde::Deserialize;

use super::encode::Encoder;
use super::sessions::{AT_ONCE, LOOKBACK};
use super::{ClickHouseStore, sql};
use bklit_pipeline::store::StoreError;
use bklit_pipeline::store::session::{Session, Sourced};
use bklit_wire::session::SessionKey;

/// The table of session states.
pub(super) const STATE: &str = "bklit_session_state";

/// Its columns besides the key, each with its aggregate function. A page view is stored as its time
/// and id, NUL, and the value, so that the minimum is the earliest view.
pub(super) const STATE_COLUMNS: &[(&str, &str, &str)] = &[
    ("entry", "min", "Nullable(String)"),
    ("exit", "max", "Nullable(String)"),
    ("user_agent", "min", "Nullable(String)"),
    ("country", "min", "Nullable(String)"),
    ("country_code", "min", "Nullable(String)"),
    ("city", "min", "Nullable(String)"),
    ("last_at", "max", "Nullable(Int64)"),
    ("last_seen", "max", "Nullable(Int64)"),
    ("end_at", "max", "Nullable(Int64)"),
    ("end_seen", "max", "Nullable(Int64)"),
    ("version", "max", "UInt32"),
];

/// The stored state of a session.
#[derive(Default)]
pub(super) struct State {
    pub(super) session: Session,
    /// The highest `updated_at` of a version that this program wrote, or was about to write; 0 if
    /// there is none. Later versions are from other programs.
    pub(super) version: u32,
}

impl State {
    /// The latest time of an event as of its arrival, in seconds since the epoch.
    pub(super) fn active_at(&self) -> u32 {
        let millis = self.session.latest().unwrap_or(0);
        u32::try_from(millis / 1000).unwrap_or(0)
    }

    /// The earliest start to search versions for, in seconds since the epoch: an old timestamp must
    /// not make a write search all of them.
    pub(super) fn earliest_start(&self) -> i64 {
        let active = i64::from(self.active_at());
        let start = self.session.started_at().map_or(active, |start| start.epoch_seconds());
        start.max(active - LOOKBACK)
    }
}

/// Rows to add to the table.
#[derive(Default)]
pub(super) struct StateRows {
    encoder: Encoder,
}

impl StateRows {
    /// Adds a state, and the `updated_at` of the version that follows.
    pub(super) fn add(&mut self, key: &SessionKey, known: &Session, version: u32) {
        let encoder = &mut self.encoder;
        encoder.text(&key.project_id);
        encoder.text(&key.session_id);
        let views = [
            &known.entry,
            &known.exit,
            &known.user_agent,
            &known.country,
            &known.country_code,
            &known.city,
        ];
        for view in views {
            let parts = view.as_ref().map(|Sourced { key, value }| [key, "\0", value]);
            encoder.optional_texts(parts);
        }
        for moment in [known.last_at, known.last_seen, known.end_at, known.end_seen] {
            encoder.optional_number(moment);
        }
        encoder.seconds(version);
    }

    pub(super) fn finish(self) -> Bytes {
        self.encoder.finish()
    }
}

/// The target of an insert of [`StateRows`].
pub(super) fn insert_into() -> String {
    let names: Vec<_> = STATE_COLUMNS.iter().map(|(name, ..)| *name).collect();
    format!("{STATE} (project_id, session_id, {}) FORMAT RowBinary", names.join(", "))
}

#[derive(Row, Deserialize)]
struct StateRow {
    project_id: String,
    session_id: String,
    entry: Option<String>,
    exit: Option<String>,
    user_agent: Option<String>,
    country: Option<String>,
    country_code: Option<String>,
    city: Option<String>,
    last_at: Option<i64>,
    last_seen: Option<i64>,
    end_at: Option<i64>,
    end_seen: Option<i64>,
    version: u32,
}

impl StateRow {
    fn read(self) -> (SessionKey, State) {
        let sourced = |text: Option<String>| {
            let (key, value) = text.as_deref()?.split_once('\0')?;
            Some(Sourced { key: key.to_owned(), value: value.to_owned() })
        };
        let session = Session {
            entry: sourced(self.entry),
            exit: sourced(self.exit),
            user_agent: sourced(self.user_agent),
            country: sourced(self.country),
            country_code: sourced(self.country_code),
            city: sourced(self.city),
            last_at: self.last_at,
            last_seen: self.last_seen,
            end_at: self.end_at,
            end_seen: self.end_seen,
        };
        let key = SessionKey { project_id: self.project_id, session_id: self.session_id };
        (key, State { session, version: self.version })
    }
}

/// The stored states of these sessions.
pub(super) async fn read(
    store: &ClickHouseStore,
    keys: &[&SessionKey],
) -> Result<HashMap<SessionKey, State>, StoreError> {
    let mut states = HashMap::new();
    for some in keys.chunks(AT_ONCE) {
        let projects: BTreeSet<_> = some.iter().map(|key| key.project_id.as_str()).collect();
        let sessions: BTreeSet<_> = some.iter().map(|key| key.session_id.as_str()).collect();
        let query = format!(
            "{} WHERE project_id IN ({}) AND {} GROUP BY project_id, session_id",
            select(),
            sql::list(projects),
            sql::is_one_of("session_id", sessions)
        );
        let rows: Vec<StateRow> = store.connection.rows(store.connection.statement(&query)).await?;
        states.extend(rows.into_iter().map(StateRow::read));
    }
    Ok(states)
}

fn select() -> String {
    let columns = STATE_COLUMNS
        .iter()
        .map(|(name, fold, _)| format!("{fold}({STATE}.{name}) AS {name}"))
        .collect::<Vec<_>>();
    format!("SELECT project_id, session_id, {} FROM {STATE}", columns.join(", "))
}
