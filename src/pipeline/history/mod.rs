//! The history of figures: what this process counts, by minute, written to a [`FigureStore`] and read
//! back as the points of a graph.
//!
//! - `encoding`: a minute as bytes
//! - `outbox`: minutes that wait until the store has them
//! - `query`: merges minutes into points
//! - `recorder`: turns seconds into minutes
//!
//! Nothing here is on the path of events: figures are read from counters once a second, and written
//! once a minute.

mod encoding;
mod outbox;
mod query;
mod recorder;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use bklit_net::timeout::within;
use bklit_wire::gauges::{About, Gauges};
use bklit_wire::history::{History, HistoryQuery, ProjectTotals, Totals};
use bklit_wire::time::UtcMillis;

pub use encoding::{InvalidMinute, MAX_MINUTE_BYTES};
use outbox::Outbox;
pub use outbox::{IDLE_MINUTES, MAX_WAITING};
pub use query::Collector;
use recorder::Recorder;

/// How long reading from a store may take.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// What is missing while the shared store is unavailable.
const ONLY_OWN: &str = "only this process's figures: Redis is unavailable";

/// What one process counted in one minute.
#[derive(Clone, Debug, PartialEq)]
pub struct Minute {
    /// The process's name, as in gauges.
    pub process: String,
    /// Counts the minutes of the process: with its name, this identifies the minute.
    pub number: u64,
    /// Where and what it is.
    pub about: About,
    /// The beginning of the minute.
    pub at: UtcMillis,
    /// What it counted. A process that runs for a part of the minute has counted less.
    pub totals: Totals,
}

/// Why a store failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct FigureStoreError(pub String);

/// Keeps minutes for eight days. There may be several of one process and time, if its clock was set back:
/// all count.
#[async_trait]
pub trait FigureStore: Send + Sync {
    /// Adds minutes, except those that are known already: after an error some may have been added, and
    /// are added again once the store works.
    ///
    /// # Errors
    /// Why not all were added.
    async fn add(&self, minutes: &[Arc<Minute>]) -> Result<(), FigureStoreError>;

    /// Passes all minutes in the range of `collector` to it.
    ///
    /// # Errors
    /// Why they cannot be read.
    async fn read(&self, collector: Collector) -> Result<Collector, FigureStoreError>;
}

/// The history of this process's figures, and of those that share its store.
pub struct FigureHistory {
    /// `None` if it is only read.
    recorder: Option<Mutex<Recorder>>,
    /// This process's own file; none if only another store is read.
    own: Option<Outbox>,
    /// What several processes share.
    shared: Option<Outbox>,
    /// Held while it is read: a week takes some memory and processor time.
    reading: tokio::sync::Mutex<()>,
}

impl FigureHistory {
    /// Records the figures of `process` in the store `own`, and in `shared` if there is one; reads
    /// that, or `own` while it is unavailable.
    pub fn new(
        process: &str,
        about: About,
        own: Arc<dyn FigureStore>,
        shared: Option<Arc<dyn FigureStore>>,
    ) -> Self {
        Self {
            recorder: Some(Mutex::new(Recorder::new(process, about))),
            own: Some(Outbox::new(own, "the data dir", 1)),
            shared: shared.map(|shared| Outbox::new(shared, "Redis", IDLE_MINUTES)),
            reading: tokio::sync::Mutex::default(),
        }
    }

    /// Reads a store that other processes write.
    pub fn of_others(shared: Arc<dyn FigureStore>) -> Self {
        let shared = Some(Outbox::new(shared, "Redis", IDLE_MINUTES));
        Self { recorder: None, own: None, shared, reading: tokio::sync::Mutex::default() }
    }

    /// Records what this process counted in a second, and by project.
    pub fn add(&self, gauges: &Gauges, projects: &[ProjectTotals]) {
        if let Some(recorder) = &self.recorder {
            let done = lock(recorder).add(gauges, projects);
            self.put(done);
        }
    }

    fn put(&self, done: Option<Minute>) {
        let Some(minute) = done.map(Arc::new) else { return };
        for outbox in self.own.iter().chain(&self.shared) {
            outbox.put(Arc::clone(&minute));
        }
    }

    /// Writes minutes until `stop` is cancelled, and then the last, unfinished one. Never fails: what
    /// cannot be written waits, and is counted and logged if there is too much of it.
    pub async fn keep(&self, stop: CancellationToken) {
        let keep = async |outbox: &Option<Outbox>| match outbox {
            Some(outbox) => outbox.keep(&stop).await,
            None => stop.cancelled().await,
        };
        tokio::join!(keep(&self.own), keep(&self.shared));
        self.put(self.recorder.as_ref().and_then(|recorder| lock(recorder).finish()));
        for outbox in self.own.iter().chain(&self.shared) {
            outbox.write_all().await;
        }
    }

    /// Part of the history, with the minute in progress. Waits for other readers.
    ///
    /// # Errors
    /// Why no store can be read.
    pub async fn read(&self, query: HistoryQuery) -> Result<History, String> {
        let _reading = self.reading.lock().await;
        let shared = match &self.shared {
            Some(shared) => Some(self.read_from(shared, query).await),
            None => None,
        };
        match (shared, &self.own) {
            (Some(Ok(collector)), _) => Ok(collector.history()),
            (Some(Err(error)), None) => Err(error),
            (Some(Err(_)), Some(own)) => {
                let history = self.read_from(own, query).await?.history();
                Ok(History { incomplete: Some(ONLY_OWN.to_owned()), ..history })
            }
            (None, Some(own)) => Ok(self.read_from(own, query).await?.history()),
            (None, None) => Ok(Collector::new(query).history()),
        }
    }

    async fn read_from(&self, outbox: &Outbox, query: HistoryQuery) -> Result<Collector, String> {
        // What is written meanwhile must not be counted twice, so it is taken first.
        let waiting = outbox.waiting();
        let current = self.recorder.as_ref().and_then(|recorder| lock(recorder).current());
        let failed = FigureStoreError;
        let own = || waiting.iter().map(Arc::as_ref).chain(&current);
        let collector = Collector::new(query).awaiting(own());
        let read = within(READ_TIMEOUT, outbox.store.read(collector), failed).await;
        let mut collector = read.map_err(|error| error.to_string())?;
        own().for_each(|minute| collector.add_awaited(minute));
        Ok(collector)
    }
}

/// Ignores poisoning: a panic cannot leave figures inconsistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
