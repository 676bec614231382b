//! Groups of refused events, and the last ones with their bodies.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::{RefusedSettings, Wanted};
use bklit_wire::refused::{RefusedEvent, RefusedGroup};
use bklit_wire::time::UtcMillis;

/// Groups of senders with a valid token that are distinguished by everything. Beyond this number,
/// pages and tokens are not distinguished.
pub const MAX_GROUPS: usize = 500;
/// The same for strangers, who must not use up the groups of the others.
pub const MAX_STRANGER_GROUPS: usize = 100;
/// Groups without page and token in addition, for either. Beyond it, only reasons are distinguished.
pub const MAX_WITHOUT_PAGE: usize = 100;
/// Groups to which nothing was added for this long make room for others.
const MAX_AGE_MILLIS: i64 = 60 * 60 * 1000;
/// The shortest interval between checks for such groups.
const SWEEP_MILLIS: i64 = 1000;
/// One group, and all strangers together, may have this fraction of the kept events, so that a
/// flood does not displace all others.
const SHARE: usize = 5;
/// The approximate size of a kept event besides its strings, in bytes.
const OVERHEAD: usize = 400;

/// What the events of a group have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Whether the sender has no valid token.
    pub is_stranger: bool,
    pub reason: &'static str,
    pub field: Option<String>,
    pub problem: Option<&'static str>,
    pub project: Option<String>,
    pub page: Option<String>,
    pub token: Option<String>,
}

impl Key {
    fn without_page(&self) -> Self {
        Self { page: None, token: None, ..self.clone() }
    }

    fn reason_only(&self) -> Self {
        let Self { is_stranger, reason, .. } = *self;
        Self {
            is_stranger,
            reason,
            field: None,
            problem: None,
            project: None,
            page: None,
            token: None,
        }
    }

    fn is_wanted(&self, wanted: &Wanted) -> bool {
        let is_project = wanted.project.is_none() || wanted.project == self.project;
        is_project && wanted.reason.as_deref().is_none_or(|reason| reason == self.reason)
    }
}

/// What is new about an event of a group.
pub struct New {
    pub at: UtcMillis,
    pub status: u16,
    pub error: String,
    pub path: String,
    pub peer: Option<String>,
    pub kind: Option<&'static str>,
    pub body: Option<String>,
    pub truncated: bool,
}

struct Group {
    count: u64,
    first: UtcMillis,
    last: UtcMillis,
    status: u16,
    error: String,
    /// Its kept events, oldest first.
    kept: VecDeque<u64>,
}

struct Kept {
    /// The group it is counted in, which may have less in common than the event's own key.
    group: Arc<Key>,
    own: Key,
    new: New,
    size: usize,
}

type Table = HashMap<Arc<Key>, Group>;

/// All groups, and the kept events.
pub struct Groups {
    settings: RefusedSettings,
    total: u64,
    /// Of senders with a valid token.
    known: Table,
    strangers: Table,
    kept: BTreeMap<u64, Kept>,
    bytes: usize,
    /// The kept events of strangers, and their bytes.
    of_strangers: BTreeSet<u64>,
    bytes_of_strangers: usize,
    next_id: u64,
    swept: i64,
}

impl Groups {
    pub fn new(settings: RefusedSettings) -> Self {
        Self {
            settings,
            total: 0,
            known: Table::new(),
            strangers: Table::new(),
            kept: BTreeMap::new(),
            bytes: 0,
            of_strangers: BTreeSet::new(),
            bytes_of_strangers: 0,
            next_id: 1,
            swept: 0,
        }
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    pub fn add(&mut self, key: Key, new: New) {
        self.total += 1;
        let group_key = self.place(&key, new.at);
        let table = self.table_mut(key.is_stranger);
        let group = table.entry(Arc::clone(&group_key)).or_insert_with(|| Group {
            count: 0,
            first: new.at,
            last: new.at,
            status: new.status,
            error: String::new(),
            kept: VecDeque::new(),
        });
        group.count += 1;
        (group.last, group.status) = (new.at, new.status);
        group.error.clone_from(&new.error);
        self.keep(group_key, key, new);
    }

    fn table(&self, of_strangers: bool) -> &Table {
        if of_strangers { &self.strangers } else { &self.known }
    }

    fn table_mut(&mut self, of_strangers: bool) -> &mut Table {
        if of_strangers { &mut self.strangers } else { &mut self.known }
    }

    /// The group for `key`: with everything in common, unless there are too many.
    fn place(&mut self, key: &Key, now: UtcMillis) -> Arc<Key> {
        let most = if key.is_stranger { MAX_STRANGER_GROUPS } else { MAX_GROUPS };
        let known = |table: &Table, key: &Key| table.get_key_value(key).map(|(key, _)| key.clone());
        if let Some(known) = known(self.table(key.is_stranger), key) {
            return known;
        }
        if self.table(key.is_stranger).len() >= most {
            self.sweep(now.epoch_millis());
        }
        let table = self.table(key.is_stranger);
        if table.len() < most {
            return Arc::new(key.clone());
        }
        let without_page = key.without_page();
        if let Some(known) = known(table, &without_page) {
            return known;
        }
        if table.len() < most + MAX_WITHOUT_PAGE {
            return Arc::new(without_page);
        }
        let reason = key.reason_only();
        known(table, &reason).unwrap_or_else(|| Arc::new(reason))
    }

    /// Forgets groups that have ended long ago.
    fn sweep(&mut self, now: i64) {
        if (now - self.swept).abs() < SWEEP_MILLIS {
            return;
        }
        self.swept = now;
        let old = |group: &Group| now - group.last.epoch_millis() > MAX_AGE_MILLIS;
        let gone: Vec<u64> = [&mut self.known, &mut self.strangers]
            .into_iter()
            .flat_map(|table| table.extract_if(|_, group| old(group)))
            .flat_map(|(_, group)| group.kept)
            .collect();
        gone.into_iter().for_each(|id| self.forget(id));
    }

    fn keep(&mut self, group: Arc<Key>, own: Key, new: New) {
        let texts = [&own.field, &own.project, &own.page, &own.token, &new.peer, &new.body];
        let texts = texts.into_iter().flatten().map(String::len).sum::<usize>();
        let size = OVERHEAD + texts + new.error.len() + new.path.len();
        let RefusedSettings { max_events, max_bytes } = self.settings;
        if max_events == 0 || size > max_bytes {
            return;
        }
        let id = self.next_id;
        self.next_id += 1;
        let most = max_events.div_ceil(SHARE);
        let mut displaced = None;
        if let Some(group) = self.table_mut(own.is_stranger).get_mut(&group) {
            group.kept.push_back(id);
            if group.kept.len() > most {
                displaced = group.kept.pop_front();
            }
        }
        displaced.into_iter().for_each(|id| self.forget(id));
        self.bytes += size;
        if own.is_stranger {
            self.of_strangers.insert(id);
            self.bytes_of_strangers += size;
        }
        self.kept.insert(id, Kept { group, own, new, size });
        while (self.of_strangers.len() > most || self.bytes_of_strangers > max_bytes / SHARE)
            && let Some(&oldest) = self.of_strangers.first()
        {
            self.forget(oldest);
        }
        while (self.kept.len() > max_events || self.bytes > max_bytes)
            && let Some((&oldest, _)) = self.kept.first_key_value()
        {
            self.forget(oldest);
        }
    }

    /// Drops a kept event, the oldest of its group.
    fn forget(&mut self, id: u64) {
        let Some(kept) = self.kept.remove(&id) else { return };
        self.bytes -= kept.size;
        if self.of_strangers.remove(&id) {
            self.bytes_of_strangers -= kept.size;
        }
        if let Some(group) = self.table_mut(kept.own.is_stranger).get_mut(&kept.group)
            && group.kept.front() == Some(&id)
        {
            group.kept.pop_front();
        }
    }

    /// The requested groups, largest first; none if a single event is requested.
    pub fn groups(&self, wanted: &Wanted) -> Vec<RefusedGroup> {
        if wanted.id.is_some() {
            return Vec::new();
        }
        let all = self.known.iter().chain(&self.strangers);
        let shown = all.filter(|(key, _)| key.is_wanted(wanted));
        let mut shown: Vec<_> = shown.map(|(key, group)| self.group(key, group)).collect();
        shown.sort_by_key(|group| (std::cmp::Reverse(group.count), group.first));
        shown
    }

    fn group(&self, key: &Key, group: &Group) -> RefusedGroup {
        let sample = group.kept.back().and_then(|id| Some((id, self.kept.get(id)?)));
        RefusedGroup {
            reason: key.reason.to_owned(),
            field: key.field.clone(),
            project: key.project.clone(),
            page: key.page.clone(),
            token: key.token.clone(),
            count: group.count,
            first: group.first,
            last: group.last,
            status: group.status,
            error: group.error.clone(),
            sample: sample.map(|(id, kept)| kept.show(*id)),
        }
    }

    /// The requested kept events, newest first.
    pub fn recent(&self, wanted: &Wanted) -> Vec<RefusedEvent> {
        let kept = self.kept.iter().rev().filter(|(id, kept)| {
            wanted.id.is_none_or(|wanted| wanted == **id) && kept.own.is_wanted(wanted)
        });
        kept.take(wanted.most).map(|(id, kept)| kept.show(*id)).collect()
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> [usize; 3] {
        let groups = || self.known.values().chain(self.strangers.values());
        assert_eq!(self.kept.len(), groups().map(|group| group.kept.len()).sum::<usize>());
        [groups().count(), self.kept.len(), self.bytes]
    }
}

impl Kept {
    fn show(&self, id: u64) -> RefusedEvent {
        let Self { own, new, .. } = self;
        RefusedEvent {
            id,
            at: new.at,
            reason: own.reason.to_owned(),
            field: own.field.clone(),
            status: new.status,
            error: new.error.clone(),
            project: own.project.clone(),
            page: own.page.clone(),
            token: own.token.clone(),
            path: new.path.clone(),
            peer: new.peer.clone(),
            kind: new.kind.map(str::to_owned),
            body: new.body.clone(),
            truncated: new.truncated,
        }
    }
}
