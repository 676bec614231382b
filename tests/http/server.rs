//! A real server on a free port, over a queue in memory that can be made to fail.

mod tokens;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bklit_adapters::local::LocalDebugBus;
use bklit_pipeline::auth::{Authenticator, Scope};
use bklit_pipeline::http::HttpSettings;
use bklit_pipeline::http::{HttpContext, serve};
use bklit_pipeline::intake::Intake;
use bklit_pipeline::intake::filters::Filters;
use bklit_pipeline::intake::visitor::LocationDatabase;
use bklit_pipeline::metrics::Metrics;
use bklit_pipeline::queue::{
    Claim, ClaimId, FailedItem, NewItem, Order, Page, Pushed, Queue, QueueError, QueueStats,
    Rejected, WaitingItem, edit,
};
use bklit_pipeline::server::Limits;
use bklit_pipeline::server::tls::ServerTls;
use bklit_pipeline::telemetry::Telemetry;
use bklit_pipeline::throttle::Throttle;
use bklit_tui::config::Settings;
use bklit_wire::debug_bus::DebugBus;
use bklit_wire::queue::{BatchInFlight, Edit, Edited, InvalidEdit};
use bklit_wire::time::UtcMillis;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use tokens::Tokens;

use super::client::{Answer, Client, DEADLINE, post, request};
use crate::support::events::lenient_about_times;

/// The queue as far as the server uses it.
#[derive(Default)]
pub struct MemoryQueue {
    pub items: Mutex<Vec<NewItem>>,
    /// Newest first.
    pub failed: Mutex<Vec<FailedItem>>,
    pub is_full: AtomicBool,
    pub is_away: AtomicBool,
    /// Only some changes of failed items succeed.
    pub is_partly_away: AtomicBool,
    /// Pushes of several events.
    pub writes: AtomicUsize,
    /// Calls other than pushes.
    pub calls: AtomicUsize,
    /// While a writer holds it, pushing waits.
    pub gate: tokio::sync::RwLock<()>,
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn push(&self, item: NewItem) -> Result<Pushed, QueueError> {
        let _open = self.gate.read().await;
        if self.is_full.load(SeqCst) {
            return Err(QueueError::Full { depth: 7, bound: 7 });
        }
        if self.is_away.load(SeqCst) {
            return Err(QueueError::Unavailable("disk on fire".into()));
        }
        let mut items = self.items.lock().unwrap();
        let same = |old: &NewItem| {
            old.event.id == item.event.id && old.event.project_id == item.event.project_id
        };
        if item.client_id && items.iter().any(same) {
            return Ok(Pushed::Duplicate);
        }
        items.push(item);
        Ok(Pushed::Queued)
    }

    async fn push_many(&self, items: Vec<NewItem>) -> Vec<Result<Pushed, QueueError>> {
        self.writes.fetch_add(1, SeqCst);
        let mut results = Vec::new();
        for item in items {
            results.push(self.push(item).await);
        }
        results
    }

    async fn claim(&self, _: usize, _: Duration) -> Result<Option<Claim>, QueueError> {
        unreachable!("the server does not claim")
    }

    async fn renew(&self, _: &ClaimId, _: Duration) -> Result<(), QueueError> {
        unreachable!("the server does not claim")
    }

    async fn release(&self, _: &ClaimId) -> Result<(), QueueError> {
        unreachable!("the server does not claim")
    }

    async fn acknowledge(&self, _: &ClaimId, _: &[Rejected]) -> Result<(), QueueError> {
        unreachable!("the server does not claim")
    }

    async fn ready(&self) {}

    async fn ended(&self) {
        std::future::pending::<()>().await;
    }

    async fn stats(&self) -> Result<QueueStats, QueueError> {
        self.calls.fetch_add(1, SeqCst);
        if self.is_away.load(SeqCst) {
            return Err(QueueError::Unavailable("disk on fire".into()));
        }
        let depth = self.items.lock().unwrap().len() as u64;
        let failed = self.failed.lock().unwrap().len() as u64;
        Ok(QueueStats { depth, failed, ..QueueStats::default() })
    }

    fn spooled(&self) -> u64 {
        self.calls.fetch_add(1, SeqCst);
        0
    }

    async fn accepts(&self) -> Result<(), QueueError> {
        self.calls.fetch_add(1, SeqCst);
        if self.is_full.load(SeqCst) {
            return Err(QueueError::Full { depth: 7, bound: 7 });
        }
        self.stats().await.map(|_| ())
    }

    async fn batches(&self, _: usize) -> Result<Vec<BatchInFlight>, QueueError> {
        self.stats().await?;
        let now = UtcMillis::now();
        Ok(vec![BatchInFlight {
            id: "batch".into(),
            owner: Some("host:7".into()),
            epoch: 3,
            items: 2,
            attempts: 3,
            claimed_at: Some(now),
            lease_until: now,
            lease_left_ms: -5,
        }])
    }

    async fn batch_items(
        &self,
        batch: &str,
        most: usize,
    ) -> Result<Option<Vec<String>>, QueueError> {
        let is_it = batch == "batch";
        let items = self.items.lock().unwrap();
        let bodies = items.iter().take(most.min(2)).map(|item| item.event.to_json());
        Ok(is_it.then(|| bodies.collect()))
    }

    async fn waiting(
        &self,
        _: Order,
        _: Option<&str>,
        most: usize,
    ) -> Result<Page<WaitingItem>, QueueError> {
        let items = self.items.lock().unwrap();
        let items = items.iter().take(most).map(|item| item.event.to_json());
        let items = items.map(|body| WaitingItem { id: "0".into(), body }).collect();
        Ok(Page { items, next: None })
    }

    async fn delete_waiting(&self, _: &[String]) -> Result<u64, QueueError> {
        unreachable!("the server deletes failed items only")
    }

    async fn failed(
        &self,
        after: Option<&str>,
        most: usize,
    ) -> Result<Page<FailedItem>, QueueError> {
        if self.is_away.load(SeqCst) {
            return Err(QueueError::Unavailable("on fire".into()));
        }
        let failed = self.failed.lock().unwrap();
        let start = after.map_or(0, |id| failed.iter().position(|f| f.id == id).unwrap() + 1);
        let items: Vec<_> = failed.iter().skip(start).take(most).cloned().collect();
        let more = start + items.len() < failed.len();
        let next = items.last().filter(|_| more).map(|item| item.id.clone());
        Ok(Page { items, next })
    }

    async fn retry_failed(&self, ids: &[String]) -> Result<u64, QueueError> {
        self.delete_failed(ids).await
    }

    async fn retry_edited(&self, edits: &[Edit]) -> Result<Edited, QueueError> {
        let mut edited = Edited::default();
        for Edit { id, body } in edits {
            let failed = self.failed.lock().unwrap().iter().find(|item| item.id == *id).cloned();
            let Some(failed) = failed else { continue };
            match edit::check(&failed.body, body) {
                Ok(()) => edited.changed += self.delete_failed(&[failed.id]).await?,
                Err(error) => edited.invalid.push(InvalidEdit { id: failed.id, error }),
            }
        }
        Ok(edited)
    }

    async fn delete_failed(&self, ids: &[String]) -> Result<u64, QueueError> {
        let mut failed = self.failed.lock().unwrap();
        let before = failed.len();
        failed.retain(|item| !ids.contains(&item.id));
        let changed = (before - failed.len()) as u64;
        if self.is_partly_away.load(SeqCst) {
            let done = Edited { changed, ..Edited::default() };
            return Err(QueueError::Partly { done, reason: "10.0.0.7 is on fire".into() });
        }
        Ok(changed)
    }
}

pub struct Server {
    pub address: SocketAddr,
    pub queue: Arc<MemoryQueue>,
    pub tokens: Arc<Tokens>,
    pub bus: Arc<LocalDebugBus>,
    pub log: Arc<Telemetry>,
    pub intake: Arc<Intake>,
    pub limits: Limits,
    /// An ingest token of the project `p`.
    pub ingest: String,
    /// A read token for all projects.
    pub read: String,
    pub shutdown: CancellationToken,
    pub task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with("127.0.0.1:0", |_| {}).await
    }

    pub async fn start_with(listen: &str, change: impl FnOnce(&mut HttpSettings)) -> Self {
        Self::with_settings(listen, |settings| change(&mut settings.http)).await
    }

    pub async fn with_settings(listen: &str, change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_over(listen, None, change).await
    }

    pub async fn start_over(
        listen: &str,
        tls: Option<Arc<ServerTls>>,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        Self::start_full(listen, None, tls, change).await
    }

    /// With a location database, and any settings.
    pub async fn start_located(
        listen: &str,
        database: Option<Arc<LocationDatabase>>,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        Self::start_full(listen, database, None, change).await
    }

    async fn start_full(
        listen: &str,
        database: Option<Arc<LocationDatabase>>,
        tls: Option<Arc<ServerTls>>,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let mut all = Settings::default();
        change(&mut all);
        let settings = all.http;
        let listener = TcpListener::bind(listen).await.unwrap();
        let metrics = Arc::new(Metrics::new());
        let bus = Arc::new(LocalDebugBus::new(Arc::clone(&metrics)));
        let debug_bus: Arc<dyn DebugBus> = bus.clone();
        let log = Arc::new(Telemetry::new(Arc::clone(&debug_bus), metrics, u64::MAX));
        let queue = Arc::new(MemoryQueue::default());
        let tokens = Arc::new(Tokens::new());
        let (ingest, _) = tokens.make(Scope::Ingest, &["p"], |_| {}).await;
        let (read, _) = tokens.make(Scope::Read, &[], |_| {}).await;
        let throttle = Arc::new(Throttle::new(all.limits, all.queue.max_depth));
        let authenticator = Authenticator::new(tokens.clone()).with_settings(all.auth);
        let authenticator = Arc::new(authenticator.with_throttle(Arc::clone(&throttle)));
        let visitors = settings.visitors(&all.privacy, database);
        let rules = lenient_about_times();
        let intake = Intake::new(queue.clone(), authenticator, log.clone(), rules, visitors);
        let filters = Filters::new(all.filters, all.privacy, None);
        let intake = Arc::new(intake.with_filters(filters).with_throttle(throttle));
        let context = HttpContext::new(Arc::clone(&intake), debug_bus, settings.clone());
        let context = Arc::new(context.over_tls(tls));
        let shutdown = CancellationToken::new();
        let server = Self {
            address: listener.local_addr().unwrap(),
            task: tokio::spawn(serve(listener, context, shutdown.clone())),
            intake,
            limits: Limits {
                header_timeout: settings.header_timeout,
                max_body_bytes: settings.max_body_bytes,
            },
            queue,
            tokens,
            bus,
            log,
            ingest: ingest.expose().to_owned(),
            read: read.expose().to_owned(),
            shutdown,
        };
        server.look_at_queue().await;
        server
    }

    /// What the pipeline does once a second.
    pub async fn look_at_queue(&self) {
        let _ = self.log.metrics().observe_queue(&*self.queue).await;
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// Sends bytes on a connection of their own.
    pub async fn send(&self, bytes: impl AsRef<[u8]>) -> Answer {
        let mut client = self.client().await;
        client.send(bytes).await;
        client.answer().await
    }

    /// Sends a body with the token of project `p`.
    pub async fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Answer {
        self.post_with(path, &[], body).await
    }

    pub async fn post_with(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Answer {
        let bearer = format!("Bearer {}", self.ingest);
        let mut all = vec![("Authorization", bearer.as_str())];
        all.extend(headers);
        self.send(post(path, &all, body)).await
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(request("GET", path, headers)).await
    }

    pub fn queued(&self) -> Vec<NewItem> {
        self.queue.items.lock().unwrap().clone()
    }

    /// Asserts that it still accepts an event.
    pub async fn works(&self) {
        let before = self.queued().len();
        let answer = self.post("/track", r#"{"url":"https://a.example/","projectId":"p"}"#).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(self.queued().len(), before + 1);
    }

    /// Stops it and waits until it has.
    pub async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(DEADLINE, self.task).await.unwrap().unwrap().unwrap();
        let ids: HashSet<_> =
            self.queue.items.lock().unwrap().iter().map(|i| i.event.id.clone()).collect();
        assert_eq!(ids.len(), self.queue.items.lock().unwrap().len(), "ids are unique");
    }
}

/// Waits until `holds`, or fails.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
