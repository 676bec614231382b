use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::Pane;
use super::*;
use crate::model::filter::Filter;
use crate::model::line_ring::LineRing;
use bklit_wire::debug_log::{DebugLog, Stage};

const HEIGHT: usize = 10;
/// So many that several blocks are kept.
const MAX_LINES: usize = 5 * BLOCK as usize / 2;
const MAX_PROBLEMS: usize = 300;

#[derive(Clone, Debug)]
enum Step {
    /// Lines, and the milliseconds between two of them.
    Lines(usize, i64),
    Level(Level),
    Fold,
    Hide,
    ShowAll,
    Work(usize),
    Up(usize),
    Follow,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..900_usize, prop::sample::select(vec![0, 3, 400, 70_000, -5_000]))
            .prop_map(|(count, apart)| Step::Lines(count, apart)),
        2 => prop::sample::select(Level::ALL.to_vec()).prop_map(Step::Level),
        1 => Just(Step::Fold),
        1 => Just(Step::Hide),
        1 => Just(Step::ShowAll),
        3 => (1..40_usize).prop_map(Step::Work),
        1 => (1..500_usize).prop_map(Step::Up),
        1 => Just(Step::Follow),
    ]
}

struct Log {
    ring: LineRing,
    pane: Pane,
    time: i64,
}

impl Log {
    fn new(slice: u64) -> Self {
        let ring = LineRing::new(MAX_LINES, usize::MAX).with_problems(MAX_PROBLEMS, usize::MAX);
        let mut pane = Pane::default();
        pane.set_slice(slice);
        Self { ring, pane, time: 1_769_860_800_000 }
    }

    fn add(&mut self, count: usize, apart: i64) {
        for _ in 0..count {
            self.time += apart;
            let level = Level::ALL[usize::from(self.ring.next() % 7 == 3) * 2];
            let mut log = DebugLog::new(Stage::Queue, level, "line");
            log.timestamp = UtcMillis::from_epoch_millis(self.time);
            self.ring.push_log(&log);
        }
        self.pane.update(&self.ring, self.ring.next());
    }

    fn take(&mut self, step: &Step) {
        let limit = self.ring.next();
        match *step {
            Step::Lines(count, apart) => self.add(count, apart),
            Step::Level(level) => {
                let filter = Filter { level, ..Filter::default() };
                self.pane.set_filter(filter, &self.ring, limit, HEIGHT);
            }
            Step::Fold => {
                let folds = !self.pane.folds();
                self.pane.set_folds(folds, &self.ring, limit, HEIGHT);
            }
            Step::Hide => {
                self.ring.hide_all();
                self.pane.update(&self.ring, limit);
            }
            Step::ShowAll => {
                self.ring.show_all();
                self.pane.update(&self.ring, limit);
            }
            Step::Work(slices) => {
                (0..slices).for_each(|_| self.pane.work(&self.ring, limit, HEIGHT));
            }
            Step::Up(lines) => {
                self.pane.move_lines(super::super::Direction::Older, lines, HEIGHT);
            }
            Step::Follow => self.pane.follow(),
        }
    }

    /// The counts are those of the lines examined, whatever happened before.
    fn check(&mut self) {
        self.pane.freshen_tally(&self.ring);
        let mut counted = BTreeMap::new();
        self.pane.tally.each(|second, levels| {
            let all: &mut [u64; 3] = counted.entry(second).or_default();
            all.iter_mut().zip(levels).for_each(|(sum, n)| *sum += n);
        });
        let mut expected: BTreeMap<i64, [u64; 3]> = BTreeMap::new();
        for (_, line) in self.ring.lines(self.pane.filtered.low..self.pane.filtered.high) {
            if self.pane.filter.shows(line) {
                expected.entry(second(line.time())).or_default()[line.level() as usize] += 1;
            }
        }
        assert_eq!(counted, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn counts_are_those_of_the_lines_kept(
        slice in prop_oneof![Just(20_000_u64), 1..300_u64],
        steps in prop::collection::vec(any_step(), 1..30),
    ) {
        let mut log = Log::new(slice);
        for step in &steps {
            log.take(step);
            log.check();
        }
        while log.pane.has_work(&log.ring, log.ring.next()) {
            log.take(&Step::Work(1));
        }
        log.check();
        let lines = log.ring.lines(log.ring.first_of(log.pane.filter.level)..log.ring.next());
        let shown = lines.filter(|(_, line)| log.pane.filter.shows(*line)).count() as u64;
        let mut counted = 0;
        log.pane.tally.each(|_, levels| counted += levels.iter().sum::<u64>());
        prop_assert_eq!(counted, shown);
    }
}

#[test]
fn a_time_leads_to_its_first_line_also_among_older_errors() {
    let mut log = Log::new(20_000);
    let began = log.time / 1000;
    log.add(3 * MAX_LINES, 400);
    let go = |log: &mut Log, seconds: Range<i64>| {
        log.pane.go_to_time(&seconds, &log.ring, HEIGHT).then(|| log.pane.cursor_line().unwrap())
    };
    let newest = log.time / 1000;
    let at = go(&mut log, newest - 100..newest - 99).unwrap();
    assert_eq!(second(log.ring.get(at).unwrap().time()), newest - 100);
    assert!(second(log.ring.get(at - 1).unwrap().time()) < newest - 100, "the first one");
    assert!(!log.pane.follows());
    assert_eq!(go(&mut log, began..began + 10), None, "no longer kept");
    log.take(&Step::Level(Level::Error));
    let first = log.ring.first_of(Level::Error);
    assert!(first < log.ring.first());
    let then = second(log.ring.get(first).unwrap().time());
    assert_eq!(go(&mut log, then..then + 1), Some(first));
    log.take(&Step::Fold);
    assert!(go(&mut log, then..then + 60).is_some(), "folded repeats");
}
