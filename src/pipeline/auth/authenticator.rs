//! The cached check of tokens: who may write which project from where, who may read.
//!
//! What the store says is remembered for [`TTL`], good news and bad, so that a token is looked up
//! once in that time however many requests carry it, and a revocation is seen within it. While the
//! store is away, what it said last of a token stands, for [`GRACE`] at most. While it is slow,
//! requests do not wait for it, but its answer is: it counts from when it comes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::beacons::Beacons;
use super::known::Known;
use super::single_flight::SingleFlight;
use super::{Scope, Secret, TokenHash, TokenRecord, TokenStore, TokenStoreError};
use bklit_net::log_throttle::Outage;
use bklit_wire::duration::seconds;
use bklit_wire::time::UtcMillis;

/// How long a revoked token may still work, and a new one may still be refused.
pub const TTL: Duration = Duration::from_secs(2);

/// How long a token that was used may be used on while the store is away.
pub const GRACE: Duration = Duration::from_secs(60 * 60);

/// Tokens remembered at once, those that don't exist included: guessing evicts guesses first, as
/// the cache keeps what is used often.
pub(super) const CAPACITY: u64 = 10_000;

/// How often what has changed is noted in the file, and when only the times have.
const NOTE_EVERY: Duration = Duration::from_secs(2);
const NOTE_TIMES_EVERY: Duration = Duration::from_secs(60);

/// How long the store may take before the answer is that it is unavailable.
pub(super) const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a request waits when what the store said before is known, so that none with a token
/// in use is held up by a store that is slow or hangs.
pub(super) const KNOWN_TIMEOUT: Duration = Duration::from_millis(250);

/// How long the store may take after that, before it counts as away: longer than connecting to
/// servers and their answers may take by themselves, so that what has begun comes to an end.
pub(super) const REFRESH_TIMEOUT: Duration = Duration::from_secs(15);

/// Known tokens asked for at once. Beyond, they are asked for as soon as there is room.
const MAX_REFRESHED: usize = 1_000;

/// Why a request may not do what it asks for.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Denied {
    /// Writing without a token.
    #[error("a token is needed: send the header `Authorization: Bearer bk_live_…`")]
    Missing,
    /// Reading without a token, from elsewhere.
    #[error(
        "reading needs a token with scope read (`bklit-tui token create --project '*' --scope \
         read`), unless the pipeline listens on loopback only and the request comes from this machine, without \
         a proxy"
    )]
    NotLocal,
    /// Changing the queue without a token, from elsewhere.
    #[error(
        "changing the queue needs a token with scope admin in the header `Authorization: Bearer \
         bk_live_…` (`bklit-tui token create --project '*' --scope admin`), unless the pipeline \
         listens on loopback only and the request comes from this machine, without a proxy"
    )]
    NotAdmin,
    /// There is no such token, or not any more.
    #[error("the token is not valid: it does not exist or was revoked")]
    Unknown,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// It is for other things.
    #[error("the token has scope {}, which does not allow this", .0.as_str())]
    Scope(Scope),
    /// It is for other projects.
    #[error("the token is not for this project")]
    Project,
    /// It is for some projects, and the request is about all.
    #[error("the token is for some projects only, and this needs one for all")]
    AllProjects,
    /// It is for other sites.
    #[error("the token may not be used from this site: it is limited to certain domains")]
    Domain,
    /// It cannot be found out now.
    #[error("{0}")]
    Unavailable(Arc<TokenStoreError>),
}

/// Checks tokens against a [`TokenStore`].
pub struct Authenticator {
    store: Arc<dyn TokenStore>,
    tokens: Cache<TokenHash, Option<Arc<TokenRecord>>>,
    /// What is known of tokens that were used, for as long as the store is away.
    known: Arc<Known>,
    refreshed: SingleFlight<TokenHash, Option<Arc<TokenRecord>>>,
    beacons: Beacons,
}

impl Authenticator {
    /// Checks against `store`, remembering its answers for [`TTL`].
    pub fn new(store: Arc<dyn TokenStore>) -> Self {
        let tokens = Cache::builder().max_capacity(CAPACITY).time_to_live(TTL).build();
        let known = Arc::new(Known::new());
        let refreshed = SingleFlight::new(MAX_REFRESHED);
        let beacons = Beacons::new(Arc::clone(&store), Arc::clone(&known));
        Self { store, tokens, known, refreshed, beacons }
    }

    /// The token that a client sent, if it works now.
    ///
    /// # Errors
    /// [`Denied::Unknown`], [`Denied::Expired`], [`Denied::Unavailable`].
    pub async fn identify(&self, secret: &str) -> Result<Arc<TokenRecord>, Denied> {
        // The hash is the key, so no secret stays in memory and no comparison leaks one.
        let hash = TokenHash::of_secret(secret).ok_or(Denied::Unknown)?;
        let found = match self.tokens.get(&hash).await {
            Some(remembered) => remembered,
            None => self.look_up(hash, secret).await?,
        };
        let token = found.filter(|token| token.hash == hash).ok_or(Denied::Unknown)?;
        if token.is_expired(UtcMillis::now()) {
            return Err(Denied::Expired);
        }
        Ok(token)
    }

    /// Concurrent requests for one token share one lookup.
    async fn look_up(
        &self,
        hash: TokenHash,
        secret: &str,
    ) -> Result<Option<Arc<TokenRecord>>, Denied> {
        let secret = Secret::parse(secret).ok_or(Denied::Unknown)?;
        if let Some(known) = self.known.get(&hash) {
            return Ok(self.refresh(hash, secret, known).await);
        }
        let lookup = async {
            let found = within(LOOKUP_TIMEOUT, self.store.find_by_secret(&secret)).await?;
            Ok::<_, TokenStoreError>(found.map(Arc::new))
        };
        let found = self.tokens.try_get_with(hash, lookup).await.map_err(Denied::Unavailable)?;
        // Once it is remembered: who finds it known before would ask again.
        self.known.take_in(hash, found.as_ref());
        Ok(found)
    }

    /// What the store says now of a token that is `known`; if it does not say so soon, what it
    /// said before. Its answer is taken in whenever it comes.
    async fn refresh(
        &self,
        hash: TokenHash,
        secret: Secret,
        known: Arc<TokenRecord>,
    ) -> Option<Arc<TokenRecord>> {
        let (store, tokens) = (Arc::clone(&self.store), self.tokens.clone());
        let (all_known, before) = (Arc::clone(&self.known), Arc::clone(&known));
        let question = async move {
            // Another one has been answered meanwhile.
            if let Some(remembered) = tokens.get(&hash).await {
                return remembered;
            }
            let found = match within(REFRESH_TIMEOUT, store.find_by_secret(&secret)).await {
                Ok(found) => {
                    let found = found.map(Arc::new);
                    all_known.take_in(hash, found.as_ref());
                    found
                }
                Err(_) => Some(before),
            };
            tokens.insert(hash, found.clone()).await;
            found
        };
        let Some(begun) = self.refreshed.begin(&hash, question) else { return Some(known) };
        let deadline = begun.at + KNOWN_TIMEOUT;
        begun.by(deadline).await.unwrap_or(Some(known))
    }

    /// Whether a session of `project` may be ended without a token, as `navigator.sendBeacon`
    /// does it: some ingest token must allow writing to the project from that site.
    ///
    /// # Errors
    /// [`Denied::Missing`] where the project has no token, [`Denied::Domain`] where none is for
    /// that site, [`Denied::Unavailable`].
    pub async fn authorize_beacon(&self, project: &str, site: Site<'_>) -> Result<(), Denied> {
        self.beacons.authorize(project, site).await
    }

    /// Whether tokens can be told from each other now: their store answers, or some were used
    /// lately and count while it is away.
    pub async fn knows_tokens(&self) -> bool {
        self.known.all().next().is_some() || self.beacons.knows_tokens().await
    }

    /// Takes over from `file` what an earlier process has noted there, for as long as it counts.
    pub async fn recall(&self, file: &Path) {
        let (known, file) = (Arc::clone(&self.known), file.to_path_buf());
        let read = tokio::task::spawn_blocking(move || known.read(&file)).await;
        match read.map_err(std::io::Error::other).flatten() {
            Ok(0) => {}
            Ok(tokens) => tracing::info!(tokens, "tokens that were used lately are known"),
            Err(error) => tracing::warn!(%error, "the note of known tokens cannot be read"),
        }
    }

    /// Notes in `file` which tokens were used, until `stop`.
    pub async fn note(&self, file: &Path, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(NOTE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut noted, outage) = (Instant::now(), Outage::default());
        let mut goes_on = true;
        while goes_on {
            goes_on = stop.run_until_cancelled(ticks.tick()).await.is_some();
            if !self.known.is_to_be_written(!goes_on || noted.elapsed() >= NOTE_TIMES_EVERY) {
                continue;
            }
            noted = Instant::now();
            let (known, file) = (Arc::clone(&self.known), file.to_path_buf());
            let written = tokio::task::spawn_blocking(move || known.write(&file)).await;
            match written.map_err(std::io::Error::other).flatten() {
                Ok(()) => drop(outage.over()),
                Err(error) => {
                    if let Some(lasting) = outage.failed().map(seconds) {
                        tracing::warn!(%error, lasting, "known tokens cannot be noted");
                    }
                }
            }
        }
    }
}

async fn within<T>(
    limit: Duration,
    lookup: impl Future<Output = Result<T, TokenStoreError>>,
) -> Result<T, TokenStoreError> {
    tokio::time::timeout(limit, lookup).await.unwrap_or_else(|_| {
        Err(TokenStoreError(format!("no answer within {}", bklit_wire::duration::format(limit))))
    })
}

impl TokenRecord {
    pub(super) fn is_expired(&self, now: UtcMillis) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    /// Whether it allows writing to `project` from `site`.
    ///
    /// # Errors
    /// [`Denied::Scope`], [`Denied::Project`], [`Denied::Domain`].
    pub fn allow_ingest(&self, project: &str, site: Site<'_>) -> Result<(), Denied> {
        if self.scope != Scope::Ingest {
            return Err(Denied::Scope(self.scope));
        }
        if !self.projects.iter().any(|own| own == project) {
            return Err(Denied::Project);
        }
        if self.allowed_domains.is_empty() || site.is_within(&self.allowed_domains) {
            Ok(())
        } else {
            Err(Denied::Domain)
        }
    }

    /// Whether it allows changing the queue, which holds events of all projects.
    ///
    /// # Errors
    /// [`Denied::Scope`], [`Denied::AllProjects`].
    pub fn allow_admin(&self) -> Result<(), Denied> {
        match self.scope {
            Scope::Admin if self.projects.is_empty() => Ok(()),
            Scope::Admin => Err(Denied::AllProjects),
            scope => Err(Denied::Scope(scope)),
        }
    }

    /// Whether it allows reading about `project`, or about all without one.
    ///
    /// # Errors
    /// [`Denied::Scope`], [`Denied::Project`], [`Denied::AllProjects`].
    pub fn allow_read(&self, project: Option<&str>) -> Result<(), Denied> {
        if !matches!(self.scope, Scope::Read | Scope::Admin) {
            return Err(Denied::Scope(self.scope));
        }
        match project {
            _ if self.projects.is_empty() => Ok(()),
            Some(project) if self.projects.iter().any(|own| own == project) => Ok(()),
            Some(_) => Err(Denied::Project),
            None => Err(Denied::AllProjects),
        }
    }
}

/// Where a browser says the request comes from: its `Origin`, else its `Referer`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Site<'a>(pub Option<&'a str>);

impl Site<'_> {
    /// Whether the host equals one of `domains` or is a subdomain of one.
    fn is_within(self, domains: &[String]) -> bool {
        let Some(url) = self.0.and_then(|text| url::Url::parse(text).ok()) else { return false };
        let Some(host) = url.host_str() else { return false };
        let host = host.strip_suffix('.').unwrap_or(host).as_bytes();
        domains.iter().any(|domain| {
            let domain = domain.as_bytes();
            let Some(start) = host.len().checked_sub(domain.len()) else { return false };
            host[start..].eq_ignore_ascii_case(domain) && (start == 0 || host[start - 1] == b'.')
        })
    }
}

#[cfg(test)]
mod tests;
