//! `GET /health` and `GET /metrics`.

use std::sync::atomic::Ordering::Relaxed;

use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::Peer;
use super::response::{self, ResponseBody};
use crate::metrics::Part;
use crate::server::access::authorize;
use bklit_wire::gauges::{Health, QueueGauges};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HealthReport {
    status: &'static str,
    service: &'static str,
    version: &'static str,
    uptime_seconds: u64,
    #[serde(flatten)]
    figures: Option<Figures>,
}

/// The part of `/health` that only readers see.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    queue: Option<QueueGauges>,
    /// Separate from the queue's own numbers, because it matters while the queue is unavailable.
    spooled: u64,
    health: Parted,
    debug_streams: usize,
}

#[derive(Serialize)]
struct Parted {
    queue: Health,
    store: Health,
    worker: Health,
}

/// Responds with 200 while the process is alive. The body says whether its parts work. Anyone may
/// call this, so requests within a second share one observation of the queue.
pub async fn health(peer: &Peer, head: &Parts) -> Response<ResponseBody> {
    let context = &*peer.context;
    let metrics = context.intake.log().metrics();
    metrics.refresh().await;
    let queue = metrics.queue_seen().and_then(|seen| seen.stats);
    let health = Parted {
        queue: if queue.is_none() { Health::Failing } else { metrics.health(Part::Queue) },
        store: metrics.health(Part::Store),
        worker: metrics.health(Part::Worker),
    };
    let failing = [health.queue, health.store, health.worker].contains(&Health::Failing);
    let may_read = authorize(peer.caller(&head.headers), head, None).await.is_ok();
    let report = HealthReport {
        status: if failing { "degraded" } else { "ok" },
        service: "ingestion",
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: context.started.elapsed().as_secs(),
        figures: may_read.then(|| Figures {
            queue,
            spooled: metrics.spooled(),
            health,
            debug_streams: context.streams.load(Relaxed),
        }),
    };
    response::no_store(response::json(StatusCode::OK, &report))
}

/// All metrics, for Prometheus.
pub async fn metrics(peer: &Peer) -> Response<ResponseBody> {
    let metrics = peer.context.intake.log().metrics();
    metrics.refresh().await;
    let text = metrics.to_prometheus();
    response::no_store(response::with_body(OPEN_METRICS, ResponseBody::Whole(text.into())))
}
