//! The versions of sessions in `tracked_session`. Bklit's services write versions as well: the start
//! of a session, its last page, and its end. What these add is kept in the session's state.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

use ::clickhouse::Row;
use foldhash::{HashMap, HashMapExt as _};
use serde::Deserialize;

use super::sessions::AT_ONCE;
use super::{ClickHouseStore, sql};
use bklit_pipeline::store::StoreError;
use bklit_pipeline::store::schema::TRACKED_SESSION;
use bklit_pipeline::store::session::{Session, Shown, Sourced, view_key};
use bklit_wire::session::SessionKey;

/// The latest versions that are read of each session. Each contains what the earlier ones said of
/// the start.
const VERSIONS_READ: usize = 50;

/// The latest versions with the same start and end that [`read_some`] reads. Two, to notice different
/// ones of the same second.
const LAST: usize = 2;

/// A row of the table. An empty text stands for NULL, which not every table can store.
#[derive(Clone, Debug, PartialEq, Row, Deserialize)]
pub(super) struct Version {
    project: String,
    session: String,
    row_id: String,
    pub(super) started: u32,
    /// 0 while it continues.
    ended: u32,
    lasted: Option<i32>,
    bounced: u8,
    visitor: String,
    first_page: String,
    last_page: String,
    agent: String,
    country_name: String,
    code: String,
    town: String,
    pub(super) updated: u32,
}

/// The versions of one session, by `updated_at`.
#[derive(Default)]
pub(super) struct Versions(Vec<Version>);

/// The versions of sessions.
#[derive(Default)]
pub(super) struct Found(HashMap<SessionKey, Versions>);

/// When the sessions started whose versions are read.
pub(super) enum Started {
    /// Those of sessions that started at this time or later, in seconds since the epoch.
    Since(i64),
    /// Those of sessions that started at one of these times.
    At(BTreeSet<i64>),
}

impl Found {
    /// Adds versions, some of which may be there already.
    pub(super) fn add(&mut self, more: Self) {
        for (key, more) in more.0 {
            let versions = &mut self.0.entry(key).or_default().0;
            let new = more.0.into_iter().filter(|one| !versions.contains(one)).collect::<Vec<_>>();
            versions.extend(new);
            versions.sort_by_key(|one| one.updated);
        }
    }

    /// The latest version of a session.
    pub(super) fn get(&self, key: &SessionKey) -> Option<&Version> {
        self.0.get(key)?.latest()
    }

    /// Whether [`read_some`] may lack versions that matter, given what is known of a session and the
    /// `updated_at` of its last version by this program.
    pub(super) fn lacks_some(&self, key: &SessionKey, known: &Session, own: u32) -> bool {
        self.0.get(key).is_some_and(|versions| {
            let is_others = versions.latest().is_some_and(|latest| latest.updated > own);
            is_others || versions.facts(known, own).is_some()
        })
    }

    /// The versions of a session that were read.
    pub(super) fn remove(&mut self, key: &SessionKey) -> Versions {
        self.0.remove(key).unwrap_or_default()
    }
}

/// The versions of these sessions.
pub(super) async fn read(
    store: &ClickHouseStore,
    keys: &[&SessionKey],
    started: &Started,
) -> Result<Found, StoreError> {
    read_with(store, keys, started, select).await
}

/// The last versions of these sessions with each start and end. A session that goes on has a version
/// for each second with an event, and of most of them nothing is new.
pub(super) async fn read_some(
    store: &ClickHouseStore,
    keys: &[&SessionKey],
    started: &Started,
) -> Result<Found, StoreError> {
    read_with(store, keys, started, |keys, started| {
        format!(
            "SELECT * FROM ({} ORDER BY updated_at DESC \
             LIMIT {LAST} BY project_id, session_id, started_at, ended_at) \
             ORDER BY updated DESC LIMIT {VERSIONS_READ} BY project, session",
            select_all(keys, started)
        )
    })
    .await
}

async fn read_with(
    store: &ClickHouseStore,
    keys: &[&SessionKey],
    started: &Started,
    select: impl Fn(&[&SessionKey], &str) -> String,
) -> Result<Found, StoreError> {
    let started = match started {
        Started::Since(since) => format!("started_at >= toDateTime({})", (*since).max(0)),
        Started::At(times) if times.is_empty() => return Ok(Found::default()),
        Started::At(times) => {
            let times: Vec<_> = times.iter().map(ToString::to_string).collect();
            format!("started_at IN ({})", times.join(", "))
        }
    };
    let mut found: HashMap<SessionKey, Versions> = HashMap::new();
    for some in keys.chunks(AT_ONCE) {
        let query = select(some, &started);
        let rows: Vec<Version> = store.connection.rows(store.connection.statement(&query)).await?;
        for version in rows {
            let key = SessionKey {
                project_id: version.project.clone(),
                session_id: version.session.clone(),
            };
            found.entry(key).or_default().0.push(version);
        }
    }
    found.values_mut().for_each(|versions| versions.0.sort_by_key(|one| one.updated));
    Ok(Found(found))
}

fn select(keys: &[&SessionKey], started: &str) -> String {
    let all = select_all(keys, started);
    format!("{all} ORDER BY updated_at DESC LIMIT {VERSIONS_READ} BY project_id, session_id")
}

/// Selects all versions. Other programs may have written any bytes, and the columns may be nullable or
/// not.
fn select_all(keys: &[&SessionKey], started: &str) -> String {
    let projects: BTreeSet<_> = keys.iter().map(|key| key.project_id.as_str()).collect();
    let sessions: BTreeSet<_> = keys.iter().map(|key| key.session_id.as_str()).collect();
    let text = |column: &str, name: &str| format!("toValidUTF8({}) AS {name}", sql::text(column));
    let moment = |column: &str, name: &str| {
        format!("CAST(ifNull(toUnixTimestamp({column}), 0), 'UInt32') AS {name}")
    };
    let columns = [
        text("project_id", "project"),
        text("session_id", "session"),
        text("id", "row_id"),
        moment("started_at", "started"),
        moment("ended_at", "ended"),
        "CAST(duration, 'Nullable(Int32)') AS lasted".to_owned(),
        "CAST(ifNull(did_bounce, 0), 'UInt8') AS bounced".to_owned(),
        text("visitor_id", "visitor"),
        text("entry_page", "first_page"),
        text("exit_page", "last_page"),
        text("user_agent", "agent"),
        text("country", "country_name"),
        text("country_code", "code"),
        text("city", "town"),
        moment("updated_at", "updated"),
    ];
    format!(
        "SELECT {} FROM {} WHERE project_id IN ({}) AND {started} AND {}",
        columns.join(", "),
        TRACKED_SESSION.name,
        sql::list(projects),
        sql::is_one_of("session_id", sessions),
    )
}

impl Versions {
    /// The latest version.
    pub(super) fn latest(&self) -> Option<&Version> {
        self.0.last()
    }

    /// The key of the first page view, if another program wrote a version after `own`.
    pub(super) fn first_view_since(&self, own: u32) -> Option<String> {
        self.latest().filter(|latest| latest.updated > own)?;
        let started = self.0.iter().map(|one| one.started).min()?;
        Some(view_key(millis(started), ""))
    }

    /// Whether only one version is the latest: of two in the same second, readers see either.
    pub(super) fn agree(&self) -> bool {
        let [.., before, last] = self.0.as_slice() else { return true };
        before.updated < last.updated || before == last
    }

    /// What other programs wrote that `known` lacks, if anything. Versions later than `own` are not
    /// from this program.
    pub(super) fn facts(&self, known: &Session, own: u32) -> Option<Session> {
        let mut facts = Session::default();
        self.add_start(known, own, &mut facts);
        if self.latest().is_some_and(|latest| latest.updated > own) {
            self.add_pages(known, own, &mut facts);
        }
        self.add_end(known, own, &mut facts);
        (facts != Session::default()).then_some(facts)
    }

    /// The first page views. That of `known` may be among them, as both systems may have received
    /// it.
    fn add_start(&self, known: &Session, own: u32, facts: &mut Session) {
        let start = known.started_at().map(|start| start.epoch_seconds());
        let is_known = |one: &Version| {
            let same_page = |entry: &Sourced| entry.value == one.first_page;
            start == Some(one.started.into()) && known.entry.as_ref().is_some_and(same_page)
        };
        for one in &self.0 {
            let is_earlier = start.is_none_or(|start| i64::from(one.started) < start);
            if (one.updated > own || is_earlier) && !is_known(one) {
                facts.merge(one.first_view());
            }
        }
    }

    /// The last page, if it is one that no earlier version showed: an end repeats the page of the
    /// version that it was made from. And whether more than one page was viewed.
    fn add_pages(&self, known: &Session, own: u32, facts: &mut Session) {
        let value = |view: &Option<Sourced>| view.as_ref().map(|view| view.value.clone());
        let views = [&known.entry, &known.exit, &facts.entry];
        let mut shown: HashSet<String> = views.into_iter().filter_map(value).collect();
        shown.extend(self.0.iter().map(|one| one.first_page.clone()));
        for one in &self.0 {
            let is_new = !one.last_page.is_empty() && shown.insert(one.last_page.clone());
            if is_new && one.updated > own {
                let at = millis(one.updated);
                let view = Sourced { key: view_key(at, ""), value: one.last_page.clone() };
                facts.merge(Session { exit: Some(view), ..Session::default() });
                if one.ended == 0 {
                    facts.last_at = facts.last_at.max(Some(at));
                    facts.last_seen = facts.last_seen.max(Some(at));
                }
            }
        }
        if self.0.iter().any(|one| one.updated > own && one.bounced == 0) {
            let mut all = known.clone();
            all.merge(facts.clone());
            if all.bounced() {
                // Sorts after the view, and before any later one.
                let view = |view: Sourced| Sourced { key: view.key + "+", ..view };
                facts.exit = all.exit.map(view);
            }
        }
    }

    /// The end. A later version may repeat an end that this program wrote.
    fn add_end(&self, known: &Session, own: u32, facts: &mut Session) {
        let own_ends: HashSet<u32> =
            self.0.iter().filter(|one| one.updated <= own).map(|one| one.ended).collect();
        let known_end = known.end_at.max(known.last_at).map_or(i64::MIN, |at| at.div_euclid(1000));
        let is_other = |one: &&Version| {
            let is_later = i64::from(one.ended) > known_end;
            one.ended > 0 && (is_later || one.updated > own && !own_ends.contains(&one.ended))
        };
        if let Some(end) = self.0.iter().filter(is_other).map(|one| millis(one.ended)).max() {
            facts.end_at = Some(end);
            // The table has whole seconds: an event in the same one counts as before the end.
            facts.end_seen = Some(end + 999);
        }
    }
}

impl Version {
    /// What it shows of the first page view.
    fn first_view(&self) -> Session {
        let at = millis(self.started);
        let sourced = |value: &str| Sourced { key: view_key(at, ""), value: value.to_owned() };
        let detail = |value: &String| text(value).map(sourced);
        Session {
            entry: Some(sourced(&self.first_page)),
            exit: Some(sourced(&self.first_page)),
            user_agent: detail(&self.agent),
            country: detail(&self.country_name),
            country_code: detail(&self.code),
            city: detail(&self.town),
            last_at: Some(at),
            last_seen: Some(at.min(millis(self.updated))),
            ..Session::default()
        }
    }

    /// Copies what only other programs know, and a duration that they computed.
    pub(super) fn keep_in<'a>(&'a self, shown: &mut Shown<'a>) {
        if !self.row_id.is_empty() {
            shown.id = Cow::Borrowed(&self.row_id);
        }
        shown.visitor_id = text(&self.visitor);
        let details = [
            (&mut shown.user_agent, &self.agent),
            (&mut shown.country, &self.country_name),
            (&mut shown.country_code, &self.code),
            (&mut shown.city, &self.town),
        ];
        for (detail, known) in details {
            *detail = detail.or(text(known));
        }
        if self.lasted.is_some() && self.spans(shown) && self.ended > 0 {
            shown.duration = self.lasted;
        }
    }

    /// Whether this version shows the same. An end without a duration is complete: some of Bklit's
    /// services write none.
    pub(super) fn shows(&self, shown: &Shown<'_>) -> bool {
        let texts = [
            (shown.entry_page, &self.first_page),
            (shown.exit_page, &self.last_page),
            (shown.user_agent, &self.agent),
            (shown.country, &self.country_name),
            (shown.country_code, &self.code),
            (shown.city, &self.town),
        ];
        self.spans(shown)
            && shown.did_bounce == (self.bounced != 0)
            && texts.into_iter().all(|(shown, stored)| shown.unwrap_or_default() == stored)
    }

    fn spans(&self, shown: &Shown<'_>) -> bool {
        let seconds = |moment: Option<bklit_wire::time::UtcMillis>| {
            moment.map_or(0, |moment| moment.epoch_seconds())
        };
        seconds(shown.started_at) == i64::from(self.started)
            && seconds(shown.ended_at) == i64::from(self.ended)
    }
}

fn text(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn millis(seconds: u32) -> i64 {
    i64::from(seconds) * 1000
}
