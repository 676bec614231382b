//! A Redis to follow without a process of ours: its debug lines, the state of its queue and its visitors.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use color_eyre::eyre::Result;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::adapters;
use crate::config::Settings;
use bklit_pipeline::history::FigureHistory;
use bklit_pipeline::local_backend::LocalBackend;
use bklit_pipeline::metrics::Metrics;
use bklit_pipeline::queue::Queue;
use bklit_wire::backend::Backend;
use bklit_wire::debug_bus::{DebugBus, DebugMessage, DebugStream};

/// How often the queue is observed.
const OBSERVE_EVERY: Duration = Duration::from_secs(1);

/// What commands follow on a Redis.
pub(super) struct WatchedRedis {
    /// Its address, without the password.
    pub(super) address: String,
    bus: Arc<dyn DebugBus>,
    backend: LocalBackend,
}

impl WatchedRedis {
    /// The Redis at `url`; it connects when it is first used.
    pub(super) fn new(settings: &Settings, url: &str) -> Result<Self> {
        let adapters::RedisToFollow { address, bus, queue, presence, figures } =
            adapters::redis_to_follow(settings, url)?;
        let store = adapters::clickhouse(settings)?.map(|store| Arc::new(store) as _);
        let log_change = |message, events: u64| tracing::warn!(events, "{message}");
        let backend = LocalBackend {
            queue,
            store,
            presence: Some(presence),
            debug_bus: Arc::clone(&bus),
            metrics: None,
            history: Arc::new(FigureHistory::of_others(figures)),
            queries: Arc::default(),
            privacy: settings.privacy.ip,
            log_change: Arc::new(log_change),
        };
        Ok(Self { address, bus, backend })
    }

    /// The last `history` lines and all new ones, with the state of the queue once a second.
    pub(super) fn follow(&self, history: usize) -> Box<dyn DebugStream> {
        let lines = self.subscribe_after(history);
        Box::new(WithQueue { lines, queue: observe(Arc::clone(&self.backend.queue)) })
    }

    /// The last `history` lines and all new ones.
    pub(super) fn subscribe_after(&self, history: usize) -> Box<dyn DebugStream> {
        self.bus.subscribe_after(history)
    }

    /// The last `most` lines.
    pub(super) fn recall(&self, most: usize) -> Box<dyn DebugStream> {
        self.bus.recall(most)
    }

    /// New lines.
    pub(super) fn subscribe(&self) -> Box<dyn DebugStream> {
        self.bus.subscribe()
    }

    /// Queries and changes.
    pub(super) fn into_backend(self) -> Arc<dyn Backend> {
        Arc::new(self.backend)
    }
}

/// Observes the queue until the receiver is dropped.
fn observe(queue: Arc<dyn Queue>) -> mpsc::Receiver<DebugMessage> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let metrics = Metrics::new();
        let mut ticks = tokio::time::interval(OBSERVE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = sender.closed() => return,
            }
            // While Redis is unavailable, the stream of lines reports it.
            if metrics.observe_queue(&*queue).await.is_ok()
                && let Some(stats) = metrics.queue_seen().and_then(|seen| seen.stats)
                && sender.send(DebugMessage::Queue(stats)).await.is_err()
            {
                return;
            }
        }
    });
    receiver
}

/// Lines and the state of the queue.
struct WithQueue {
    lines: Box<dyn DebugStream>,
    queue: mpsc::Receiver<DebugMessage>,
}

#[async_trait]
impl DebugStream for WithQueue {
    async fn next(&mut self) -> Option<DebugMessage> {
        tokio::select! {
            biased;
            Some(state) = self.queue.recv() => Some(state),
            message = self.lines.next() => message,
        }
    }
}
