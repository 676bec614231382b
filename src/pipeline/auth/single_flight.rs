//! Calls that continue when their callers have stopped waiting: a late result still counts, and a
//! slow connection still gets established.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

#[cfg(test)]
use self::tests::{interleave, spawn};

/// One call at a time per key, and a bound on the number of calls.
pub struct SingleFlight<K, V> {
    flights: Arc<Mutex<HashMap<K, Flight<V>>>>,
    most: usize,
}

/// A call in progress.
#[derive(Clone)]
pub struct Flight<V> {
    /// When it started.
    pub at: Instant,
    result: watch::Receiver<Option<V>>,
}

impl<V: Clone> Flight<V> {
    /// Its result, if there is one by `deadline`.
    pub async fn by(mut self, deadline: Instant) -> Option<V> {
        let finished = self.result.wait_for(Option::is_some);
        tokio::time::timeout_at(deadline, finished).await.ok()?.ok()?.clone()
    }
}

impl<K, V> SingleFlight<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Room for `most` calls at once.
    pub fn new(most: usize) -> Self {
        Self { flights: Arc::default(), most }
    }

    /// The call for `key` that is in progress, or else starts `call`; `None` when there are too
    /// many others. `call` must end eventually.
    pub fn begin(
        &self,
        key: &K,
        call: impl Future<Output = V> + Send + 'static,
    ) -> Option<Flight<V>> {
        let mut all = lock(&self.flights);
        if let Some(flight) = all.get(key) {
            return Some(flight.clone());
        }
        if all.len() >= self.most {
            return None;
        }
        let (sender, result) = watch::channel(None);
        let flight = Flight { at: Instant::now(), result };
        all.insert(key.clone(), flight.clone());
        drop(all);
        // On drop, also after a panic, it first removes the call and then notifies the waiters.
        let ending =
            Ending { flights: Arc::clone(&self.flights), key: key.clone(), sender, result: None };
        spawn(async move {
            let mut ending = ending;
            ending.result = Some(call.await);
        });
        Some(flight)
    }
}

struct Ending<K: Eq + Hash, V> {
    flights: Arc<Mutex<HashMap<K, Flight<V>>>>,
    key: K,
    sender: watch::Sender<Option<V>>,
    result: Option<V>,
}

impl<K: Eq + Hash, V> Drop for Ending<K, V> {
    fn drop(&mut self) {
        lock(&self.flights).remove(&self.key);
        interleave();
        self.sender.send_replace(self.result.take());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    interleave();
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A point at which the model check may switch tasks.
#[cfg(not(test))]
fn interleave() {}

#[cfg(not(test))]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

#[cfg(test)]
mod tests;
