//! Questions that go on when those who asked do not wait any longer: an answer that comes late
//! still counts, and a connection that takes long to make is made.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

/// One question at a time for each key, and a bound on all of them.
pub(super) struct UnderWay<K, V> {
    begun: Arc<Mutex<HashMap<K, Begun<V>>>>,
    most: usize,
}

/// A question that is being answered.
#[derive(Clone)]
pub(super) struct Begun<V> {
    /// Since when.
    pub(super) at: Instant,
    answer: watch::Receiver<Option<V>>,
}

impl<V: Clone> Begun<V> {
    /// The answer, if there is one by `deadline`.
    pub(super) async fn by(mut self, deadline: Instant) -> Option<V> {
        let answered = self.answer.wait_for(Option::is_some);
        tokio::time::timeout_at(deadline, answered).await.ok()?.ok()?.clone()
    }
}

impl<K, V> UnderWay<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// With room for `most` questions.
    pub(super) fn new(most: usize) -> Self {
        Self { begun: Arc::default(), most }
    }

    /// The question about `key` that is under way, else `question`, which is begun; `None` when
    /// there are too many others. It must end by itself.
    pub(super) fn begin(
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
        let under_way = UnderWay::new(2);
        let second = Duration::from_secs(1);
        let slow = |answer| async move {
            tokio::time::sleep(second).await;
            answer
        };
        let begun = under_way.begin(&"a", slow(1)).unwrap();
        assert_eq!(begun.clone().by(Instant::now() + second / 2).await, None);
        let joined = under_way.begin(&"a", slow(2)).unwrap();
        assert_eq!(joined.at, begun.at);
        let other = under_way.begin(&"b", slow(3)).unwrap();
        assert!(under_way.begin(&"c", slow(4)).is_none(), "there is no room");
        assert_eq!(joined.by(begun.at + second * 2).await, Some(1));
        assert!(under_way.begin(&"c", slow(4)).is_some());
        assert_eq!(other.by(Instant::now() + second * 2).await, Some(3));
    }

    #[tokio::test]
    async fn a_question_that_crashes_is_over() {
        let under_way: UnderWay<_, u8> = UnderWay::new(1);
        let begun = under_way.begin(&(), async { panic!("as a test") }).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        assert_eq!(begun.by(deadline).await, None);
        assert!(Instant::now() < deadline);
        let again = under_way.begin(&(), async { 7 }).unwrap();
        assert_eq!(again.by(deadline).await, Some(7));
    }
}
