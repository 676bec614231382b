use super::*;
use crate::queue::QueueStats;
use crate::queue::api::QueueAges;
use bklit_wire::gauges::{Health, QueueGauges};
use bklit_wire::history::ProjectTotals;

#[test]
fn gauges_cover_the_interval_and_prometheus_the_whole_time() {
    let metrics = Metrics::new();
    for _ in 0..2 {
        metrics.steps(Stage::Queue, Level::Error, Some(Duration::from_millis(2)), 3);
        metrics.request(200);
        metrics.accepted("p");
        metrics.batch_stored([Duration::from_secs(1)].into_iter());
        let gauges = metrics.take_gauges();
        let queue = &gauges.stages[Stage::Queue.index()];
        assert_eq!((queue.count, queue.errors, gauges.accepted), (3, 3, 1));
        assert_eq!(gauges.queue, None);
    }
    let text = metrics.to_prometheus();
    for line in [
        "bklit_http_requests_total{status=\"200\"} 2",
        "bklit_steps_total{stage=\"queue\",level=\"error\"} 6",
        "bklit_stage_seconds_count{stage=\"queue\"} 6",
        "bklit_batch_events_count 2",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn the_queues_metrics_are_shown_once_known() {
    let metrics = Metrics::new();
    metrics.set_queue(QueueStats { depth: 5, in_flight: 2, failed: 1, spooled: 4 });
    metrics.set_failing(Part::Store, "Insert failed", "no disk");
    metrics.set_failing(Part::Store, "Insert failed", "no network");
    let gauges = metrics.take_gauges();
    let expected =
        QueueGauges { depth: 5, in_flight: 2, failed: 1, spooled: 4, ..QueueGauges::default() };
    assert_eq!(gauges.queue, Some(expected));
    let ago = UtcMillis::from_epoch_millis(UtcMillis::now().epoch_millis() - 90_000);
    metrics.set_queue_ages(Some(QueueAges { oldest_waiting: Some(ago), lapsed: 2 }));
    let queue = metrics.take_gauges().queue.unwrap();
    assert!((90_000..100_000).contains(&queue.oldest_waiting_ms.unwrap()));
    assert_eq!(queue.lapsed, Some(2));
    let text = metrics.to_prometheus();
    assert!(text.contains("bklit_queue_lapsed_batches 2"), "{text}");
    assert!(text.contains("bklit_queue_oldest_waiting_seconds 9"), "{text}");
    // Unknown values are left out.
    metrics.set_queue_ages(None);
    let queue = metrics.take_gauges().queue.unwrap();
    assert_eq!((queue.oldest_waiting_ms, queue.lapsed), (None, None));
    assert_eq!(gauges.store_health, Health::Failing);
    assert_eq!(gauges.queue_health, Health::Unknown);
    let [failure] = gauges.failures.as_slice() else { panic!("{:?}", gauges.failures) };
    assert_eq!((failure.part.as_str(), failure.reason.as_str()), ("store", "no network"));
    metrics.set_health(Part::Store, Health::Ok);
    assert_eq!(metrics.take_gauges().failures, []);
}

#[test]
fn events_are_counted_by_project_on_all_threads_within_a_bound() {
    let metrics = Metrics::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                (0..100).for_each(|_| metrics.accepted("a"));
                metrics.refused_of("a");
                metrics.failed_of("b");
            });
        }
    });
    let mut projects = metrics.take_projects();
    projects.sort_by(|a, b| a.project.cmp(&b.project));
    let counted = |project: &str, accepted, refused, failed| ProjectTotals {
        project: project.to_owned(),
        accepted,
        refused,
        failed,
    };
    assert_eq!(projects, [counted("a", 400, 4, 0), counted("b", 0, 0, 4)]);
    assert_eq!(metrics.take_projects(), [], "each is taken once");
    (0..MAX_COUNTED_PROJECTS + 50).for_each(|n| metrics.accepted(&n.to_string()));
    assert_eq!(metrics.take_projects().len(), MAX_COUNTED_PROJECTS);
    assert_eq!(metrics.take_gauges().accepted, 400 + MAX_COUNTED_PROJECTS as u64 + 50);
}
