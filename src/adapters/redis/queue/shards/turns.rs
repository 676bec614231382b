//! Claims from the shards in turn, so that one with many events does not hold up the others.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::super::shard::Shard;
use super::super::{RedisQueue, unavailable};
use bklit_net::log_throttle::LogThrottle;
use bklit_pipeline::queue::{Claim, QueueError};
use bklit_wire::duration::seconds;

/// How long an empty shard is skipped, unless the others are empty, too, or it is known to have
/// something.
const EMPTY_FOR: Duration = Duration::from_millis(50);
/// How long one of several shards may take. A worker waits only a little longer for a batch.
const PATIENCE: Duration = Duration::from_secs(3);
/// The pause before a shard that failed is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// The pause while all shards that have something fail.
pub(in super::super) const PAUSE: Duration = Duration::from_millis(100);

/// Whose turn it is.
#[derive(Default)]
pub(in super::super) struct Turns {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u32,
    shards: Vec<Seen>,
}

/// The state of a shard when it was last queried.
#[derive(Clone, Default)]
struct Seen {
    empty_at: Option<Instant>,
    is_failing: bool,
    outage: Arc<LogThrottle>,
}

impl Turns {
    /// These shards have something to claim.
    pub(in super::super) fn ready(&self, shards: &[u32]) {
        let mut state = self.state();
        for shard in shards {
            state.seen(*shard).empty_at = None;
        }
    }

    /// Whether these shards have something that cannot be claimed, because all of them fail.
    pub(in super::super) fn are_failing(&self, shards: &[u32]) -> bool {
        let mut state = self.state();
        !shards.is_empty() && shards.iter().all(|shard| state.seen(*shard).is_failing)
    }

    /// The shards in the order in which to query them: first those that may have something, then
    /// those that were empty a moment ago. Failing ones are left out.
    fn order(&self, served: u32) -> Vec<u32> {
        let mut state = self.state();
        let first = state.next % served;
        let in_turn = (0..served).map(|n| (first + n) % served);
        let (mut order, mut empty) = (Vec::new(), Vec::new());
        for shard in in_turn {
            let seen = state.seen(shard);
            match seen.empty_at {
                _ if seen.is_failing => {}
                Some(at) if at.elapsed() < EMPTY_FOR => empty.push(shard),
                _ => order.push(shard),
            }
        }
        order.extend(empty);
        order
    }

    fn was_empty(&self, shard: u32) {
        self.works(shard);
        self.state().seen(shard).empty_at = Some(Instant::now());
    }

    /// Something was claimed, so the next one is the first now.
    fn was_served(&self, shard: u32) {
        self.works(shard);
        self.state().next = shard + 1;
    }

    fn works(&self, shard: u32) {
        let outage = Arc::clone(&self.state().seen(shard).outage);
        if let Some(lasted) = outage.recovered().map(seconds) {
            tracing::info!(shard, lasted, "the shard of the queue works again");
        }
    }

    fn report(&self, shard: u32, error: &dyn std::fmt::Display) {
        let outage = Arc::clone(&self.state().seen(shard).outage);
        if let Some(lasting) = outage.failure().map(seconds) {
            tracing::warn!(shard, %error, lasting, "a shard of the queue cannot be used");
        }
    }

    /// Sets whether the shard fails; returns whether it did before.
    fn set_failing(&self, shard: u32, is_failing: bool) -> bool {
        std::mem::replace(&mut self.state().seen(shard).is_failing, is_failing)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn seen(&mut self, shard: u32) -> &mut Seen {
        let shard = shard as usize;
        if self.shards.len() <= shard {
            self.shards.resize(shard + 1, Seen::default());
        }
        &mut self.shards[shard]
    }
}

impl RedisQueue {
    /// Claims from the next of several shards that has something. One that fails is left out until it
    /// works again.
    pub(in super::super) async fn claim_in_turn(
        &self,
        served: u32,
        most: usize,
        lease: Duration,
    ) -> Result<Option<Claim>, QueueError> {
        let mut failure = None;
        let order = self.turns.order(served);
        let are_failing = order.is_empty();
        for shard in if are_failing { vec![0] } else { order } {
            let claim = self.shard(shard).claim(most, lease);
            let claimed = timeout(PATIENCE, claim).await;
            let claimed = claimed.unwrap_or_else(|_| {
                Err(unavailable(format!("it did not answer within {PATIENCE:?}")))
            });
            match claimed {
                Ok(Some(claim)) => {
                    self.turns.was_served(shard);
                    return Ok(Some(claim));
                }
                Ok(None) => self.turns.was_empty(shard),
                Err(error) => {
                    self.fails(shard, &error);
                    failure = Some(error);
                }
            }
        }
        match failure {
            // Events of the others need not wait for it.
            Some(_) if !self.turns.order(served).is_empty() => Ok(None),
            Some(error) => Err(error),
            None => Ok(None),
        }
    }

    /// Leaves a shard out until it answers again.
    fn fails(&self, number: u32, error: &QueueError) {
        if self.turns.set_failing(number, true) {
            return;
        }
        self.turns.report(number, error);
        let (shard, turns) = (Arc::downgrade(self.shard(number)), Arc::downgrade(&self.turns));
        tokio::spawn(recover(number, shard, turns, Arc::clone(&self.pushed)));
    }
}

/// Waits until a shard answers, or is no longer used.
async fn recover(number: u32, shard: Weak<Shard>, turns: Weak<Turns>, pushed: Arc<Notify>) {
    loop {
        sleep(RETRY_AFTER).await;
        let (Some(shard), Some(turns)) = (shard.upgrade(), turns.upgrade()) else { return };
        match shard.try_stats().await {
            Ok(_) => {
                turns.set_failing(number, false);
                turns.ready(&[number]);
                pushed.notify_one();
                return;
            }
            Err(error) => turns.report(number, &error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn shards_are_queried_in_turn_and_empty_ones_last() {
        let turns = Turns::default();
        assert_eq!(turns.order(4), [0, 1, 2, 3]);
        turns.was_served(1);
        assert_eq!(turns.order(4), [2, 3, 0, 1]);
        turns.was_empty(2);
        turns.was_empty(0);
        assert_eq!(turns.order(4), [3, 1, 2, 0]);
        turns.ready(&[0]);
        assert_eq!(turns.order(4), [3, 0, 1, 2]);
        tokio::time::advance(EMPTY_FOR).await;
        assert_eq!(turns.order(4), [2, 3, 0, 1]);
        turns.set_failing(3, true);
        assert_eq!(turns.order(4), [2, 0, 1]);
        turns.was_served(3);
        assert_eq!(turns.order(4), [0, 1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_shard_does_not_hold_up_another() {
        let turns = Turns::default();
        let (mut served, mut came) = ([0_u32; 4], None);
        for n in 0..400 {
            // Two are always full, one gets something every tenth time, and one never.
            if n % 10 == 0 {
                came = Some(n);
            }
            for shard in turns.order(4) {
                if shard < 2 || (shard == 2 && came.is_some()) {
                    if shard == 2 {
                        let waited = n - came.take().unwrap();
                        assert!(waited <= 4, "{waited} claims");
                    }
                    turns.was_served(shard);
                    served[shard as usize] += 1;
                    break;
                }
                turns.was_empty(shard);
            }
            tokio::time::advance(EMPTY_FOR / 4).await;
        }
        assert!(served[2] == 40 && served[0].abs_diff(served[1]) < 40, "{served:?}");
    }
}
