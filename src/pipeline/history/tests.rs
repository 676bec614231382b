//! The history over stores that fail, and over clocks that jump.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use super::*;
use bklit_wire::history::MINUTE;

/// Keeps minutes in memory, unless it is broken.
#[derive(Default)]
struct Memory {
    minutes: Mutex<Vec<Minute>>,
    is_broken: AtomicBool,
    calls: AtomicUsize,
}

impl Memory {
    fn check(&self) -> Result<(), FigureStoreError> {
        match self.is_broken.load(SeqCst) {
            true => Err(FigureStoreError("broken".to_owned())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl FigureStore for Memory {
    async fn add(&self, minutes: &[Arc<Minute>]) -> Result<(), FigureStoreError> {
        self.check()?;
        self.calls.fetch_add(1, SeqCst);
        lock(&self.minutes).extend(minutes.iter().map(|minute| Minute::clone(minute)));
        Ok(())
    }

    async fn read(&self, mut collector: Collector) -> Result<Collector, FigureStoreError> {
        self.check()?;
        lock(&self.minutes).iter().for_each(|minute| collector.add(minute));
        Ok(collector)
    }
}

fn about() -> About {
    About { host: "web-1".to_owned(), ..About::default() }
}

fn second(at: i64, accepted: u64) -> Gauges {
    let at = Some(UtcMillis::from_epoch_millis(at * 1000));
    Gauges { process: "p".to_owned(), at, accepted, ..Gauges::default() }
}

/// All of the first hour.
fn first_hour() -> HistoryQuery {
    let end = UtcMillis::from_epoch_millis(59 * MINUTE);
    HistoryQuery::new(UtcMillis::MIN, end, Duration::from_secs(60)).unwrap()
}

fn accepted(history: &History) -> Vec<(i64, u64)> {
    let minute = |at: UtcMillis| at.epoch_millis() / MINUTE;
    history.points.iter().map(|point| (minute(point.at), point.totals.accepted)).collect()
}

/// Writes everything that has been recorded, including the minute in progress.
async fn end(history: &FigureHistory) {
    let stop = CancellationToken::new();
    stop.cancel();
    history.keep(stop).await;
}

#[tokio::test]
async fn seconds_become_minutes_and_none_is_lost_at_the_end() {
    let store = Arc::new(Memory::default());
    let history = FigureHistory::new("p", about(), store.clone(), None);
    (1..=150).for_each(|at| history.add(&second(at, 1), &[]));
    let wanted = [(0, 60), (1, 60), (2, 30)];
    let read = history.read(first_hour()).await.unwrap();
    assert_eq!(accepted(&read), wanted, "what is not written yet counts");
    assert!(lock(&store.minutes).is_empty());
    end(&history).await;
    assert_eq!(lock(&store.minutes).len(), 3);
    assert_eq!(accepted(&history.read(first_hour()).await.unwrap()), wanted);
    let [process] = &read.processes[..] else { panic!("{:?}", read.processes) };
    assert_eq!((&*process.process, &*process.about.host, process.accepted), ("p", "web-1", 150));
}

#[tokio::test]
async fn a_clock_that_jumps_loses_and_repeats_nothing() {
    let store = Arc::new(Memory::default());
    let history = FigureHistory::new("p", about(), store.clone(), None);
    let seconds = (1..=90).chain(1_000..=1_009).chain(31..=90);
    seconds.for_each(|at| history.add(&second(at, 1), &[]));
    end(&history).await;
    let read = history.read(first_hour()).await.unwrap();
    assert_eq!(accepted(&read), [(0, 90), (1, 60), (16, 10)]);
}

#[tokio::test(start_paused = true)]
async fn minutes_wait_for_a_store_that_fails_and_the_oldest_are_dropped() {
    let (own, shared) = (Arc::new(Memory::default()), Arc::new(Memory::default()));
    shared.is_broken.store(true, SeqCst);
    let history = Arc::new(FigureHistory::new("p", about(), own.clone(), Some(shared.clone())));
    let stop = CancellationToken::new();
    let keeping = {
        let (history, stop) = (Arc::clone(&history), stop.clone());
        tokio::spawn(async move { history.keep(stop).await })
    };
    let minutes = MAX_WAITING as i64 + 10;
    for minute in 0..minutes {
        history.add(&second(minute * 60 + 1, 1), &[]);
        tokio::task::yield_now().await;
    }
    let read = history.read(first_hour()).await.unwrap();
    assert_eq!(read.incomplete.as_deref(), Some(ONLY_OWN));
    assert_eq!(read.points.len(), 60);
    shared.is_broken.store(false, SeqCst);
    while lock(&shared.minutes).len() < MAX_WAITING {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    stop.cancel();
    keeping.await.unwrap();
    let lengths = [&own, &shared].map(|store| lock(&store.minutes).len() as i64);
    // The one in progress was added at the end.
    assert_eq!(lengths, [minutes, MAX_WAITING as i64 + 1]);
    let read = history.read(first_hour()).await.unwrap();
    assert_eq!((read.incomplete, read.points.len()), (None, 51));
}

#[tokio::test]
async fn what_is_shared_is_read_without_recording() {
    let shared = Arc::new(Memory::default());
    for process in ["a", "b"] {
        let own = Arc::new(Memory::default());
        let history = FigureHistory::new(process, about(), own, Some(shared.clone()));
        history.add(&second(61, 5), &[]);
        end(&history).await;
    }
    let watched = FigureHistory::of_others(shared.clone());
    watched.add(&second(61, 100), &[]);
    let read = watched.read(first_hour()).await.unwrap();
    assert_eq!((accepted(&read), read.processes.len()), (vec![(1, 10)], 2));
    shared.is_broken.store(true, SeqCst);
    assert_eq!(watched.read(first_hour()).await.unwrap_err(), "broken");
}

/// Some servers charge per command.
#[tokio::test(start_paused = true)]
async fn idle_minutes_are_shared_in_groups_and_others_at_once() {
    let (own, shared) = (Arc::new(Memory::default()), Arc::new(Memory::default()));
    let history = Arc::new(FigureHistory::new("p", about(), own.clone(), Some(shared.clone())));
    let stop = CancellationToken::new();
    let keeping = {
        let (history, stop) = (Arc::clone(&history), stop.clone());
        tokio::spawn(async move { history.keep(stop).await })
    };
    let until = async |minutes: i64, accepted| {
        history.add(&second(minutes * 60 + 1, accepted), &[]);
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    for minute in 0..60 {
        until(minute, 0).await;
    }
    let calls = || [&own, &shared].map(|store| store.calls.load(SeqCst));
    assert_eq!(calls(), [59, 5]);
    assert_eq!(history.read(first_hour()).await.unwrap().points.len(), 60, "none is missing here");
    until(60, 1).await;
    until(61, 0).await;
    assert_eq!(calls(), [61, 6 + 1]);
    assert_eq!(lock(&shared.minutes).len(), 61);
    stop.cancel();
    keeping.await.unwrap();
    assert_eq!(lock(&shared.minutes).len(), 62, "the last one as well");
}
