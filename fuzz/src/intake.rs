//! The intake over a queue that keeps the last event only.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bklit_adapters::local::LocalDebugBus;
use bklit_pipeline::auth::{
    Authenticator, Listing, Scope, Secret, TokenHash, TokenRecord, TokenStore, TokenStoreError,
};
use bklit_pipeline::intake::visitor::Visitors;
use bklit_pipeline::intake::{Intake, IntakeSettings, Sender, parse};
use bklit_pipeline::metrics::Metrics;
use bklit_pipeline::queue::{
    Claim, ClaimId, FailedItem, NewItem, Order, Page, Pushed, Queue, QueueError, QueueStats,
    Rejected, WaitingItem,
};
use bklit_pipeline::telemetry::Telemetry;
use bklit_wire::event::{EventKind, QueuedEvent};
use bklit_wire::queue::BatchInFlight;
use hyper::HeaderMap;

#[derive(Default)]
struct Last(Mutex<Option<NewItem>>);

const ONLY_PUSH: &str = "the intake only pushes";

#[async_trait]
impl Queue for Last {
    async fn push(&self, item: NewItem) -> Result<Pushed, QueueError> {
        *self.0.lock().unwrap() = Some(item);
        Ok(Pushed::Queued)
    }

    async fn claim(&self, _: usize, _: Duration) -> Result<Option<Claim>, QueueError> {
        unreachable!("{ONLY_PUSH}")
    }

    async fn renew(&self, _: &ClaimId, _: Duration) -> Result<(), QueueError> {
        unreachable!("{ONLY_PUSH}")
    }

    async fn release(&self, _: &ClaimId) -> Result<(), QueueError> {
        unreachable!("{ONLY_PUSH}")
    }

    async fn acknowledge(&self, _: &ClaimId, _: &[Rejected]) -> Result<(), QueueError> {
        unreachable!("{ONLY_PUSH}")
    }

    async fn ready(&self) {}

    async fn ended(&self) {}

    async fn stats(&self) -> Result<QueueStats, QueueError> {
        Ok(QueueStats::default())
    }

    async fn accepts(&self) -> Result<(), QueueError> {
        Ok(())
    }

    async fn batches(&self, _: usize) -> Result<Vec<BatchInFlight>, QueueError> {
        unreachable!("{ONLY_PUSH}")
    }

    async fn batch_items(&self, _: &str, _: usize) -> Result<Option<Vec<String>>, QueueError> {
        unreachable!("{ONLY_PUSH}")
    }

    async fn waiting(
        &self,
        _: Order,
        _: Option<&str>,
        _: usize,
    ) -> Result<Page<WaitingItem>, QueueError> {
        unreachable!("{ONLY_PUSH}")
    }

    async fn delete_waiting(&self, _: &[String]) -> Result<u64, QueueError> {
        unreachable!("{ONLY_PUSH}")
    }

    async fn failed(&self, _: Option<&str>, _: usize) -> Result<Page<FailedItem>, QueueError> {
        unreachable!("{ONLY_PUSH}")
    }

    async fn retry_failed(&self, _: &[String]) -> Result<u64, QueueError> {
        unreachable!("{ONLY_PUSH}")
    }

    async fn delete_failed(&self, _: &[String]) -> Result<u64, QueueError> {
        unreachable!("{ONLY_PUSH}")
    }
}

struct NoTokens;

#[async_trait]
impl TokenStore for NoTokens {
    async fn create(&self, _: TokenRecord) -> Result<(), TokenStoreError> {
        Ok(())
    }

    async fn find(&self, _: &TokenHash) -> Result<Option<TokenRecord>, TokenStoreError> {
        Ok(None)
    }

    async fn listing(&self) -> Listing {
        Listing::default()
    }

    async fn revoke(&self, _: &str) -> Result<bool, TokenStoreError> {
        Ok(false)
    }
}

/// An intake with a token of the project `p`.
pub struct Entry {
    intake: Intake,
    queue: Arc<Last>,
    token: TokenRecord,
    runtime: tokio::runtime::Runtime,
}

impl Entry {
    fn new() -> Self {
        let queue = Arc::new(Last::default());
        let metrics = Arc::new(Metrics::new());
        let bus = Arc::new(LocalDebugBus::new(Arc::clone(&metrics)));
        let log = Arc::new(Telemetry::new(bus, metrics, u64::MAX));
        let authenticator = Arc::new(Authenticator::new(Arc::new(NoTokens)));
        let settings = IntakeSettings::default();
        let visitors = Visitors::default();
        let secret = Secret::generate().unwrap();
        Self {
            intake: Intake::new(queue.clone(), authenticator, log, settings, visitors),
            queue,
            token: TokenRecord::new(&secret, Scope::Ingest, vec!["p".to_owned()]).unwrap(),
            runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(),
        }
    }

    /// The event that a body becomes, as it is queued; `None` if it is rejected.
    pub fn event(&self, kind: EventKind, body: &[u8]) -> Option<Arc<QueuedEvent>> {
        let envelope = parse(kind, body).ok()?;
        let headers = HeaderMap::new();
        let visitors = self.intake.visitors();
        let client = visitors.client([127, 0, 0, 1].into(), &headers);
        let visitor = visitors.visitor(client, &headers);
        let sender = Sender {
            visitor: &visitor,
            headers: &headers,
            token: Some(&self.token),
            began: Instant::now(),
        };
        let id = self.runtime.block_on(self.intake.accept(sender, envelope)).ok()?;
        let item = self.queue.0.lock().unwrap().take().expect("what is accepted is queued");
        assert_eq!(item.event.id, id);
        Some(item.event)
    }
}

thread_local! {
    static ENTRY: Entry = Entry::new();
}

/// [`Entry::event`] of this thread's entry.
pub fn event(kind: EventKind, body: &[u8]) -> Option<Arc<QueuedEvent>> {
    ENTRY.with(|entry| entry.event(kind, body))
}
