//! Waiting by the clock, and a model check: tasks that ask in every order that Shuttle finds.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use shuttle::future::{block_on, yield_now};

use super::*;

/// Schedules that are tried.
const SCHEDULES: usize = 3_000;

thread_local! {
    static MODELLED: Cell<bool> = const { Cell::new(false) };
}

/// Shuttle changes tasks at operations on its own atomics only.
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

/// Runs `test` by many schedules; panics when it panics or blocks for ever by one of them.
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

/// What is asked in the model: answers count up, and one question at a time is a rule.
#[derive(Default)]
struct Asked {
    is_asked: AtomicBool,
    answers: AtomicU32,
    /// The highest answer that anybody has heard.
    heard: AtomicU32,
}

impl Asked {
    async fn question(self: Arc<Self>) -> u32 {
        assert!(!self.is_asked.swap(true, Ordering::SeqCst), "asked twice at once");
        yield_now().await;
        let answer = self.answers.fetch_add(1, Ordering::SeqCst) + 1;
        self.is_asked.store(false, Ordering::SeqCst);
        answer
    }
}

/// What the model checks.
trait Begin: Send + Sync + 'static {
    fn begin(&self, question: impl Future<Output = u32> + Send + 'static) -> Option<Begun<u32>>;
}

impl Begin for SingleFlight<(), u32> {
    fn begin(&self, question: impl Future<Output = u32> + Send + 'static) -> Option<Begun<u32>> {
        self.begin(&(), question)
    }
}

/// Three tasks ask twice each. An answer that somebody has heard is old: who asks then gets a
/// newer one.
fn ask<B: Begin>(begin: B) {
    block_on(async {
        let (begin, asked) = (Arc::new(begin), Arc::new(Asked::default()));
        let tasks = [(); 3].map(|()| {
            let (begin, asked) = (Arc::clone(&begin), Arc::clone(&asked));
            shuttle::future::spawn(async move {
                for _ in 0..2 {
                    let old = asked.heard.load(Ordering::SeqCst);
                    let begun = begin.begin(Arc::clone(&asked).question());
                    let mut answer = begun.expect("room for the only key").answer;
                    let answer = answer.wait_for(Option::is_some).await.unwrap().unwrap();
                    assert!(answer > old, "an old answer");
                    asked.heard.fetch_max(answer, Ordering::SeqCst);
                }
            })
        });
        for task in tasks {
            task.await.unwrap();
        }
        assert!(asked.answers.load(Ordering::SeqCst) <= 6);
    });
}

#[test]
fn one_question_at_a_time_and_no_old_answers() {
    explore(|| ask(SingleFlight::new(1)));
}

/// Looks and begins in two steps.
struct BeginsLate(SingleFlight<(), u32>);

impl Begin for BeginsLate {
    fn begin(&self, question: impl Future<Output = u32> + Send + 'static) -> Option<Begun<u32>> {
        let begun = lock(&self.0.begun).get(&()).cloned();
        if begun.is_some() {
            return begun;
        }
        interleave();
        lock(&self.0.begun).remove(&());
        self.0.begin(&(), question)
    }
}

#[test]
#[should_panic(expected = "asked twice at once")]
fn the_model_finds_a_question_that_is_asked_twice() {
    explore(|| ask(BeginsLate(SingleFlight::new(1))));
}

/// Publishes the answer first and forgets the question afterwards.
struct ForgetsLate(SingleFlight<(), u32>);

impl Begin for ForgetsLate {
    fn begin(&self, question: impl Future<Output = u32> + Send + 'static) -> Option<Begun<u32>> {
        let mut all = lock(&self.0.begun);
        if let Some(begun) = all.get(&()) {
            return Some(begun.clone());
        }
        let (sender, answer) = watch::channel(None);
        let begun = Begun { at: Instant::now(), answer };
        all.insert((), begun.clone());
        drop(all);
        let all = Arc::clone(&self.0.begun);
        spawn(async move {
            sender.send_replace(Some(question.await));
            lock(&all).remove(&());
        });
        Some(begun)
    }
}

#[test]
#[should_panic(expected = "an old answer")]
fn the_model_finds_an_old_answer() {
    explore(|| ask(ForgetsLate(SingleFlight::new(1))));
}
