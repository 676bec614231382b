//! Tests with a paused clock, and a model check of many task interleavings with Shuttle.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use shuttle::future::{block_on, spawn, yield_now};

use super::*;

/// Schedules that a check explores.
const SCHEDULES: usize = 3_000;

thread_local! {
    static MODELLED: Cell<bool> = const { Cell::new(false) };
}

/// Shuttle switches tasks only at operations on its own atomics.
pub(super) fn interleave() {
    if MODELLED.get() {
        shuttle::sync::atomic::AtomicBool::new(false).load(Ordering::SeqCst);
    }
}

/// Runs `test` with many schedules; panics if one of them panics or deadlocks.
fn explore(test: impl Fn() + Send + Sync + 'static) {
    struct Modelled;
    impl Drop for Modelled {
        fn drop(&mut self) {
            MODELLED.set(false);
        }
    }
    MODELLED.set(true);
    let _modelled = Modelled;
    shuttle::check_random(test, SCHEDULES);
}

#[tokio::test(start_paused = true)]
async fn a_caller_waits_for_a_held_key() {
    let locks = KeyLocks::default();
    let first = locks.hold(["a", "b"].iter()).await;
    drop(locks.hold(["c"].iter()).await);
    let second = locks.hold(["b", "c"].iter());
    tokio::pin!(second);
    assert!(tokio::time::timeout(Duration::from_secs(1), &mut second).await.is_err());
    drop(first);
    let _held = second.await;
    let third = tokio::time::timeout(Duration::from_secs(1), locks.hold(["c"].iter()));
    assert!(third.await.is_err());
    drop(locks.hold(["a"].iter()).await);
}

/// Three tasks, each pair of which needs a common key, twice each, and one that gives up waiting.
/// Fails if two tasks hold a key at once; Shuttle fails if a task waits forever.
fn overlap<H: Hold>() {
    block_on(async {
        let keys = Arc::new(H::default());
        let held: Arc<[AtomicBool; 3]> = Arc::default();
        let tasks = [[0, 1], [1, 2], [2, 0]].map(|wanted| {
            let (keys, held) = (Arc::clone(&keys), Arc::clone(&held));
            spawn(async move {
                for _ in 0..2 {
                    let _held = keys.hold(wanted).await;
                    for key in wanted {
                        assert!(!held[key].swap(true, Ordering::SeqCst), "held twice at once");
                    }
                    yield_now().await;
                    for key in wanted {
                        held[key].store(false, Ordering::SeqCst);
                    }
                }
            })
        });
        drop(keys.hold([0, 2]).now_or_never());
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// The operation under test.
trait Hold: Default + Send + Sync + 'static {
    fn hold(&self, keys: [usize; 2]) -> impl Future<Output = impl Send> + Send;
}

impl Hold for KeyLocks {
    fn hold(&self, keys: [usize; 2]) -> impl Future<Output = impl Send> + Send {
        self.hold(keys.into_iter())
    }
}

#[test]
fn no_key_is_held_twice_and_no_task_waits_forever() {
    explore(overlap::<KeyLocks>);
}

/// Checks first and subscribes afterwards, so it misses a release in between.
#[derive(Default)]
struct SubscribesLate(KeyLocks);

impl Hold for SubscribesLate {
    async fn hold(&self, keys: [usize; 2]) -> impl Send {
        let keys: Vec<u64> = keys.into_iter().map(|key| key as u64).collect();
        while !self.0.try_hold(&keys) {
            interleave();
            self.0.freed.notified().await;
        }
        Held { keys, locks: &self.0 }
    }
}

#[test]
#[should_panic(expected = "deadlock")]
fn the_model_detects_a_missed_release() {
    explore(overlap::<SubscribesLate>);
}

/// Checks and locks in two steps, so two tasks may lock the same key.
#[derive(Default)]
struct LocksLate(KeyLocks);

impl Hold for LocksLate {
    async fn hold(&self, keys: [usize; 2]) -> impl Send {
        let wanted: Vec<u64> = keys.into_iter().map(|key| key as u64).collect();
        drop(self.0.hold(keys.into_iter()).await);
        interleave();
        self.0.held.lock().unwrap().extend(&wanted);
        Held { keys: wanted, locks: &self.0 }
    }
}

#[test]
#[should_panic(expected = "held twice at once")]
fn the_model_detects_a_key_that_is_held_twice() {
    explore(overlap::<LocksLate>);
}
