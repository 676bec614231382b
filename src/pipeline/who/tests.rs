use std::collections::HashMap;

use async_trait::async_trait;
use proptest::prelude::*;

use super::*;
use crate::history::{Collector, FigureHistory, FigureStore, FigureStoreError, Minute};
use crate::metrics::Metrics;
use bklit_wire::event::{CustomEvent, PageView, Payload, QueuedEvent};
use bklit_wire::gauges::About;
use bklit_wire::history::{ProjectTotals, Totals};
use bklit_wire::who::{MAX_VALUE, WhoCounts, WhoRow, WhoSort, WhoSpan};

/// 2026-01-31T12:00:00Z
const NOON: i64 = 1_769_860_800_000;
const MINUTE: i64 = 60_000;

fn at(millis: i64) -> UtcMillis {
    UtcMillis::from_epoch_millis(NOON + millis)
}

fn of_project(project: &str) -> Traits<'_> {
    Traits { project, ..Traits::default() }
}

fn query(by: Dimension, span: WhoSpan, sort: WhoSort) -> WhoQuery {
    WhoQuery { by, span, sort }
}

fn by_project(who: &Who, span: WhoSpan, now: i64) -> WhoView {
    who.view(query(Dimension::Project, span, WhoSort::Rate), at(now))
}

#[track_caller]
fn row<'a>(view: &'a WhoView, value: &str) -> &'a WhoRow {
    view.rows.iter().find(|row| row.value == value).unwrap_or_else(|| panic!("{value}: {view:?}"))
}

fn view_of(url: &str) -> QueuedEvent {
    let view = PageView {
        url: url.into(),
        ip: Some("203.0.113.0".into()),
        referrer_hostname: Some("news.example".into()),
        country_code: Some("DE".into()),
        ..PageView::default()
    };
    event(Payload::Pageview(Box::new(view)))
}

fn event(payload: Payload) -> QueuedEvent {
    QueuedEvent {
        id: "evt_1".into(),
        payload,
        queued_at: at(0),
        project_id: "shop".into(),
        push_ticket: None,
    }
}

#[test]
fn an_event_counts_once_in_each_dimension() {
    let who = Who::new(at(0));
    let view = view_of("https://a.example?x=1#y");
    let click = event(Payload::Event(CustomEvent {
        tracking_id: "t".into(),
        event_type: "click".into(),
        timestamp: None,
        session_id: None,
        metadata: None,
        definition_id: None,
    }));
    let token = TokenName { id: "tok_1", name: Some("web") };
    who.accepted(|| Traits { token, ..Traits::of(&view) });
    who.failed(|| Traits::of(&click));
    for (by, values) in [
        (Dimension::Project, ["shop", "shop"]),
        (Dimension::Token, ["tok_1", ""]),
        (Dimension::Address, ["203.0.113.0", ""]),
        (Dimension::Page, ["https://a.example/", ""]),
        (Dimension::Type, ["pageview", "event click"]),
        (Dimension::Referrer, ["news.example", ""]),
        (Dimension::Country, ["DE", ""]),
    ] {
        let counted = who.view(query(by, WhoSpan::Minute, WhoSort::Rate), at(500));
        let total = WhoCounts { accepted: 1, refused: 0, failed: 1 };
        assert_eq!((counted.total, counted.others), (total, WhoCounts::default()), "{by:?}");
        assert_eq!(row(&counted, values[0]).counts.accepted, 1, "{by:?}");
        assert_eq!(row(&counted, values[1]).counts.failed, 1, "{by:?}");
        let name = (by == Dimension::Token).then(|| "web".to_owned());
        assert_eq!(row(&counted, values[0]).name, name);
    }
}

#[test]
fn strings_are_cut_at_character_boundaries() {
    let long = format!("x{}", "é".repeat(MAX_VALUE));
    let exact = &long[..MAX_VALUE - 1];
    assert_eq!(traits::cut(&long), exact);
    assert_eq!(traits::cut(exact), exact);
    let who = Who::new(at(0));
    who.refused(|| Traits { page: (&*long).into(), ..Traits::default() });
    let view = who.view(query(Dimension::Page, WhoSpan::Minute, WhoSort::Rate), at(0));
    assert_eq!(view.rows[0].value, exact);
}

#[test]
fn each_span_covers_its_time_and_is_compared_with_an_hour_earlier() {
    let who = Who::new(at(0));
    // Two and a half hours, with ten times as many events from the second hour on.
    for minute in 0..150 {
        let events = if minute < 90 { 6 } else { 60 };
        (0..events).for_each(|_| who.accepted(|| of_project("shop")));
        who.take(at(minute * MINUTE));
        assert!(who.bytes() < 200_000);
    }
    let now = 149 * MINUTE;
    for (span, accepted, before) in [
        (WhoSpan::Minute, 60, 6.0 / 60.0),
        (WhoSpan::TenMinutes, 600, 6.0 / 60.0),
        // The last 60 minutes began after 89, and the hour before is that from minute 30 on.
        (WhoSpan::Hour, 3_600, 6.0 / 60.0),
    ] {
        let view = by_project(&who, span, now);
        assert_eq!(view.total.accepted, accepted, "{span:?}");
        let known = view.before.unwrap();
        assert!((known - before).abs() < 1e-9, "{span:?}: {known}");
        assert_eq!(row(&view, "shop").before, view.before);
        let covered = view.seconds();
        let length = span.millis() as f64 / 1e3;
        assert!(covered <= length && covered >= length * 5.0 / 6.0, "{span:?}: {covered}");
    }
}

#[test]
fn there_is_no_comparison_without_figures_from_an_hour_ago() {
    let who = Who::new(at(0));
    who.accepted(|| of_project("old"));
    who.take(at(0));
    for (now, known) in [(59 * MINUTE, None), (70 * MINUTE, Some(0.0))] {
        who.accepted(|| of_project("new"));
        let view = by_project(&who, WhoSpan::Minute, now);
        assert_eq!(row(&view, "new").before, known, "{now}");
    }
    let view = by_project(&who, WhoSpan::Hour, 100 * MINUTE);
    assert_eq!((view.total.accepted, view.before), (2, None));
}

#[test]
fn figures_begin_with_the_process() {
    let who = Who::new(at(3_000));
    (0..20).for_each(|_| who.accepted(|| of_project("shop")));
    let view = by_project(&who, WhoSpan::Hour, 13_000);
    assert_eq!((view.from, view.to), (Some(at(3_000)), Some(at(13_000))));
    assert!((view.rate(20) - 2.0).abs() < 1e-9);
}

#[test]
fn a_clock_that_is_set_back_or_forward_loses_figures_but_invents_none() {
    let who = Who::new(at(0));
    who.accepted(|| of_project("shop"));
    who.take(at(0));
    // Corrected by a little.
    who.accepted(|| of_project("shop"));
    who.take(at(-2_000));
    assert_eq!(by_project(&who, WhoSpan::Minute, -2_000).total.accepted, 1);
    for (now, before) in [(-48, None), (0, Some(0.0)), (48, Some(0.0))] {
        who.accepted(|| of_project("shop"));
        let view = by_project(&who, WhoSpan::Hour, now * 60 * MINUTE);
        assert_eq!((view.total.accepted, view.before), (1, before), "{now}");
    }
}

/// What processes before this one have counted.
struct Kept(Vec<Minute>);

#[async_trait]
impl FigureStore for Kept {
    async fn add(&self, _: &[Arc<Minute>]) -> Result<(), FigureStoreError> {
        Ok(())
    }

    async fn read(&self, mut collector: Collector) -> Result<Collector, FigureStoreError> {
        self.0.iter().for_each(|minute| collector.add(minute));
        Ok(collector)
    }
}

/// A minute that began so many minutes ago, with 120 events of the shop and 60 of others.
fn counted(process: &str, minutes_ago: i64) -> Minute {
    let at = UtcMillis::now().epoch_millis().div_euclid(MINUTE) - minutes_ago;
    let shop = ProjectTotals { project: "shop".into(), accepted: 120, ..ProjectTotals::default() };
    let totals = Totals { accepted: 180, projects: vec![shop], ..Totals::default() };
    Minute {
        process: process.into(),
        number: at.unsigned_abs(),
        about: About::default(),
        at: UtcMillis::from_epoch_millis(at * MINUTE),
        totals,
    }
}

#[tokio::test]
async fn a_young_process_compares_projects_with_the_history_of_the_one_before() {
    let metrics = Metrics::new();
    metrics.who().accepted(|| of_project("shop"));
    metrics.who().accepted(|| of_project("other"));
    let seen = async |minutes: Vec<Minute>, by| {
        let history =
            FigureHistory::new(metrics.process(), About::default(), Arc::new(Kept(minutes)), None);
        let query = query(by, WhoSpan::Minute, WhoSort::Rate);
        let view = answer(&metrics, Some(&history), query).await;
        (view.before, view.rows.into_iter().map(|row| (row.value, row.before)).collect::<Vec<_>>())
    };
    let before = || (30..90).map(|minute| counted("before", minute)).collect::<Vec<_>>();
    let (total, mut rows) = seen(before(), Dimension::Project).await;
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    // What the history does not name is not known to have been absent.
    assert_eq!(rows, [("other".to_owned(), None), ("shop".to_owned(), Some(2.0))]);
    assert_eq!(total, Some(3.0));
    let (total, _) = seen(before(), Dimension::Country).await;
    assert_eq!(total, None, "the history has only projects");
    for other in [counted("other", 0), counted("other", 62)] {
        let (total, _) = seen([before(), vec![other]].concat(), Dimension::Project).await;
        assert_eq!(total, None, "the figures of several processes cannot be compared with one's");
    }
    assert_eq!(seen(Vec::new(), Dimension::Project).await.0, None);
}

#[test]
fn rows_are_in_the_requested_order() {
    let who = Who::new(at(0));
    let count = |project: &'static str, [accepted, refused, failed]: [usize; 3]| {
        (0..accepted).for_each(|_| who.accepted(|| of_project(project)));
        (0..refused).for_each(|_| who.refused(|| of_project(project)));
        (0..failed).for_each(|_| who.failed(|| of_project(project)));
    };
    count("steady", [100, 0, 0]);
    count("gone", [90, 0, 0]);
    count("grown", [1, 0, 0]);
    who.take(at(0));
    count("steady", [10, 0, 1]);
    count("grown", [40, 1, 0]);
    count("refused", [0, 9, 2]);
    let now = 61 * MINUTE;
    let order = |sort| {
        let view = who.view(query(Dimension::Project, WhoSpan::Minute, sort), at(now));
        view.rows.into_iter().map(|row| row.value).collect::<Vec<_>>()
    };
    assert_eq!(order(WhoSort::Rate), ["grown", "steady", "refused", "gone"]);
    assert_eq!(order(WhoSort::Change), ["grown", "gone", "steady", "refused"]);
    assert_eq!(order(WhoSort::Refused), ["refused", "grown", "steady", "gone"]);
    assert_eq!(order(WhoSort::Failed), ["refused", "steady", "grown", "gone"]);
}

#[test]
fn a_sample_of_many_events_is_counted_for_all() {
    let who = Who::new(at(0));
    let (seconds, each) = (20, 20_000_u64);
    let mut counted = 0_u64;
    for second in 0..seconds {
        for n in 0..each {
            who.accepted(|| {
                counted += 1;
                // As regular as the sample would be if it were.
                of_project(if n.is_multiple_of(4) { "quarter" } else { "rest" })
            });
        }
        who.take(at(second * 1_000));
    }
    let events = seconds.unsigned_abs() * each;
    assert!(counted < events / 8, "{counted} of {events} were counted");
    let view = by_project(&who, WhoSpan::Minute, seconds * 1_000);
    assert!(view.estimated);
    let off = |counted: u64, exact: u64| (counted as f64 / exact as f64 - 1.0).abs();
    assert!(off(view.total.accepted, events) < 0.1, "{view:?}");
    assert!(off(row(&view, "quarter").counts.accepted, events / 4) < 0.15, "{view:?}");
    // A kind of events that is rare is counted exactly all the same.
    who.refused(|| of_project("rest"));
    assert_eq!(by_project(&who, WhoSpan::Minute, seconds * 1_000).total.refused, 1);
    let quiet = by_project(&who, WhoSpan::Minute, 120_000);
    assert!(!quiet.estimated && quiet.rows.is_empty());
}

#[test]
fn all_memory_is_bounded_however_many_values_there_are() {
    let who = Who::new(at(0));
    let padding = "x".repeat(MAX_VALUE);
    let mut most = 0;
    // Of each second only the first events are all counted, so these are as many values as possible.
    for minute in (0..130_i64).step_by(5) {
        for n in 0..i64::from(ALL_COUNTED) {
            let made_up = format!("{minute}-{n}-{padding}");
            let all = || Traits {
                project: &made_up,
                token: TokenName { id: &made_up, name: Some(&made_up) },
                address: &made_up,
                page: (&*made_up).into(),
                kind: (&*made_up).into(),
                referrer: &made_up,
                country: (&*made_up).into(),
            };
            who.accepted(all);
            who.refused(all);
            who.failed(all);
        }
        who.take(at(minute * MINUTE));
        most = most.max(who.bytes());
        assert!(who.bytes() <= MAX_BYTES, "{}", who.bytes());
        assert!(who.taken().names.len() <= MAX_NAMES);
    }
    assert!(most > MAX_BYTES / 2, "the bound was not tested: {most}");
    let view = by_project(&who, WhoSpan::Hour, 125 * MINUTE);
    assert!(view.seconds() >= 300.0, "the newest stay: {}", view.seconds());
    assert!(view.others.accepted > 0 && view.missing.accepted > 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Against an exact count, over any times, from several threads.
    #[test]
    fn figures_are_those_of_the_span(
        seconds in prop::collection::vec((0_i64..90, 0_usize..60, 0_usize..12), 1..80),
        threads in 1_usize..4,
    ) {
        let who = Who::new(at(0));
        let mut now = 0;
        let mut events: Vec<(i64, String)> = Vec::new();
        for (pause, many, values) in seconds {
            now += pause * 1_000;
            let projects: Vec<_> = (0..many).map(|n| format!("p{}", n % (values + 1))).collect();
            std::thread::scope(|scope| {
                for part in projects.chunks(many.div_ceil(threads).max(1)) {
                    let who = &who;
                    scope.spawn(move || {
                        part.iter().for_each(|project| who.accepted(|| of_project(project)));
                    });
                }
            });
            events.extend(projects.into_iter().map(|project| (now, project)));
            who.take(at(now));
        }
        for span in WhoSpan::ALL {
            let view = by_project(&who, span, now);
            let from = view.from.unwrap().epoch_millis() - NOON;
            prop_assert!(now - from <= span.millis());
            let mut exact: HashMap<&str, u64> = HashMap::new();
            for (_, project) in events.iter().filter(|(at, _)| *at >= from) {
                *exact.entry(project).or_default() += 1;
            }
            prop_assert_eq!(view.total.accepted, exact.values().sum::<u64>());
            prop_assert_eq!((view.missing, view.estimated), (WhoCounts::default(), false));
            let present = || view.rows.iter().filter(|row| row.counts.sum() > 0);
            prop_assert_eq!(present().count(), exact.len());
            for row in present() {
                prop_assert_eq!(Some(&row.counts.accepted), exact.get(&*row.value));
            }
        }
    }
}
