use super::*;
use bklit_wire::debug_log::Level;
use bklit_wire::gauges::{Failure, Health};

fn gauges(process: &str, count: u64, micros: u64) -> Arc<Gauges> {
    let mut histogram = Latencies::histogram();
    histogram.record_n(micros, count).unwrap();
    let mut gauges = Gauges { process: process.into(), accepted: count, ..Gauges::default() };
    gauges.stages[0].count = count;
    gauges.stages[0].latencies = Latencies::of(&histogram);
    gauges.accept_to_stored = Latencies::of(&histogram);
    gauges.sampling = 1;
    Arc::new(gauges)
}

fn line(millis: f64) -> DebugLog {
    let mut log = DebugLog::new(Stage::Ingestion, Level::Info, "x");
    log.duration = Some(millis);
    log.process = Some("a".into());
    log
}

fn near(value: u64, wanted: u64) -> bool {
    value.abs_diff(wanted) * 100 <= wanted
}

#[test]
fn processes_are_merged_over_the_last_minute() {
    let mut figures = Figures::default();
    for second in 1000..1100 {
        figures.tick(second);
        figures.gauges(&gauges("a", 90, 1_000));
        figures.gauges(&gauges("b", 10, 50_000));
    }
    figures.tick(1100);
    let summary = figures.summary();
    assert_eq!((summary.events_per_second, summary.stages[0].rate), (100.0, 100.0));
    let [p50, p95, p99] = summary.stages[0].percentiles.unwrap();
    assert!(near(p50, 1_000) && near(p95, 50_000) && near(p99, 50_000));
    assert!(summary.accept_to_stored.percentiles.is_some());
    assert_eq!(summary.stages[1].percentiles, None);
    assert!(summary.stages[0].history.iter().filter(|p95| p95.is_some()).count() >= 58);
    assert!(figures.seconds.len() <= SECONDS);
}

#[test]
fn messages_between_ticks_do_not_make_the_rate_jump() {
    let mut figures = Figures::default();
    for second in 1000..1060 {
        figures.tick(second);
        // One early, then one late: two in one second, none in the next.
        for _ in 0..2 * (second % 2) {
            figures.gauges(&gauges("a", 100, 10));
        }
        if second > 1010 {
            assert!((80.0..=120.0).contains(&figures.summary().events_per_second));
        }
    }
}

/// Figures do not depend on sampling, and nothing is counted twice.
#[test]
fn lines_count_only_where_no_process_publishes_figures() {
    let mut figures = Figures::default();
    for second in 1000..1010 {
        figures.tick(second);
        (0..7).for_each(|_| figures.line(&line(2.0)));
    }
    figures.tick(1010);
    let stage = figures.summary().stages[0].clone();
    assert_eq!((stage.rate, figures.summary().events_per_second), (7.0, 7.0));
    assert!(near(stage.percentiles.unwrap()[0], 2_000));
    for second in 1010..1020 {
        figures.tick(second);
        (0..7).for_each(|_| figures.line(&line(2.0)));
        figures.gauges(&gauges("a", 100, 9_000));
    }
    figures.tick(1020);
    let stage = &figures.summary().stages[0];
    assert_eq!(stage.rate, 100.0);
    assert!(near(stage.percentiles.unwrap()[0], 9_000));
}

/// Bklit's own services publish no figures, and several lines about the same event.
#[test]
fn lines_of_other_programs_are_added_and_count_each_event_once() {
    let mut figures = Figures::default();
    for second in 1000..1010 {
        figures.tick(second);
        for event in 0..10 {
            let mut other = DebugLog { process: None, ..line(4.0) };
            other.event_id = Some(format!("{second}-{event}"));
            (0..3).for_each(|_| figures.line(&other));
        }
        (0..7).for_each(|_| figures.line(&line(2.0)));
        figures.gauges(&gauges("a", 100, 9_000));
    }
    figures.tick(1010);
    let stage = &figures.summary().stages[0];
    assert_eq!((stage.rate, figures.summary().events_per_second), (110.0, 110.0));
}

#[test]
fn a_queue_observed_without_a_process_is_shown_until_it_is_old() {
    let mut figures = Figures::default();
    figures.tick(1000);
    assert!(figures.observed_queue(QueueGauges { depth: 7, failed: 2, ..QueueGauges::default() }));
    figures.tick(1001);
    let queue = figures.summary().queue.unwrap();
    assert_eq!((queue.depth, queue.failed), (7, 2));
    assert_eq!(figures.summary().depth_history.last().copied().flatten(), Some(7));
    assert_eq!(figures.silence(), None, "no process has published figures");
    figures.tick(1020);
    assert_eq!(figures.summary().queue, None);
}

#[test]
fn after_a_minute_of_silence_health_is_unknown() {
    let mut figures = Figures::default();
    figures.tick(1000);
    let mut one = (*gauges("a", 5, 5)).clone();
    one.queue = Some(QueueGauges { depth: 7, in_flight: 1, ..QueueGauges::default() });
    one.store_health = Health::Failing;
    one.sampling = 8;
    let mut other = (*gauges("b", 5, 5)).clone();
    other.store_health = Health::Ok;
    figures.gauges(&Arc::new(one));
    figures.gauges(&Arc::new(other));
    assert_eq!(figures.summary().health, [Health::Unknown, Health::Failing, Health::Unknown]);
    assert_eq!(figures.summary().sampling, 8);
    assert!(figures.tick(1001));
    assert_eq!(figures.summary().queue.map(|queue| queue.depth), Some(7));
    assert!(figures.tick(1100));
    assert_eq!(*figures.summary(), Summary::default());
    assert!(!figures.tick(1101), "nothing new to show");
    figures.tick(5);
    assert_eq!(*figures.summary(), Summary::default(), "a clock set back is not a stall");
}

#[test]
fn what_is_kept_is_bounded() {
    let mut figures = Figures::default();
    figures.tick(1);
    for i in 0..1000 {
        figures.gauges(&gauges(&i.to_string(), 1, 1));
    }
    assert_eq!(figures.processes.len(), processes::MAX_PROCESSES);
    assert_eq!(figures.seconds[0].gauges.len(), MAX_MESSAGES);
}

/// Seconds of figures: a queue, and whether anything is stored.
fn watch(figures: &mut Figures, seconds: std::ops::Range<i64>, stores: bool, like: &Gauges) {
    for second in seconds {
        figures.tick(second);
        let stored = gauges("a", 1, 10).accept_to_stored.clone();
        let accept_to_stored = if stores { stored } else { Latencies::default() };
        figures.gauges(&Arc::new(Gauges { accept_to_stored, ..like.clone() }));
    }
}

#[test]
fn the_pipeline_stalls_when_events_wait_and_none_is_stored() {
    let queue = |depth, oldest_waiting_ms| {
        Some(QueueGauges { depth, oldest_waiting_ms, lapsed: Some(0), ..QueueGauges::default() })
    };
    let like = |queue| Gauges { process: "a".into(), queue, ..Gauges::default() };
    let mut figures = Figures::default();
    watch(&mut figures, 1000..1010, true, &like(queue(0, None)));
    // Nothing to do.
    watch(&mut figures, 1010..1100, false, &like(queue(0, None)));
    assert_eq!(figures.summary().stalled, None);
    // What happened before the events arrived does not count, and failing steps store nothing.
    let mut failing = like(queue(3, Some(2_000)));
    failing.stages[Stage::Worker.index()].count = 1;
    failing.stages[Stage::Clickhouse.index()].errors = 1;
    watch(&mut figures, 1100..1103, false, &failing);
    assert_eq!(figures.summary().stalled, None);
    failing.queue = queue(3, Some(14_500));
    watch(&mut figures, 1103..1115, false, &failing);
    assert_eq!(figures.summary().stalled, Some(14));
    watch(&mut figures, 1115..1117, true, &failing);
    assert_eq!(figures.summary().stalled, None, "it goes on, and the queue is still long");
}

#[test]
fn the_pipeline_stalls_while_the_queue_is_lost_and_events_are_spooled() {
    let process = || Gauges { process: "a".into(), ..Gauges::default() };
    let mut figures = Figures::default();
    let queue = |spooled| Some(QueueGauges { spooled, ..QueueGauges::default() });
    watch(&mut figures, 1000..1010, true, &Gauges { queue: queue(0), ..process() });
    let since = Some(UtcMillis::from_epoch_millis(1_020_000));
    let failure = Failure { part: PARTS[0].into(), since, ..Failure::default() };
    let health = Health::Failing;
    let lost =
        Gauges { queue: queue(0), queue_health: health, failures: vec![failure], ..process() };
    watch(&mut figures, 1010..1025, false, &lost);
    assert_eq!(figures.summary().stalled, None, "no event is waiting");
    watch(&mut figures, 1025..1051, false, &Gauges { queue: queue(9), ..lost });
    assert_eq!(figures.summary().stalled, Some(30));
}
