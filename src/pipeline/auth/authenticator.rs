//! The cached check of tokens: who may write to which project from where, and who may read.
//!
//! Results of the store, positive and negative, are cached for [`TTL`], so that a token is looked up
//! once in that time however many requests carry it, and a revocation takes effect within it. While
//! the store is unavailable, its last result for a token stays valid for up to [`GRACE`]. While it is
//! slow, requests use the last result and do not wait; the new one counts as soon as it arrives.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::beacons::Beacons;
use super::single_flight::SingleFlight;
use super::token_cache::TokenCache;
use super::{
    AuthSettings, DomainRules, ForeignSite, Scope, Secret, Site, TokenHash, TokenRecord,
    TokenStore, TokenStoreError,
};
use crate::throttle::{Throttle, Throttled};
use bklit_net::log_throttle::LogThrottle;
use bklit_net::timeout::within;
use bklit_wire::duration::seconds;
use bklit_wire::time::UtcMillis;

/// How long a revoked token may still work, and a new one may still be rejected.
pub const TTL: Duration = Duration::from_secs(2);

/// How long a token that was used before stays valid while the store is unavailable.
pub const GRACE: Duration = Duration::from_secs(60 * 60);

/// Cached tokens, including nonexistent ones. Guessing evicts guesses first, because the cache keeps
/// what is used often.
pub(super) const CAPACITY: u64 = 10_000;

/// How often the cache file is written: when tokens have changed, and when only their times have.
const SAVE_EVERY: Duration = Duration::from_secs(2);
const SAVE_TIMES_EVERY: Duration = Duration::from_secs(60);

/// How long the store may take before a request is refused because it is unavailable.
pub(super) const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a request waits if an earlier result is known, so that a slow or hanging store does not
/// hold up requests with a token in use.
pub(super) const KNOWN_TIMEOUT: Duration = Duration::from_millis(250);

/// How long the store may take after that before it counts as unavailable: longer than the timeouts
/// of connecting and of requests, so that a request in progress can finish.
pub(super) const REFRESH_TIMEOUT: Duration = Duration::from_secs(15);

/// Known tokens refreshed at once. Others are refreshed as soon as there is room.
const MAX_REFRESHED: usize = 1_000;

/// Why a request is not authorized.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Denied {
    /// It writes without a token.
    #[error("a token is needed: send the header `Authorization: Bearer bk_live_…`")]
    Missing,
    /// Its header `Authorization` is not of the form `Bearer TOKEN`.
    #[error("invalid Authorization header: send `Authorization: Bearer bk_live_…`")]
    NoBearer,
    /// It reads without a token, from another machine, or where this machine needs one, too.
    #[error(
        "reading needs a token with scope read (`bklit-tui token create --project '*' --scope \
         read`), unless the pipeline listens on loopback only and the request comes from this machine, without \
         a proxy, and auth.loopback_needs_token is off"
    )]
    NotLocal,
    /// It changes the queue without a token, from another machine.
    #[error(
        "changing the queue needs a token with scope admin in the header `Authorization: Bearer \
         bk_live_…` (`bklit-tui token create --project '*' --scope admin`), unless the pipeline \
         listens on loopback only and the request comes from this machine, without a proxy, and \
         auth.loopback_needs_token is off"
    )]
    NotAdmin,
    /// The token does not exist, or was revoked.
    #[error("the token is not valid: it does not exist or was revoked")]
    Unknown,
    /// The token has expired.
    #[error("the token has expired")]
    Expired,
    /// The token has another scope.
    #[error("the token has scope {}, which does not allow this", .0.as_str())]
    Scope(Scope),
    /// The token is for other projects.
    #[error("the token is not for this project")]
    Project,
    /// The token is for some projects, and the request is about all.
    #[error("the token is for some projects only, and this needs one for all")]
    AllProjects,
    /// The token is for other sites.
    #[error(transparent)]
    Domain(Box<ForeignSite>),
    /// There were too many unknown tokens from this address.
    #[error(transparent)]
    Throttled(#[from] Throttled),
    /// The token cannot be checked now.
    #[error("{0}")]
    Unavailable(Arc<TokenStoreError>),
}

/// Checks tokens against a [`TokenStore`].
pub struct Authenticator {
    store: Arc<dyn TokenStore>,
    tokens: Cache<TokenHash, Option<Arc<TokenRecord>>>,
    /// The tokens that were used, for when the store is unavailable.
    known: Arc<TokenCache>,
    refreshed: SingleFlight<TokenHash, Option<Arc<TokenRecord>>>,
    beacons: Beacons,
    settings: AuthSettings,
    throttle: Option<Arc<Throttle>>,
}

impl Authenticator {
    /// Checks against `store`, caching its results for [`TTL`], by the default settings.
    pub fn new(store: Arc<dyn TokenStore>) -> Self {
        let tokens = Cache::builder().max_capacity(CAPACITY).time_to_live(TTL).build();
        let known = Arc::new(TokenCache::new());
        let refreshed = SingleFlight::new(MAX_REFRESHED);
        let beacons = Beacons::new(Arc::clone(&store), Arc::clone(&known));
        Self {
            store,
            tokens,
            known,
            refreshed,
            beacons,
            settings: AuthSettings::default(),
            throttle: None,
        }
    }

    /// Checks by these settings.
    #[must_use]
    pub fn with_settings(self, settings: AuthSettings) -> Self {
        Self { settings, ..self }
    }

    /// Bounds the lookups of unknown tokens.
    #[must_use]
    pub fn with_throttle(self, throttle: Arc<Throttle>) -> Self {
        Self { throttle: Some(throttle), ..self }
    }

    /// Whether requests from this machine need no token.
    pub fn trusts_loopback(&self) -> bool {
        !self.settings.loopback_needs_token
    }

    /// Which sites the allowed domains of tokens match.
    pub fn domain_rules(&self) -> DomainRules {
        self.settings.domain_rules()
    }

    /// Looks up the token that a client at `address` sent.
    ///
    /// # Errors
    /// Those of [`Authenticator::identify`], and [`Denied::Throttled`] if the token is not in the list
    /// of all tokens and many others were looked up from there.
    pub async fn identify_from(
        &self,
        address: IpAddr,
        secret: &str,
    ) -> Result<Arc<TokenRecord>, Denied> {
        self.identify_within(Some(address), secret).await
    }

    /// Looks up the token that a client sent.
    ///
    /// # Errors
    /// [`Denied::Unknown`], [`Denied::Expired`], [`Denied::Unavailable`].
    pub async fn identify(&self, secret: &str) -> Result<Arc<TokenRecord>, Denied> {
        self.identify_within(None, secret).await
    }

    /// Looks up a token, within the limit of an `address` unless that is not known.
    async fn identify_within(
        &self,
        address: Option<IpAddr>,
        secret: &str,
    ) -> Result<Arc<TokenRecord>, Denied> {
        // Keyed by hash: no secret stays in memory, and no comparison leaks one.
        let hash = TokenHash::of_secret(secret).ok_or(Denied::Unknown)?;
        let found = match self.tokens.get(&hash).await {
            Some(remembered) => remembered,
            None => {
                self.limit_lookups(address, &hash).await?;
                self.look_up(hash, secret).await?
            }
        };
        let token = found.filter(|token| token.hash == hash).ok_or(Denied::Unknown)?;
        if token.expires_at.is_some() && token.is_expired(UtcMillis::now()) {
            return Err(Denied::Expired);
        }
        Ok(token)
    }

    /// Counts the lookup of a token that was not used here before.
    async fn limit_lookups(
        &self,
        address: Option<IpAddr>,
        hash: &TokenHash,
    ) -> Result<(), Throttled> {
        let (Some(throttle), Some(address)) = (&self.throttle, address) else { return Ok(()) };
        if self.known.get(hash).is_some() {
            return Ok(());
        }
        match throttle.look_up_token(address) {
            Err(throttled) if !self.beacons.has(hash).await => Err(throttled),
            _ => Ok(()),
        }
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
            let found =
                within(LOOKUP_TIMEOUT, self.store.find_by_secret(&secret), TokenStoreError).await?;
            Ok::<_, TokenStoreError>(found.map(Arc::new))
        };
        let found = self.tokens.try_get_with(hash, lookup).await.map_err(Denied::Unavailable)?;
        // Only after the result is cached: a request that finds the token known before that
        // would query the store again.
        self.known.update(hash, found.as_ref());
        Ok(found)
    }

    /// The store's current result for a `known` token, or the earlier result if the store does not
    /// respond soon. A late response still updates the cache.
    async fn refresh(
        &self,
        hash: TokenHash,
        secret: Secret,
        known: Arc<TokenRecord>,
    ) -> Option<Arc<TokenRecord>> {
        let (store, tokens) = (Arc::clone(&self.store), self.tokens.clone());
        let (all_known, before) = (Arc::clone(&self.known), Arc::clone(&known));
        let question = async move {
            // Another request has got a response meanwhile.
            if let Some(remembered) = tokens.get(&hash).await {
                return remembered;
            }
            let found =
                match within(REFRESH_TIMEOUT, store.find_by_secret(&secret), TokenStoreError).await
                {
                    Ok(found) => {
                        let found = found.map(Arc::new);
                        all_known.update(hash, found.as_ref());
                        found
                    }
                    Err(_) => Some(before),
                };
            tokens.insert(hash, found.clone()).await;
            found
        };
        let Some(flight) = self.refreshed.begin(&hash, question) else { return Some(known) };
        let deadline = flight.at + KNOWN_TIMEOUT;
        flight.by(deadline).await.unwrap_or(Some(known))
    }

    /// Whether a session of `project` may be ended without a token, as `navigator.sendBeacon` needs:
    /// some ingest token must allow writing to the project from that site.
    ///
    /// # Errors
    /// [`Denied::Missing`] if the project has no token, [`Denied::Domain`] if none allows that site,
    /// [`Denied::Unavailable`].
    pub async fn authorize_beacon(&self, project: &str, site: Site<'_>) -> Result<(), Denied> {
        self.beacons.authorize(project, site, self.domain_rules()).await
    }

    /// Whether tokens can be checked now: the store responds, or there are tokens that were used
    /// recently and stay valid while it is unavailable.
    pub async fn knows_tokens(&self) -> bool {
        self.known.all().next().is_some() || self.beacons.knows_tokens().await
    }

    /// Loads the tokens that an earlier process saved in `file` and that are still valid.
    pub async fn load_cache(&self, file: &Path) {
        let (known, file) = (Arc::clone(&self.known), file.to_path_buf());
        let read = tokio::task::spawn_blocking(move || known.read(&file)).await;
        match read.map_err(std::io::Error::other).flatten() {
            Ok(0) => {}
            Ok(tokens) => tracing::info!(tokens, "loaded recently used tokens"),
            Err(error) => tracing::warn!(%error, "cannot read the file of recently used tokens"),
        }
    }

    /// Saves the tokens that were used in `file`, until `stop`.
    pub async fn save_cache(&self, file: &Path, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(SAVE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut saved, throttle) = (Instant::now(), LogThrottle::default());
        let mut goes_on = true;
        while goes_on {
            goes_on = stop.run_until_cancelled(ticks.tick()).await.is_some();
            if !self.known.needs_saving(!goes_on || saved.elapsed() >= SAVE_TIMES_EVERY) {
                continue;
            }
            saved = Instant::now();
            let (known, file) = (Arc::clone(&self.known), file.to_path_buf());
            let written = tokio::task::spawn_blocking(move || known.write(&file)).await;
            match written.map_err(std::io::Error::other).flatten() {
                Ok(()) => drop(throttle.recovered()),
                Err(error) => {
                    if let Some(lasting) = throttle.failure().map(seconds) {
                        tracing::warn!(%error, lasting, "cannot save the recently used tokens");
                    }
                }
            }
        }
    }
}

impl TokenRecord {
    pub(super) fn is_expired(&self, now: UtcMillis) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    /// Checks that it allows writing to `project` from `site`.
    ///
    /// # Errors
    /// [`Denied::Scope`], [`Denied::Project`], [`Denied::Domain`].
    pub fn allow_ingest(
        &self,
        project: &str,
        site: Site<'_>,
        rules: DomainRules,
    ) -> Result<(), Denied> {
        if self.scope != Scope::Ingest {
            return Err(Denied::Scope(self.scope));
        }
        if !self.projects.iter().any(|own| own == project) {
            return Err(Denied::Project);
        }
        if self.allowed_domains.is_empty() || site.is_within(&self.allowed_domains, rules) {
            Ok(())
        } else {
            Err(Denied::Domain(Box::new(site.foreign(&self.allowed_domains))))
        }
    }

    /// Checks that it allows changing the queue, which holds events of all projects.
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

    /// Checks that it allows reading `project`, or all projects for `None`.
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

#[cfg(test)]
mod tests;
