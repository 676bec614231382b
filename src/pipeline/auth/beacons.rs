//! Authorizes ending sessions without a token, as `navigator.sendBeacon` needs: a session may be ended
//! if some ingest token is for its project.
//!
//! Anyone may send beacons, so their cost must not grow with the number of tokens: tokens are
//! listed from time to time, and looked up by project.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::authenticator::{GRACE, KNOWN_TIMEOUT, LOOKUP_TIMEOUT, REFRESH_TIMEOUT, TTL};
use super::single_flight::SingleFlight;
use super::token_cache::TokenCache;
use super::{
    Denied, DomainRules, Listing, Scope, Site, TokenHash, TokenRecord, TokenStore, TokenStoreError,
};
use bklit_net::timeout::no_response;
use bklit_wire::time::UtcMillis;

/// A list is used for this many times as long as it took to read, so that reading lists takes at most
/// this fraction of the time, but for at least [`TTL`] and at most [`LONGEST_USE`].
const READING_SHARE: u32 = 20;
const LONGEST_USE: Duration = Duration::from_secs(30);

/// Checks beacons against the list of all tokens.
pub(super) struct Beacons {
    lists: Arc<Lists>,
    reading: SingleFlight<(), List>,
}

/// The tokens by project.
#[derive(Clone)]
struct List {
    tokens: Arc<HashMap<String, Vec<Arc<TokenRecord>>>>,
    /// The hashes of all tokens, whatever their scope.
    hashes: Arc<HashSet<TokenHash>>,
    /// Why the list may be incomplete.
    unavailable: Option<Arc<TokenStoreError>>,
    /// When to read it again.
    until: Instant,
}

struct Lists {
    store: Arc<dyn TokenStore>,
    /// The tokens that were used: they stay valid while the store is unavailable.
    known: Arc<TokenCache>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    latest: Option<List>,
    /// The last complete list, and when it was read.
    whole: Option<(Instant, Vec<Arc<TokenRecord>>)>,
}

impl Beacons {
    /// Checks against `store` and, while that is unavailable, also against the `known` tokens.
    pub(super) fn new(store: Arc<dyn TokenStore>, known: Arc<TokenCache>) -> Self {
        let lists = Arc::new(Lists { store, known, state: Mutex::default() });
        Self { lists, reading: SingleFlight::new(1) }
    }

    /// Whether a session of `project` may be ended from that site.
    pub(super) async fn authorize(
        &self,
        project: &str,
        site: Site<'_>,
        rules: DomainRules,
    ) -> Result<(), Denied> {
        let list = self.list().await;
        let mut denied = list.unavailable.map_or(Denied::Missing, Denied::Unavailable);
        let now = UtcMillis::now();
        let tokens = list.tokens.get(project).into_iter().flatten();
        for token in tokens.filter(|token| !token.is_expired(now)) {
            match token.allow_ingest(project, site, rules) {
                Ok(()) => return Ok(()),
                Err(foreign @ Denied::Domain(_)) => denied = foreign,
                Err(_) => {}
            }
        }
        Err(denied)
    }

    /// Whether a token with this hash is in the list.
    pub(super) async fn has(&self, hash: &TokenHash) -> bool {
        self.list().await.hashes.contains(hash)
    }

    /// Whether tokens can be checked now.
    pub(super) async fn knows_tokens(&self) -> bool {
        let list = self.list().await;
        list.unavailable.is_none() || !list.tokens.is_empty()
    }

    /// The latest list; while the store is slow, the previous one.
    async fn list(&self) -> List {
        let before = self.lists.state().latest.clone();
        if let Some(list) = &before
            && Instant::now() < list.until
        {
            return list.clone();
        }
        let lists = Arc::clone(&self.lists);
        let flight = self.reading.begin(&(), async move { lists.read().await });
        let patience = if before.is_some() { KNOWN_TIMEOUT } else { LOOKUP_TIMEOUT };
        let read = match flight {
            Some(flight) => {
                let deadline = flight.at + patience;
                flight.by(deadline).await
            }
            None => None,
        };
        if let Some(list) = read.or(before) {
            return list;
        }
        let latest = self.lists.state().latest.clone();
        latest.unwrap_or_else(|| {
            self.lists.update(Listing::unavailable(unavailable(patience)), Duration::ZERO)
        })
    }
}

impl Lists {
    async fn read(&self) -> List {
        let began = Instant::now();
        let listing = timeout(REFRESH_TIMEOUT, self.store.listing()).await;
        let listing =
            listing.unwrap_or_else(|_| Listing::unavailable(unavailable(REFRESH_TIMEOUT)));
        self.update(listing, began.elapsed())
    }

    /// Makes a listing, which took `took` to read, the latest list.
    fn update(&self, listing: Listing, took: Duration) -> List {
        let hashes = listing.tokens.iter().map(|token| token.hash).collect();
        let ingest = listing.tokens.into_iter().filter(|token| token.scope == Scope::Ingest);
        let mut tokens: Vec<_> = ingest.map(Arc::new).collect();
        let now = Instant::now();
        let mut state = self.state();
        let mut usable_for = TTL;
        if listing.unavailable.is_none() {
            state.whole = Some((now, tokens.clone()));
            usable_for = (took * READING_SHARE).clamp(TTL, LONGEST_USE);
        } else {
            // The last complete list stays valid.
            let whole = state.whole.iter().filter(|(at, _)| now - *at < GRACE);
            tokens.extend(whole.flat_map(|(_, tokens)| tokens).cloned());
            tokens.extend(self.known.all().filter(|token| token.scope == Scope::Ingest));
        }
        let mut by_project: HashMap<String, Vec<_>> = HashMap::new();
        for token in &tokens {
            for project in &token.projects {
                by_project.entry(project.clone()).or_default().push(Arc::clone(token));
            }
        }
        let list = List {
            tokens: Arc::new(by_project),
            hashes: Arc::new(hashes),
            unavailable: listing.unavailable.map(Arc::new),
            until: now + usable_for,
        };
        state.latest = Some(list.clone());
        list
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unavailable(limit: Duration) -> TokenStoreError {
    TokenStoreError(no_response(limit))
}
