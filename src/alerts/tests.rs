use std::time::Duration;

use super::*;

fn monitor(settings: AlertSettings) -> Monitor {
    Monitor::new(settings)
}

fn reading(depth: u64) -> Reading {
    Reading { depth: Some(depth), alarm_depth: 1_000, ..Reading::default() }
}

/// The seconds at which depths raise an alert.
fn raised(depths: &[u64]) -> Vec<usize> {
    let mut monitor = monitor(AlertSettings::default());
    let raised = depths
        .iter()
        .enumerate()
        .filter(|(second, depth)| !monitor.tick(*second as i64 + 1, &reading(**depth)).is_empty());
    raised.map(|(second, _)| second).collect()
}

#[test]
fn a_peak_of_one_second_raises_no_alert_and_a_longer_one_raises_one() {
    assert!(raised(&[0, 5_000, 0, 0]).is_empty());
    assert_eq!(raised(&[0, 5_000, 5_000, 5_000, 5_000]), [2]);
    assert!(raised(&[1_000; 100]).is_empty());
}

#[test]
fn a_value_around_the_limit_raises_one_alert() {
    let flapping: Vec<u64> = (0..300).map(|n| if n / 3 % 2 == 0 { 1_100 } else { 900 }).collect();
    assert_eq!(raised(&flapping), [1]);
    let low: Vec<u64> = (0..300).map(|n| if n / 5 % 2 == 0 { 1_100 } else { 10 }).collect();
    assert_eq!(raised(&low), [1], "never normal for long enough");
    let again = [vec![2_000; 5], vec![10; 12], vec![2_000; 5]].concat();
    assert_eq!(raised(&again), [1, 18]);
}

#[test]
fn the_alert_has_its_value_its_limit_and_its_start() {
    let mut monitor = monitor(AlertSettings::default());
    assert!(monitor.tick(10, &reading(2_345)).is_empty());
    let alerts = monitor.tick(11, &reading(2_400));
    let [alert] = alerts.as_slice() else { panic!("{alerts:?}") };
    assert_eq!(
        (alert.kind, alert.value, alert.limit, alert.since),
        (Kind::QueueDepth, 2_400, 1_000, 10)
    );
    assert_eq!(alert.message, "2,400 events waiting, above 1,000");
    assert!(monitor.is_raised(Kind::QueueDepth) && !monitor.is_raised(Kind::Store));
    assert!(!monitor.is_raised(Kind::Lines));
}

#[test]
fn errors_are_counted_over_a_minute() {
    let settings = AlertSettings { errors_per_minute: 30, ..AlertSettings::default() };
    let mut monitor = monitor(settings);
    let mut raised = Vec::new();
    for second in 1..=200 {
        if second <= 40 {
            monitor.error();
        }
        let alerts = monitor.tick(second, &Reading::default());
        raised.extend(alerts.iter().map(|alert| (second, alert.kind)));
    }
    assert_eq!(raised, [(32, Kind::ErrorRate)]);
    assert!(!monitor.is_raised(Kind::ErrorRate));
}

#[test]
fn silence_counts_only_after_events_came() {
    let settings =
        AlertSettings { no_events: Duration::from_secs(120), ..AlertSettings::default() };
    let mut monitor = monitor(settings);
    for second in 1..1_000 {
        assert!(monitor.tick(second, &Reading::default()).is_empty());
    }
    monitor.accepted();
    let raised =
        (1_000..2_000).find(|&second| !monitor.tick(second, &Reading::default()).is_empty());
    assert_eq!(raised, Some(1_121));
    monitor.accepted();
    let again =
        (2_000..3_000).find(|&second| !monitor.tick(second, &Reading::default()).is_empty());
    assert_eq!(again, Some(2_121));
    // Off by default, and a clock that was set back is not silence.
    let mut off = super::Monitor::new(AlertSettings::default());
    off.accepted();
    assert!((0..10_000).all(|second| off.tick(second, &Reading::default()).is_empty()));
    monitor.accepted();
    assert!((1..100).all(|second| monitor.tick(second, &Reading::default()).is_empty()));
}

#[test]
fn a_failing_store_raises_an_alert() {
    let mut monitor = monitor(AlertSettings::default());
    let fails = Reading { store_failure: Some("refused".to_owned()), ..reading(0) };
    assert!(monitor.tick(1, &fails).is_empty());
    assert!(monitor.tick(1, &fails).is_empty(), "the same second");
    assert_eq!(monitor.tick(2, &fails)[0].kind, Kind::Store);
    assert!(monitor.tick(3, &fails).is_empty());
}

#[test]
fn an_alert_that_ends_is_reported_as_it_was_raised() {
    let mut monitor = monitor(AlertSettings::default());
    let depths = [2_000, 2_345, 10, 2_000].into_iter().chain(std::iter::repeat_n(10, 30));
    let changes: Vec<_> = (1..)
        .zip(depths)
        .flat_map(|(second, depth)| {
            let changes = monitor.changes(second, &reading(depth));
            changes.into_iter().map(move |(state, alert)| (second, state, alert.value))
        })
        .collect();
    assert_eq!(changes, [(2, State::Raised, 2_345), (14, State::Over, 2_345)]);
}

#[test]
fn an_alert_is_current_while_it_holds_and_then_ends() {
    let mut monitor = monitor(AlertSettings::default());
    let of = |monitor: &mut Monitor, second, depth| {
        monitor.tick(second, &reading(depth));
        monitor.condition(Kind::QueueDepth)
    };
    assert_eq!(of(&mut monitor, 1, 2_000), Condition::Ended, "not raised yet");
    let Condition::Holds(alert) = of(&mut monitor, 2, 2_345) else { panic!() };
    assert_eq!((alert.value, alert.since), (2_345, 1));
    let Condition::Holds(alert) = of(&mut monitor, 3, 9_999) else { panic!() };
    assert_eq!((alert.message.as_str(), alert.since), ("9,999 events waiting, above 1,000", 1));
    assert_eq!(of(&mut monitor, 4, 10), Condition::Normal(1));
    let Condition::Holds(_) = of(&mut monitor, 5, 2_000) else { panic!() };
    let last: Vec<_> = (6..16).map(|second| of(&mut monitor, second, 10)).collect();
    assert_eq!(last[8..], [Condition::Normal(9), Condition::Ended]);
    assert_eq!(monitor.condition(Kind::Lines), Condition::Ended);
}

#[test]
fn alerts_about_failures_have_the_reason() {
    let mut monitor = monitor(AlertSettings::default());
    let failing = Reading {
        store_failure: Some("connection refused".to_owned()),
        queue_failure: Some(String::new()),
        ..Reading::default()
    };
    monitor.tick(1, &failing);
    let raised: Vec<_> = monitor.tick(2, &failing).into_iter().map(|a| a.message).collect();
    assert_eq!(raised, ["store: connection refused; events wait in the queue", "queue: failing"]);
    monitor.tick(3, &Reading { spooled: 1_204, ..failing });
    let Condition::Holds(alert) = monitor.condition(Kind::Queue) else { panic!() };
    assert_eq!(alert.message, "queue: failing; 1,204 events in the spool");
    let locked = Some("store.db is locked".to_owned());
    monitor.tick(4, &Reading { store_failure: locked, ..Reading::default() });
    let Condition::Holds(alert) = monitor.condition(Kind::Store) else { panic!() };
    assert_eq!(alert.message, "store.db is locked; events wait in the queue");
}

#[test]
fn many_refused_events_raise_an_alert_and_a_few_do_not() {
    let raised = |accepted: u64, refused: u64| {
        let mut monitor = monitor(AlertSettings::default());
        let mut raised = Vec::new();
        for second in 1..=120 {
            if second <= 30 {
                monitor.answered(accepted, refused);
            }
            raised.extend(monitor.tick(second, &Reading::default()));
        }
        assert!(!monitor.is_raised(Kind::Refused), "it ends");
        raised
    };
    assert!(raised(10, 3).is_empty(), "below a quarter");
    assert!(raised(0, 0).is_empty());
    assert!(raised(0, 1).len() == 1 && raised(3, 1).len() == 1, "30 of them, a quarter or more");
    let [alert] = &raised(20, 10)[..] else { panic!() };
    assert_eq!((alert.kind, alert.value, alert.limit, alert.since), (Kind::Refused, 33, 25, 3));
    let message = "33 % of events refused (40 in a minute); clients get an error";
    assert_eq!(alert.message, message);
    // Neither above the limit nor normal.
    let mut monitor = monitor(AlertSettings::default());
    let reading = Reading { refused: Some("mostly 400 shop: x".into()), ..Reading::default() };
    monitor.answered(60, 40);
    (1..5).for_each(|second| drop(monitor.tick(second, &reading)));
    monitor.answered(100, 0);
    monitor.tick(5, &reading);
    let Condition::Holds(alert) = monitor.condition(Kind::Refused) else { panic!() };
    assert_eq!(alert.message, "40 % of events refused (40 in a minute); mostly 400 shop: x");
    let never = AlertSettings { refused_percent: 0, ..AlertSettings::default() };
    let mut monitor = Monitor::new(never);
    monitor.answered(0, 1_000);
    assert!((1..9).all(|second| monitor.tick(second, &Reading::default()).is_empty()));
}

#[test]
fn a_missing_worker_is_reported_since_its_last_sign_of_life() {
    let mut monitor = monitor(AlertSettings::default());
    let missing = |depth| Reading { no_worker: Some(90), ..reading(depth) };
    assert!(monitor.tick(100, &missing(7)).is_empty());
    let alerts = monitor.tick(101, &missing(7));
    let [alert] = alerts.as_slice() else { panic!("{alerts:?}") };
    assert_eq!((alert.kind, alert.value, alert.since), (Kind::NoWorker, 7, 90));
    assert_eq!(alert.message, "no worker; 7 events wait");
    monitor.tick(102, &missing(1));
    let Condition::Holds(alert) = monitor.condition(Kind::NoWorker) else { panic!() };
    assert_eq!(alert.message, "no worker; 1 event waits");
    (103..120).for_each(|second| assert!(monitor.tick(second, &reading(0)).is_empty()));
    assert_eq!(monitor.condition(Kind::NoWorker), Condition::Ended);
}
