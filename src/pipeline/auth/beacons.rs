//! Whose sessions may be ended without a token, as `navigator.sendBeacon` does it: those of the
//! projects that some ingest token is for.
//!
//! Anybody may ask, so what it costs does not grow with the tokens: they are listed now and then,
//! and looked up by project.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::authenticator::{GRACE, KNOWN_TIMEOUT, LOOKUP_TIMEOUT, REFRESH_TIMEOUT, TTL};
use super::known::Known;
use super::single_flight::SingleFlight;
use super::{Denied, Listing, Scope, Site, TokenRecord, TokenStore, TokenStoreError};
use bklit_wire::time::UtcMillis;

/// A list is used for at least [`TTL`], for as many times longer than it took to be read, so that
/// reading takes no more than that part of a server's time, and for at most [`LONGEST_USE`].
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
    /// Why there may be others.
    away: Option<Arc<TokenStoreError>>,
    /// When it is to be read again.
    until: Instant,
}

struct Lists {
    store: Arc<dyn TokenStore>,
    /// The tokens that were used: they count while the store is away.
    known: Arc<Known>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    latest: Option<List>,
    /// The tokens of the last list of a store that was not away, and when that was.
    whole: Option<(Instant, Vec<Arc<TokenRecord>>)>,
}

impl Beacons {
    /// Checks against `store`, and while that is away also against the tokens that are `known`.
    pub(super) fn new(store: Arc<dyn TokenStore>, known: Arc<Known>) -> Self {
        let lists = Arc::new(Lists { store, known, state: Mutex::default() });
        Self { lists, reading: SingleFlight::new(1) }
    }

    /// Whether a session of `project` may be ended from that site.
    pub(super) async fn authorize(&self, project: &str, site: Site<'_>) -> Result<(), Denied> {
        let list = self.list().await;
        let mut denied = list.away.map_or(Denied::Missing, Denied::Unavailable);
        let now = UtcMillis::now();
        let tokens = list.tokens.get(project).into_iter().flatten();
        for token in tokens.filter(|token| !token.is_expired(now)) {
            match token.allow_ingest(project, site) {
                Ok(()) => return Ok(()),
                Err(Denied::Domain) => denied = Denied::Domain,
                Err(_) => {}
            }
        }
        Err(denied)
    }

    /// Whether some token can be told from none.
    pub(super) async fn knows_tokens(&self) -> bool {
        let list = self.list().await;
        list.away.is_none() || !list.tokens.is_empty()
    }

    /// The latest list; while the store is slow, the one before.
    async fn list(&self) -> List {
        let before = self.lists.state().latest.clone();
        if let Some(list) = &before
            && Instant::now() < list.until
        {
            return list.clone();
        }
        let lists = Arc::clone(&self.lists);
        let begun = self.reading.begin(&(), async move { lists.read().await });
        let patience = if before.is_some() { KNOWN_TIMEOUT } else { LOOKUP_TIMEOUT };
        let read = match begun {
            Some(begun) => {
                let deadline = begun.at + patience;
                begun.by(deadline).await
            }
            None => None,
        };
        if let Some(list) = read.or(before) {
            return list;
        }
        let latest = self.lists.state().latest.clone();
        latest.unwrap_or_else(|| {
            self.lists.take_in(Listing::away(no_answer(patience)), Duration::ZERO)
        })
    }
}

impl Lists {
    async fn read(&self) -> List {
        let began = Instant::now();
        let listing = timeout(REFRESH_TIMEOUT, self.store.listing()).await;
        let listing = listing.unwrap_or_else(|_| Listing::away(no_answer(REFRESH_TIMEOUT)));
        self.take_in(listing, began.elapsed())
    }

    /// Makes a listing, which took so long, the latest list.
    fn take_in(&self, listing: Listing, took: Duration) -> List {
        let ingest = listing.tokens.into_iter().filter(|token| token.scope == Scope::Ingest);
        let mut tokens: Vec<_> = ingest.map(Arc::new).collect();
        let now = Instant::now();
        let mut state = self.state();
        let mut usable_for = TTL;
        if listing.away.is_none() {
            state.whole = Some((now, tokens.clone()));
            usable_for = (took * READING_SHARE).clamp(TTL, LONGEST_USE);
        } else {
            // What was said before stands.
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
            away: listing.away.map(Arc::new),
            until: now + usable_for,
        };
        state.latest = Some(list.clone());
        list
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_answer(limit: Duration) -> TokenStoreError {
    TokenStoreError(format!("no answer within {}", bklit_wire::duration::format(limit)))
}
