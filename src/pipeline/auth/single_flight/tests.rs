//! Tests with a paused clock, and a model check: tasks that call in every order that Shuttle finds.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use shuttle::future::{block_on, yield_now};

use super::*;

/// The number of schedules tried.
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

pub(super) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    if MODELLED.get() {
        shuttle::future::spawn(task);
    } else {
        tokio::spawn(task);
    }
}

/// Runs `test` with many schedules; panics if it panics or blocks forever with one of them.
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
async fn a_call_is_made_once_and_finishes_without_its_callers() {
    let in_flight = SingleFlight::new(2);
    let second = Duration::from_secs(1);
    let slow = |result| async move {
        tokio::time::sleep(second).await;
        result
    };
    let flights = in_flight.begin(&"a", slow(1)).unwrap();
    assert_eq!(flights.clone().by(Instant::now() + second / 2).await, None);
    let joined = in_flight.begin(&"a", slow(2)).unwrap();
    assert_eq!(joined.at, flights.at);
    let other = in_flight.begin(&"b", slow(3)).unwrap();
    assert!(in_flight.begin(&"c", slow(4)).is_none(), "there is no room");
    assert_eq!(joined.by(flights.at + second * 2).await, Some(1));
    assert!(in_flight.begin(&"c", slow(4)).is_some());
    assert_eq!(other.by(Instant::now() + second * 2).await, Some(3));
}

#[tokio::test]
async fn a_call_that_panics_has_ended() {
    let in_flight: SingleFlight<_, u8> = SingleFlight::new(1);
    let flights = in_flight.begin(&(), async { panic!("as a test") }).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    assert_eq!(flights.by(deadline).await, None);
    assert!(Instant::now() < deadline);
    let again = in_flight.begin(&(), async { 7 }).unwrap();
    assert_eq!(again.by(deadline).await, Some(7));
}

/// The call of the model: results count up, and only one call at a time is allowed.
#[derive(Default)]
struct Calls {
    in_progress: AtomicBool,
    results: AtomicU32,
    /// The highest result received so far.
    received: AtomicU32,
}

impl Calls {
    async fn call(self: Arc<Self>) -> u32 {
        assert!(!self.in_progress.swap(true, Ordering::SeqCst), "two calls at once");
        yield_now().await;
        let result = self.results.fetch_add(1, Ordering::SeqCst) + 1;
        self.in_progress.store(false, Ordering::SeqCst);
        result
    }
}

/// The behaviour that the model checks.
trait Begin: Send + Sync + 'static {
    fn begin(&self, call: impl Future<Output = u32> + Send + 'static) -> Option<Flight<u32>>;
}

impl Begin for SingleFlight<(), u32> {
    fn begin(&self, call: impl Future<Output = u32> + Send + 'static) -> Option<Flight<u32>> {
        self.begin(&(), call)
    }
}

/// Three tasks make two calls each. A result that a caller has received is outdated: a call that
/// starts after that must get a newer one.
fn make_calls<B: Begin>(begin: B) {
    block_on(async {
        let (begin, calls) = (Arc::new(begin), Arc::new(Calls::default()));
        let tasks = [(); 3].map(|()| {
            let (begin, calls) = (Arc::clone(&begin), Arc::clone(&calls));
            shuttle::future::spawn(async move {
                for _ in 0..2 {
                    let old = calls.received.load(Ordering::SeqCst);
                    let flight = begin.begin(Arc::clone(&calls).call());
                    let mut result = flight.expect("room for the only key").result;
                    let result = result.wait_for(Option::is_some).await.unwrap().unwrap();
                    assert!(result > old, "an old result");
                    calls.received.fetch_max(result, Ordering::SeqCst);
                }
            })
        });
        for task in tasks {
            task.await.unwrap();
        }
        assert!(calls.results.load(Ordering::SeqCst) <= 6);
    });
}

#[test]
fn one_call_at_a_time_and_no_old_results() {
    explore(|| make_calls(SingleFlight::new(1)));
}

/// Checks and starts in two steps.
struct BeginsLate(SingleFlight<(), u32>);

impl Begin for BeginsLate {
    fn begin(&self, call: impl Future<Output = u32> + Send + 'static) -> Option<Flight<u32>> {
        let flights = lock(&self.0.flights).get(&()).cloned();
        if flights.is_some() {
            return flights;
        }
        interleave();
        lock(&self.0.flights).remove(&());
        self.0.begin(&(), call)
    }
}

#[test]
#[should_panic(expected = "two calls at once")]
fn the_model_finds_two_calls_at_once() {
    explore(|| make_calls(BeginsLate(SingleFlight::new(1))));
}

/// Publishes the result first and removes the call afterwards.
struct ForgetsLate(SingleFlight<(), u32>);

impl Begin for ForgetsLate {
    fn begin(&self, call: impl Future<Output = u32> + Send + 'static) -> Option<Flight<u32>> {
        let mut all = lock(&self.0.flights);
        if let Some(flight) = all.get(&()) {
            return Some(flight.clone());
        }
        let (sender, result) = watch::channel(None);
        let flight = Flight { at: Instant::now(), result };
        all.insert((), flight.clone());
        drop(all);
        let all = Arc::clone(&self.0.flights);
        spawn(async move {
            sender.send_replace(Some(call.await));
            lock(&all).remove(&());
        });
        Some(flight)
    }
}

#[test]
#[should_panic(expected = "an old result")]
fn the_model_finds_an_old_result() {
    explore(|| make_calls(ForgetsLate(SingleFlight::new(1))));
}
