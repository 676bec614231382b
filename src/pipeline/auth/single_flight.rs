//! Questions that go on when those who asked do not wait any longer: an answer that comes late
//! still counts, and a connection that takes long to make is made.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

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
        tokio::spawn(async move {
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
        self.sender.send_replace(self.answer.take());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_question_is_asked_once_and_ends_without_those_who_asked() {
        let in_flight = SingleFlight::new(2);
        let second = Duration::from_secs(1);
        let slow = |answer| async move {
            tokio::time::sleep(second).await;
            answer
        };
        let begun = in_flight.begin(&"a", slow(1)).unwrap();
        assert_eq!(begun.clone().by(Instant::now() + second / 2).await, None);
        let joined = in_flight.begin(&"a", slow(2)).unwrap();
        assert_eq!(joined.at, begun.at);
        let other = in_flight.begin(&"b", slow(3)).unwrap();
        assert!(in_flight.begin(&"c", slow(4)).is_none(), "there is no room");
        assert_eq!(joined.by(begun.at + second * 2).await, Some(1));
        assert!(in_flight.begin(&"c", slow(4)).is_some());
        assert_eq!(other.by(Instant::now() + second * 2).await, Some(3));
    }

    #[tokio::test]
    async fn a_question_that_crashes_is_over() {
        let in_flight: SingleFlight<_, u8> = SingleFlight::new(1);
        let begun = in_flight.begin(&(), async { panic!("as a test") }).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        assert_eq!(begun.by(deadline).await, None);
        assert!(Instant::now() < deadline);
        let again = in_flight.begin(&(), async { 7 }).unwrap();
        assert_eq!(again.by(deadline).await, Some(7));
    }
}
