//! Questions that go on when those who asked do not wait any longer: an answer that comes late
//! still counts, and a connection that takes long to make is made.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

#[cfg(test)]
use self::tests::{interleave, spawn};

/// One question at a time for each key, and a bound on all of them.
pub struct SingleFlight<K, V> {
    begun: Arc<Mutex<HashMap<K, Begun<V>>>>,
    most: usize,
}

/// A question that is being answered.
#[derive(Clone)]
pub struct Begun<V> {
    /// Since when.
    pub at: Instant,
    answer: watch::Receiver<Option<V>>,
}

impl<V: Clone> Begun<V> {
    /// The answer, if there is one by `deadline`.
    pub async fn by(mut self, deadline: Instant) -> Option<V> {
        let answered = self.answer.wait_for(Option::is_some);
        tokio::time::timeout_at(deadline, answered).await.ok()?.ok()?.clone()
    }
}

impl<K, V> SingleFlight<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// With room for `most` questions.
    pub fn new(most: usize) -> Self {
        Self { begun: Arc::default(), most }
    }

    /// The question about `key` that is under way, else `question`, which is begun; `None` when
    /// there are too many others. It must end by itself.
    pub fn begin(
        &self,
        key: &K,
        question: impl Future<Output = V> + Send + 'static,
    ) -> Option<Begun<V>> {
        let mut all = lock(&self.begun);
        if let Some(begun) = all.get(key) {
            return Some(begun.clone());
        }
        if all.len() >= self.most {
            return None;
        }
        let (sender, answer) = watch::channel(None);
        let begun = Begun { at: Instant::now(), answer };
        all.insert(key.clone(), begun.clone());
        drop(all);
        // Dropped, it forgets the question first, and then tells those who wait: also after a
        // panic.
        let ending =
            Ending { begun: Arc::clone(&self.begun), key: key.clone(), sender, answer: None };
        spawn(async move {
            let mut ending = ending;
            ending.answer = Some(question.await);
        });
        Some(begun)
    }
}

struct Ending<K: Eq + Hash, V> {
    begun: Arc<Mutex<HashMap<K, Begun<V>>>>,
    key: K,
    sender: watch::Sender<Option<V>>,
    answer: Option<V>,
}

impl<K: Eq + Hash, V> Drop for Ending<K, V> {
    fn drop(&mut self) {
        lock(&self.begun).remove(&self.key);
        interleave();
        self.sender.send_replace(self.answer.take());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    interleave();
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where the model check lets another task go on.
#[cfg(not(test))]
fn interleave() {}

#[cfg(not(test))]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

#[cfg(test)]
mod tests;
