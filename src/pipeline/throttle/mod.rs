//! Limits, so that a flood from one project, token or address does not deny service to others.
//!
//! Each process counts what it accepts itself. Only senders whose token has been checked are counted
//! by project and token, so strangers cannot make up any.
//!
//! - `limit`: which limit was reached
//! - `recent_sessions`: the sessions whose end is accepted without a token
//! - `sender`: what one project or token has sent
//! - `settings`: the limits' settings

mod limit;
mod recent_sessions;
mod sender;
mod settings;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, RateLimiter};

use bklit_wire::time::UtcMillis;

pub use limit::{Limit, Throttled};
pub use recent_sessions::SessionMark;
pub use settings::{LimitSettings, Limited};

use recent_sessions::RecentSessions;
use sender::{Most, Sender};

/// Projects and tokens counted, each. Those beyond it, which must have valid tokens, are not limited.
const MAX_SENDERS: usize = 100_000;
/// After this time without an event a sender is forgotten: its quota is for another day then.
const FORGET_AFTER: Duration = Duration::from_secs(25 * 60 * 60);
/// A project counts as sending for this long after an event.
const SENDING: Duration = Duration::from_secs(60 * 60);
/// When to try again while the queue, or a share of it, is full.
const QUEUE_PAUSE: Duration = Duration::from_secs(5);
/// The percentage of the queue above which ends of unknown sessions are refused.
const UNKNOWN_ENDS_SHARE: u64 = 50;

/// The limit of a project for ends of unknown sessions, as a multiple of that of an address.
const UNKNOWN_ENDS_OF_PROJECT: u32 = 10;

/// Whether the session of an end without a token is known to this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndOf {
    /// It has accepted events of it.
    Known,
    /// It has not: the worker drops the end if the session is not stored.
    Unknown,
}

/// Decides what is over a limit.
pub struct Throttle {
    settings: LimitSettings,
    /// The most events that may wait in the queue.
    max_depth: u64,
    /// How many lists with this bound the queue has.
    lists: u32,
    projects: Senders,
    tokens: Senders,
    /// Projects that are sending.
    sending: AtomicUsize,
    /// Events that waited in the queue when it was last observed.
    depth: AtomicU64,
    sessions: RecentSessions,
    ends_by_address: Option<DefaultKeyedRateLimiter<IpAddr>>,
    ends_by_project: Option<DefaultKeyedRateLimiter<String>>,
    unknown_tokens: Option<DefaultKeyedRateLimiter<IpAddr>>,
}

type Senders = RwLock<HashMap<String, Arc<Sender>>>;

/// An event that is within the limits. It counts for the day unless this is dropped before the event
/// was queued.
pub struct Admission {
    at: UtcMillis,
    project: Arc<Sender>,
    token: Option<Arc<Sender>>,
    is_queued: bool,
}

impl Admission {
    /// The event was added to the queue.
    pub fn queued(mut self) {
        self.is_queued = true;
        self.project.queued();
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if !self.is_queued {
            self.project.give_back(self.at);
            self.token.iter().for_each(|token| token.give_back(self.at));
        }
    }
}

impl Throttle {
    /// Limits by `settings` for a queue in which `max_depth` events may wait.
    pub fn new(settings: LimitSettings, max_depth: u64) -> Self {
        Self {
            max_depth,
            lists: 1,
            projects: Senders::default(),
            tokens: Senders::default(),
            sending: AtomicUsize::new(0),
            depth: AtomicU64::new(0),
            sessions: RecentSessions::new(),
            ends_by_address: sender::limiter(settings.unknown_ends_per_second)
                .map(RateLimiter::keyed),
            ends_by_project: sender::limiter(
                settings.unknown_ends_per_second.saturating_mul(UNKNOWN_ENDS_OF_PROJECT),
            )
            .map(RateLimiter::keyed),
            unknown_tokens: sender::limiter(settings.unknown_tokens_per_second)
                .map(RateLimiter::keyed),
            settings,
        }
    }

    /// For a queue with this many lists, each with room for `max_depth` events. All events of a
    /// project are in one of them.
    #[must_use]
    pub fn of_lists(self, lists: u32) -> Self {
        Self { lists: lists.max(1), ..self }
    }

    /// Counts an event of `project`, sent with the token with this id.
    ///
    /// # Errors
    /// [`Throttled`] if it is over a limit.
    pub fn admit(&self, project: &str, token: Option<&str>) -> Result<Admission, Throttled> {
        let at = UtcMillis::now();
        let settings = &self.settings;
        let of_project = find(&self.projects, project, || {
            let general = [settings.project_per_second.into(), settings.project_per_day];
            self.most(&settings.projects, project, general)
        });
        if self.sending.load(Relaxed) > 1 && of_project.waiting() >= of_project.most_waiting() {
            let most = of_project.most_waiting();
            return Err(Throttled::new(Limit::QueueShare, most, QUEUE_PAUSE));
        }
        let of_token = token.filter(|token| self.limits_token(token)).map(|token| {
            find(&self.tokens, token, || {
                let general = [settings.token_per_second.into(), settings.token_per_day];
                self.most(&settings.tokens, token, general)
            })
        });
        of_project.admit(at, [Limit::ProjectRate, Limit::ProjectQuota])?;
        if let Some(of_token) = &of_token
            && let Err(throttled) = of_token.admit(at, [Limit::TokenRate, Limit::TokenQuota])
        {
            of_project.give_back(at);
            return Err(throttled);
        }
        Ok(Admission { at, project: of_project, token: of_token, is_queued: false })
    }

    /// Whether there is a limit for this token. Without one, nothing needs to be counted.
    fn limits_token(&self, token: &str) -> bool {
        let settings = &self.settings;
        settings.token_per_second > 0
            || settings.token_per_day > 0
            || settings.tokens.contains_key(token)
    }

    fn most(&self, own: &BTreeMap<String, Limited>, name: &str, general: [u64; 2]) -> Most {
        let own = own.get(name).copied().unwrap_or_default();
        let [per_second, per_day] = general;
        let share = u64::from(own.queue_share.unwrap_or(self.settings.queue_share));
        Most {
            per_second: own
                .per_second
                .unwrap_or_else(|| u32::try_from(per_second).unwrap_or(u32::MAX)),
            per_day: own.per_day.unwrap_or(per_day),
            waiting: match share {
                100.. => u64::MAX,
                share => percent(self.max_depth, share).max(1),
            },
        }
    }

    /// Identifies a session for [`Throttle::saw`].
    pub fn mark(&self, project: &str, session: &str) -> SessionMark {
        self.sessions.mark(project, session)
    }

    /// Remembers that an event of a session was accepted.
    pub fn saw(&self, session: SessionMark) {
        self.sessions.insert(session);
    }

    /// Counts the end of a session that came without a token from `address`. The end of a known
    /// session passes, once.
    ///
    /// # Errors
    /// [`Throttled`] if the session is unknown, and there are too many such ends, or too many events
    /// in the queue.
    pub fn end_session(
        &self,
        project: &str,
        session: &str,
        address: IpAddr,
    ) -> Result<EndOf, Throttled> {
        if self.sessions.remove(self.sessions.mark(project, session)) {
            return Ok(EndOf::Known);
        }
        let room = self.max_depth.saturating_mul(u64::from(self.lists));
        let most = percent(room, UNKNOWN_ENDS_SHARE);
        if self.depth.load(Relaxed) > most {
            return Err(Throttled::new(Limit::UnknownEnds, most, QUEUE_PAUSE));
        }
        let most = self.settings.unknown_ends_per_second;
        check(&self.ends_by_address, &network(address), Limit::UnknownEnds, most)?;
        let most = most.saturating_mul(UNKNOWN_ENDS_OF_PROJECT);
        check(&self.ends_by_project, &project.to_owned(), Limit::UnknownEnds, most)?;
        Ok(EndOf::Unknown)
    }

    /// Counts the lookup of a token that is not known, sent from `address`.
    ///
    /// # Errors
    /// [`Throttled`] if there were too many.
    pub fn look_up_token(&self, address: IpAddr) -> Result<(), Throttled> {
        let most = self.settings.unknown_tokens_per_second;
        check(&self.unknown_tokens, &network(address), Limit::UnknownTokens, most)
    }

    /// Updates the estimates from the number of events that wait in the queue, `None` if that is not
    /// known, and forgets senders that no longer send. To be called once a second.
    pub fn observe(&self, depth: Option<u64>) {
        let depth = depth.unwrap_or_else(|| self.depth.load(Relaxed));
        self.depth.store(depth, Relaxed);
        let now = UtcMillis::now();
        for limiter in [&self.ends_by_address, &self.unknown_tokens].into_iter().flatten() {
            limiter.retain_recent();
        }
        self.ends_by_project.iter().for_each(|limiter| limiter.retain_recent());
        for senders in [&self.projects, &self.tokens] {
            let is_idle = |sender: &Arc<Sender>| !sender.sent_within(FORGET_AFTER, now);
            let any_idle = read(senders).values().any(is_idle);
            if any_idle {
                let mut senders = senders.write().unwrap_or_else(PoisonError::into_inner);
                senders.retain(|_, sender| !is_idle(sender));
            }
        }
        let projects = read(&self.projects);
        let all = projects.values().map(|project| project.waiting()).fold(0, u64::saturating_add);
        if all > depth {
            projects.values().for_each(|project| project.scale(depth, all));
        }
        let sending = projects.values().filter(|project| project.sent_within(SENDING, now)).count();
        self.sending.store(sending, Relaxed);
    }
}

fn percent(all: u64, share: u64) -> u64 {
    u64::try_from(u128::from(all) * u128::from(share) / 100).unwrap_or(u64::MAX)
}

fn read(senders: &Senders) -> std::sync::RwLockReadGuard<'_, HashMap<String, Arc<Sender>>> {
    senders.read().unwrap_or_else(PoisonError::into_inner)
}

fn find(senders: &Senders, name: &str, most: impl FnOnce() -> Most) -> Arc<Sender> {
    if let Some(sender) = read(senders).get(name) {
        return Arc::clone(sender);
    }
    let mut senders = senders.write().unwrap_or_else(PoisonError::into_inner);
    if senders.len() >= MAX_SENDERS && !senders.contains_key(name) {
        return Arc::new(Sender::new(Most { per_second: 0, per_day: 0, waiting: u64::MAX }));
    }
    let sender = senders.entry(name.to_owned()).or_insert_with(|| Arc::new(Sender::new(most())));
    Arc::clone(sender)
}

/// Counts something of `key`, unless it is over the limit.
fn check<K: Clone + Eq + std::hash::Hash>(
    limiter: &Option<DefaultKeyedRateLimiter<K>>,
    key: &K,
    limit: Limit,
    most: u32,
) -> Result<(), Throttled> {
    let Some(limiter) = limiter else { return Ok(()) };
    limiter.check_key(key).map_err(|early| {
        let wait = early.wait_time_from(DefaultClock::default().now());
        Throttled::new(limit, most.into(), wait)
    })
}

/// The address, or for IPv6 its /64: one client has all addresses of that.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => {
            let mut octets = ip.octets();
            octets[8..].fill(0);
            Ipv6Addr::from(octets).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests;
