//! Session states and their versions in `tracked_session`.
//!
//! The state of a session is a set of minima and maxima (see `store::session`), so neither repeated
//! events nor their order matter. Each batch adds what it knows of its sessions as rows of a
//! separate table, which the server aggregates: no worker overwrites what another one wrote, and a
//! repeated batch adds nothing.
//!
//! The versions in `tracked_session` are derived from it. A version is written before the state
//! rows that it was derived from: after a crash in between, the batch is repeated, and the version
//! with it. Two workers may write versions at the same time, each without the other's events; so a
//! worker reads the state again after writing, and writes another version if the state has changed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use ::clickhouse::Row;
use data_encoding::HEXLOWER;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::encode::Encoder;
use super::events::month;
use super::{ClickHouseStore, idle_sessions, sql};
use bklit_pipeline::store::schema::TRACKED_SESSION;
use bklit_pipeline::store::session::{Session, Sourced};
use bklit_pipeline::store::{Batch, StoreError};
use bklit_wire::session::SessionKey;
use bklit_wire::time::UtcMillis;

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

/// Sessions read by one statement.
const AT_ONCE: usize = 10_000;

/// Insert attempts for versions, each with a new token.
const GENERATIONS: usize = 3;

/// Attempts to write a version while other workers change the same session.
const ROUNDS: usize = 8;

/// What a batch adds to a session.
#[derive(Default)]
struct Change {
    known: Session,
    /// The minimum `updated_at` of a version that includes it.
    at: u32,
}

/// The stored state of a session.
#[derive(Clone, Default, PartialEq)]
pub(super) struct State {
    pub(super) session: Session,
    /// `updated_at` of its latest version; 0 if it has none.
    version: u32,
}

/// The sessions that a batch started and ended.
#[derive(Default)]
pub(super) struct Changed {
    pub(super) begun: HashSet<SessionKey>,
    pub(super) ended: HashSet<SessionKey>,
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

type Changes = BTreeMap<SessionKey, Change>;
type States = HashMap<SessionKey, State>;

/// Updates the sessions of a batch.
pub(super) async fn follow(store: &ClickHouseStore, batch: &Batch) -> Result<Changed, StoreError> {
    let mut changes: HashMap<(&str, &str), Change> = HashMap::new();
    for event in batch.events.iter() {
        let Some(session_id) = event.payload.session_id() else { continue };
        let change = changes.entry((&event.project_id, session_id)).or_default();
        change.known.add(event);
        // Not the current time: a repeated batch must produce the same version.
        change.at = change.at.max(seconds(event.queued_at));
    }
    let key = |(project_id, session_id): (&str, &str)| SessionKey {
        project_id: project_id.to_owned(),
        session_id: session_id.to_owned(),
    };
    let changes: Changes =
        changes.into_iter().map(|(session, change)| (key(session), change)).collect();
    let _held = store.key_locks.hold(changes.keys()).await;
    apply(store, &batch.id, changes).await
}

/// Ends those of the sessions that had no activity since `since`.
pub(super) async fn end_if_idle(
    store: &ClickHouseStore,
    keys: &[&SessionKey],
    since: i64,
) -> Result<Vec<SessionKey>, StoreError> {
    let _held = store.key_locks.hold(keys.iter()).await;
    let now = seconds(UtcMillis::now());
    let is_idle = |session: &Session| {
        session.begun() && !session.ended() && session.last_seen.is_some_and(|seen| seen < since)
    };
    let idle = read(store, keys).await?.into_iter().filter(|(_, state)| is_idle(&state.session));
    let changes = idle.map(|(key, state)| {
        let mut ended = state.session;
        ended.end_as_of_last_event();
        let known =
            Session { end_at: ended.end_at, end_seen: ended.end_seen, ..Session::default() };
        (key, Change { known, at: now })
    });
    let changed = apply(store, "idle", changes.collect()).await?;
    Ok(changed.ended.into_iter().collect())
}

async fn apply(
    store: &ClickHouseStore,
    batch: &str,
    changes: Changes,
) -> Result<Changed, StoreError> {
    let mut changed = Changed::default();
    let mut written = States::new();
    for round in 0..ROUNDS {
        let keys: Vec<_> =
            changes.keys().filter(|key| round == 0 || written.contains_key(key)).collect();
        let mut stored = read(store, &keys).await?;
        let mut next = States::new();
        for key in keys {
            let before = stored.remove(key).unwrap_or_default();
            let Some(change) = changes.get(key) else { continue };
            if round > 0 && written.get(key) == Some(&before) {
                continue;
            }
            let mut session = before.session.clone();
            session.merge(change.known.clone());
            if round == 0 && before.session == session {
                continue;
            }
            if round == 0 && session.ended() && !before.session.ended() {
                changed.ended.insert(key.clone());
            }
            if round == 0 && session.begun() && !before.session.begun() {
                changed.begun.insert(key.clone());
            }
            let shown = session.begun();
            let version = if shown { change.at.max(before.version + 1) } else { before.version };
            next.insert(key.clone(), State { session, version });
        }
        if next.is_empty() {
            return Ok(changed);
        }
        write(store, batch, &changes, &next).await?;
        written = next;
    }
    Err(StoreError::Unavailable(format!(
        "sessions of batch {batch} kept being changed by other workers"
    )))
}

/// Writes the versions and the sessions' activity, then the state rows.
async fn write(
    store: &ClickHouseStore,
    batch: &str,
    changes: &Changes,
    states: &States,
) -> Result<(), StoreError> {
    let states: BTreeMap<_, _> = states.iter().collect();
    let mut months: BTreeMap<i32, Vec<Version<'_>>> = BTreeMap::new();
    for (&key, &state) in &states {
        if let Some(started) = state.session.started_at() {
            let version = Version { key, state, started };
            months.entry(month(started)).or_default().push(version);
        }
    }
    let versions = async {
        for (month, versions) in months {
            write_versions(store, batch, month, &versions).await?;
        }
        Ok(())
    };
    let activity = idle_sessions::record_activity(store, batch, &states);
    tokio::try_join!(versions, activity).map_err(not_the_events_fault)?;
    let mut encoder = Encoder::default();
    for (key, state) in states {
        if let Some(change) = changes.get(key) {
            encode_state(&mut encoder, key, &change.known, state.version);
        }
    }
    let names: Vec<_> = STATE_COLUMNS.iter().map(|(name, ..)| *name).collect();
    let into = format!("{STATE} (project_id, session_id, {}) FORMAT RowBinary", names.join(", "));
    let rows = encoder.finish();
    let token = format!("{batch}:{STATE}:{}", digest(&rows));
    store.connection.insert(&into, &token, rows).await.map_err(not_the_events_fault)
}

/// A version of a session that has started.
struct Version<'a> {
    key: &'a SessionKey,
    state: &'a State,
    started: UtcMillis,
}

/// Writes the versions of one partition until they are stored: a server that was killed may have
/// recorded an insert's token without its rows.
async fn write_versions(
    store: &ClickHouseStore,
    batch: &str,
    month: i32,
    versions: &[Version<'_>],
) -> Result<(), StoreError> {
    let schema = store.schemas.of(&store.connection, &TRACKED_SESSION).await?;
    let mut encoder = Encoder::with_header(&schema);
    for Version { key, state, .. } in versions {
        let updated_at = UtcMillis::from_epoch_millis(i64::from(state.version) * 1000);
        encoder.row(&schema, &state.session.cells(key, updated_at));
    }
    let rows = encoder.finish();
    let columns = schema.column_list();
    let into = format!("{} ({columns}) FORMAT RowBinaryWithNamesAndTypes", TRACKED_SESSION.name);
    let mut token = format!("{batch}:{}:{month}:{}", TRACKED_SESSION.name, digest(&rows));
    for _ in 0..GENERATIONS {
        let result = store.connection.insert(&into, &token, rows.clone()).await;
        store.unless_altered(&TRACKED_SESSION, &schema, result).await?;
        if !store.check_ids || are_stored(store, versions).await? {
            return Ok(());
        }
        token.push_str(":again");
    }
    Err(StoreError::Unavailable(format!(
        "ClickHouse confirmed the session versions of batch {batch}, but some are missing"
    )))
}

#[derive(Row, Deserialize)]
struct VersionRow {
    project_id: String,
    session_id: String,
    updated_at: u32,
}

async fn are_stored(store: &ClickHouseStore, versions: &[Version<'_>]) -> Result<bool, StoreError> {
    for some in versions.chunks(AT_ONCE) {
        let projects: BTreeSet<_> = some.iter().map(|one| one.key.project_id.as_str()).collect();
        let sessions: BTreeSet<_> = some.iter().map(|one| one.key.session_id.as_str()).collect();
        let started: BTreeSet<_> = some.iter().map(|one| one.started.epoch_seconds()).collect();
        let started: Vec<_> = started.iter().map(ToString::to_string).collect();
        let query = format!(
            "SELECT assumeNotNull(project_id) AS project_id, assumeNotNull(session_id) AS \
             session_id, toUInt32(toUnixTimestamp(assumeNotNull(updated_at))) AS updated_at \
             FROM {table} WHERE {table}.project_id IN ({}) AND started_at IN ({}) AND {}",
            sql::list(projects),
            started.join(", "),
            sql::is_one_of(&format!("{}.session_id", TRACKED_SESSION.name), sessions),
            table = TRACKED_SESSION.name,
        );
        let rows: Vec<VersionRow> =
            store.connection.rows(store.connection.statement(&query)).await?;
        let found: HashSet<_> = rows
            .iter()
            .map(|row| (row.project_id.as_str(), row.session_id.as_str(), row.updated_at))
            .collect();
        let is_stored = |one: &Version<'_>| {
            let key = (one.key.project_id.as_str(), one.key.session_id.as_str());
            found.contains(&(key.0, key.1, one.state.version))
        };
        if !some.iter().all(is_stored) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Session rows are generated here, so an error in them is never the events' fault.
fn not_the_events_fault(error: StoreError) -> StoreError {
    match error {
        StoreError::Refused(reason) => StoreError::Unavailable(format!("sessions: {reason}")),
        unavailable => unavailable,
    }
}

fn encode_state(encoder: &mut Encoder, key: &SessionKey, known: &Session, version: u32) {
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
        let text = view.as_ref().map(|Sourced { key, value }| format!("{key}\0{value}"));
        encoder.optional_text(text.as_deref());
    }
    for moment in [known.last_at, known.last_seen, known.end_at, known.end_seen] {
        encoder.optional_number(moment);
    }
    encoder.seconds(version);
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
async fn read(store: &ClickHouseStore, keys: &[&SessionKey]) -> Result<States, StoreError> {
    let mut states = States::new();
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

fn seconds(moment: UtcMillis) -> u32 {
    u32::try_from(moment.epoch_seconds()).unwrap_or(u32::MAX)
}

pub(super) fn digest(rows: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(rows)[..16])
}
