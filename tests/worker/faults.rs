//! Faults, none of which may lose events or store them twice.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use bklit_pipeline::metrics::Part;
use bklit_pipeline::queue::{Queue, QueueStats};
use bklit_pipeline::worker::WorkerSettings;
use bklit_tui::config::Settings;
use bklit_wire::debug_log::Level;
use bklit_wire::gauges::Health;
use bklit_wire::time::UtcMillis;
use bklit_wire::who::{Dimension, WhoCounts, WhoQuery};
use tokio::time::Instant;

use super::store::POISON;
use super::{Bench, small, views};

const EMPTY: QueueStats = QueueStats { depth: 0, in_flight: 0, failed: 0, spooled: 0 };

#[tokio::test(start_paused = true)]
async fn the_same_batch_is_retried_until_the_store_is_back() {
    let (mut bench, context) = Bench::new();
    bench.store.inserts_to_fail.store(20, SeqCst);
    bench.queue.push_all(&views(5));
    bench.start(context);
    bench.drained().await;
    assert_eq!(bench.store.batches(), vec![("batch-1".to_owned(), 5); 21]);
    assert_eq!(bench.store.count("page_view_event").await, 5);
    assert_eq!(bench.queue.figures(), EMPTY);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pauses_between_attempts_are_bounded() {
    let max_backoff = Duration::from_millis(400);
    let (mut bench, context) =
        Bench::with(WorkerSettings { max_backoff, ..Settings::default().worker });
    bench.store.inserts_to_fail.store(100, SeqCst);
    bench.queue.push_all(&views(1));
    let began = Instant::now();
    bench.start(context);
    bench.drained().await;
    assert!(began.elapsed() < max_backoff * 100, "{:?}", began.elapsed());
    // Full jitter: a hundred pauses of no more than 400 ms are about 20 s.
    assert!(began.elapsed() > Duration::from_secs(10), "{:?}", began.elapsed());
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_lost_after_the_commit_stores_nothing_twice() {
    let (mut bench, context) = Bench::new();
    bench.store.answers_to_lose.store(2, SeqCst);
    bench.queue.push_all(&views(50));
    bench.start(context);
    bench.drained().await;
    assert_eq!(bench.store.batches().len(), 3);
    assert_eq!(*bench.store.first_attempts.lock().unwrap(), [true, false, false]);
    assert_eq!(bench.store.count("page_view_event").await, 50);
    assert_eq!(bench.store.count("tracked_session WHERE did_bounce = 1").await, 50);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_bad_event_in_ten_thousand_fails_alone() {
    let (mut bench, context) = Bench::with(small(10_000, Duration::from_millis(50)));
    bench.store.refused.lock().unwrap().insert("evt_06789".to_owned());
    bench.queue.push_all(&views(10_000));
    bench.start(context);
    bench.drained().await;
    assert_eq!(bench.store.count("page_view_event").await, 9_999);
    let failures = bench.queue.failures();
    assert_eq!(failures.len(), 1);
    assert!(failures[0].0.contains("\"evt_06789\"") && failures[0].1 == POISON, "{failures:?}");
    let query = WhoQuery { by: Dimension::Type, ..WhoQuery::default() };
    let who = bench.metrics.who().view(query, UtcMillis::now());
    let failed = WhoCounts { failed: 1, ..WhoCounts::default() };
    assert_eq!((who.total, who.rows[0].counts, &*who.rows[0].value), (failed, failed, "pageview"));

    // Bisecting: about twice the logarithm, not ten thousand attempts; ids show which batch a part
    // is from.
    let batches = bench.store.batches();
    assert!(batches.len() < 40, "{} batches", batches.len());
    assert_eq!(batches[..2], [("batch-1".to_owned(), 10_000), ("batch-1.0".to_owned(), 5_000)]);
    assert!(batches.contains(&("batch-1.1".to_owned(), 5_000)));
    let mut ids: Vec<_> = batches.iter().map(|(id, _)| id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), batches.len());

    // Fixed and retried, it is stored once.
    bench.store.refused.lock().unwrap().clear();
    bench.queue.retry_failed(&[]).await.unwrap();
    bench.drained().await;
    assert_eq!(bench.store.count("page_view_event").await, 10_000);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn all_bad_events_fail_and_no_good_one() {
    let (mut bench, context) = Bench::new();
    let events = views(33);
    let bad = [0, 1, 15, 16, 32].map(|n: usize| events[n].id.clone());
    bench.store.refused.lock().unwrap().extend(bad.clone());
    // A store that fails in the middle of it makes no difference.
    bench.store.answers_to_lose.store(3, SeqCst);
    bench.queue.push_all(&events);
    bench.start(context);
    bench.drained().await;
    assert_eq!(bench.store.count("page_view_event").await, 28);
    let failures = bench.queue.failures();
    assert_eq!(failures.len(), bad.len());
    for id in &bad {
        assert!(failures.iter().any(|(body, _)| body.contains(id)), "{id}");
    }
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn garbage_fails_with_the_name_of_the_field() {
    let (mut bench, context) = Bench::new();
    let valid = views(1)[0].to_json();
    let cases = [
        ("garbage".to_owned(), "(event)"),
        (String::new(), "(event)"),
        ("[]".to_owned(), "(event)"),
        (valid.replace("\"url\"", "\"uri\""), "payload.url"),
        (valid.replace("\"pageview\"", "\"page\""), "type"),
        (valid.replace("\"projectId\":\"p\"", "\"projectId\":\"\""), "projectId"),
        (valid.replace("\"evt_00000\"", "\"\""), "id: must not be empty"),
        (valid.replace("\"evt_00000\"", "[7]"), "id"),
        ("[".repeat(100_000), "(event)"),
    ];
    for (body, _) in &cases {
        bench.queue.push_raw(body);
    }
    bench.queue.push_raw(&valid);
    bench.start(context);
    let line = bench.line("Not an event, moved to the failed queue").await;
    assert_eq!(line.level, Level::Error);
    bench.drained().await;
    let failures = bench.queue.failures();
    assert_eq!(failures.len(), cases.len());
    for ((body, field), (failed, reason)) in cases.iter().zip(&failures) {
        assert_eq!(body, failed);
        assert!(reason.starts_with("not an event: ") && reason.contains(field), "{reason}");
    }
    assert_eq!(bench.store.count("page_view_event").await, 1);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_insert_keeps_its_lease() {
    let (mut bench, context) = Bench::new();
    let lease = context.settings.lease;
    bench.store.slowness.store(3 * lease.as_millis() as u64, SeqCst);
    bench.queue.push_all(&views(3));
    bench.start(context);
    bench.drained().await;
    assert!(bench.queue.renewals.load(SeqCst) >= 8, "{:?}", bench.queue.renewals);
    assert_eq!(bench.store.batches().len(), 1, "nobody took it over");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_answers_is_retried() {
    let (mut bench, context) = Bench::new();
    bench.store.slowness.store(u32::MAX.into(), SeqCst);
    bench.queue.push_all(&views(3));
    bench.start(context);
    let line = bench.line("Cannot store a batch, retrying").await;
    assert!(line.data["reason"].as_str().unwrap().contains("no response within"), "{line:?}");
    bench.store.slowness.store(0, SeqCst);
    bench.drained().await;
    assert_eq!(bench.store.count("page_view_event").await, 3);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_was_taken_over_is_dropped() {
    let (mut bench, context) = Bench::new();
    bench.store.slowness.store(25_000, SeqCst);
    bench.queue.push_all(&views(3));
    bench.start(context);
    while bench.store.batches().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bench.queue.take_over();
    let line = bench.line("Batch taken over by another worker").await;
    assert_eq!(line.level, Level::Warn);
    assert_eq!(bench.queue.figures().in_flight, 3, "it is the other's to acknowledge");
    assert_eq!(bench.store.count("page_view_event").await, 0, "noticed at the next renewal");
    // The worker continues with the next batch.
    bench.store.slowness.store(0, SeqCst);
    bench.queue.push_all(&views(4)[3..]);
    bench.line("Batch stored").await;
    assert_eq!(bench.store.count("page_view_event").await, 1);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_late_acknowledgement_publishes_nothing() {
    let (mut bench, context) = Bench::new();
    bench.store.slowness.store(1_000, SeqCst);
    bench.queue.push_all(&views(3));
    bench.start(context);
    while bench.store.batches().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Stored before the next renewal, so the acknowledgement detects it.
    bench.queue.take_over();
    bench.line("Page view stored").await;
    bench.line("Batch taken over by another worker").await;
    assert_eq!(bench.queue.renewals.load(SeqCst), 0);
    bench.stop().await;
    assert_eq!(bench.metrics.take_gauges().stages[4].count, 0);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_fails_is_retried() {
    let (mut bench, context) = Bench::new();
    bench.queue.claims_to_fail.store(5, SeqCst);
    bench.queue.acknowledgements_to_fail.store(5, SeqCst);
    bench.queue.push_all(&views(3));
    bench.start(context);
    bench.line("Cannot claim a batch").await;
    assert_eq!(bench.metrics.health(Part::Worker), Health::Failing);
    bench.line("Cannot acknowledge a stored batch, retrying").await;
    bench.drained().await;
    assert_eq!(bench.store.batches().len(), 1, "stored once, acknowledged again");
    bench.line("Batch stored").await;
    assert_eq!(bench.metrics.health(Part::Worker), Health::Ok);
    bench.stop().await;
}

/// As after a full disk, where only storing waiting events makes room.
#[tokio::test(start_paused = true)]
async fn a_queue_that_does_not_know_its_depth_is_still_emptied() {
    let (mut bench, context) = Bench::new();
    bench.queue.stats_fail.store(true, SeqCst);
    bench.queue.push_all(&views(3));
    bench.start(context);
    bench.drained().await;
    assert_eq!(bench.metrics.health(Part::Worker), Health::Ok);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_releases_what_the_store_does_not_accept() {
    for slowness in [0, 3_600_000] {
        let (mut bench, context) = Bench::new();
        bench.store.slowness.store(slowness, SeqCst);
        bench.store.inserts_to_fail.store(u32::MAX, SeqCst);
        bench.queue.push_all(&views(25));
        bench.start(context);
        bench.line("Processing page view").await;
        let began = Instant::now();
        bench.stop().await;
        assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
        assert_eq!(bench.queue.figures(), QueueStats { in_flight: 25, ..EMPTY });
        assert!(bench.queue.is_released());
        bench.line("Stopped before a batch was stored").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_while_a_batch_fills_up_leaves_it_in_the_queue() {
    let (mut bench, context) = Bench::with(small(10, Duration::from_secs(60)));
    bench.start(context);
    bench.queue.push_all(&views(3));
    tokio::time::sleep(Duration::from_secs(1)).await;
    bench.stop().await;
    assert_eq!(bench.queue.figures(), QueueStats { depth: 3, ..EMPTY });
}
