use super::*;
use bklit_wire::debug_log::{Level, Stage};

fn log(message: impl Into<String>, stage: Stage, level: Level) -> DebugLog {
    DebugLog::new(stage, level, message.into())
}

fn filled(lines: usize, max_lines: usize, max_bytes: usize) -> LineRing {
    let mut ring = LineRing::new(max_lines, max_bytes);
    fill(&mut ring, lines);
    ring
}

fn fill(ring: &mut LineRing, lines: usize) {
    for _ in 0..lines {
        let i = ring.next() as usize;
        let level = if i.is_multiple_of(10) { Level::Error } else { Level::Info };
        ring.push_log(&log(format!("line {i}"), Stage::ALL[i % 6], level));
    }
}

#[test]
fn numbers_stay_when_old_lines_are_evicted() {
    let ring = filled(5_000, 1_500, usize::MAX);
    assert_eq!((ring.first(), ring.next(), ring.len()), (3_500, 5_000, 1_500));
    assert!(ring.get(3_499).is_none() && ring.get(5_000).is_none());
    for number in [3_500, 4_095, 4_096, 4_999] {
        assert_eq!(ring.get(number).unwrap().message(), format!("line {number}"));
    }
    let seen: Vec<u64> = ring.lines(0..u64::MAX).map(|(number, _)| number).collect();
    assert_eq!(seen, (3_500..5_000).collect::<Vec<_>>());
    assert_eq!(ring.lines(4_000..4_003).count(), 3);
    assert_eq!(ring.lines(10..20).count(), 0);
}

#[test]
fn bytes_are_a_limit_too_and_are_freed() {
    let ring = filled(50_000, usize::MAX, 1 << 20);
    assert!(ring.bytes() <= 1 << 20 && ring.bytes() > (1 << 20) - 100);
    let kept: usize = ring.chunks.iter().map(|chunk| chunk.lines.allocated()).sum();
    let slack = 3 * (lines::MAX_BYTES + lines::MAX_LINES * size_of::<Meta>());
    assert!(kept <= ring.bytes() + slack, "{kept} {}", ring.bytes());
}

#[test]
fn warnings_and_errors_outlive_the_lines_of_their_time() {
    let all = |ring: &LineRing, range| ring.lines(range).map(|(n, _)| n).collect::<Vec<_>>();
    let mut ring = LineRing::new(100, usize::MAX).with_problems(200, usize::MAX);
    fill(&mut ring, 1_000);
    // Every tenth line is an error.
    assert_eq!((ring.first(), ring.first_of(Level::Info)), (900, 900));
    assert_eq!((ring.first_of(Level::Warn), ring.begins(Level::Warn)), (0, None));
    assert!(ring.begins(Level::Info).is_some(), "lines were dropped");
    assert_eq!(all(&ring, 0..42), [0, 10, 20, 30, 40]);
    assert_eq!(all(&ring, 885..903), [890, 900, 901, 902]);
    assert_eq!(ring.get(890).unwrap().message(), "line 890");
    assert!(ring.get(891).is_none() && ring.get(0).is_some());
    fill(&mut ring, 2_000);
    assert_eq!(ring.first_of(Level::Error), 900, "bounded");
    assert!(ring.begins(Level::Warn).is_some());
    assert_eq!(all(&ring, 0..2_900), (900..2_900).step_by(10).collect::<Vec<_>>());

    let mut ring = LineRing::new(10, usize::MAX).with_problems(usize::MAX, 10_000);
    fill(&mut ring, 10_000);
    assert!(ring.problem_bytes() <= 10_000 && ring.problem_bytes() > 9_000);
    let kept = all(&ring, 0..ring.first());
    assert_eq!(kept, (ring.first_of(Level::Warn)..ring.first()).step_by(10).collect::<Vec<_>>());
}

#[test]
fn slices_of_older_warnings_and_errors_reach_all_of_them() {
    let mut ring = LineRing::new(10, usize::MAX).with_problems(usize::MAX, usize::MAX);
    fill(&mut ring, 50_000);
    let count = |range| ring.lines(range).count();
    let (mut low, mut found, mut slices) = (ring.first(), 0, 0);
    while low > 0 {
        let range = ring.older(low - 1..low);
        (found, slices) = (found + count(range.clone()), slices + 1);
        low = range.start;
    }
    assert_eq!(found, 4_999);
    assert!(slices < 50, "{slices}");
    let (mut high, mut found) = (0, 0);
    while high < ring.first() {
        let range = ring.newer(high..high + 1);
        found += count(range.clone());
        high = range.end;
    }
    assert_eq!((high, found), (ring.first(), 4_999));
}

#[test]
fn hidden_lines_can_be_shown_again() {
    let mut ring = LineRing::new(100, usize::MAX).with_problems(100, usize::MAX);
    fill(&mut ring, 200);
    ring.hide_all();
    assert!(ring.is_empty() && ring.has_hidden() && ring.lines(0..u64::MAX).next().is_none());
    assert_eq!(
        (ring.first(), ring.first_of(Level::Warn), ring.begins(Level::Warn)),
        (200, 200, None)
    );
    fill(&mut ring, 30);
    assert_eq!((ring.len(), ring.first()), (30, 200));
    // Of the others 30 were dropped for the new ones, but not the errors among them.
    assert_eq!(ring.show_all(), 70 + 13);
    assert_eq!((ring.len(), ring.first_of(Level::Warn)), (100, 0));
    ring.hide_all();
    fill(&mut ring, 150);
    assert_eq!((ring.len(), ring.first_of(Level::Warn)), (100, 230), "hidden ones stay hidden");
    assert!(ring.has_hidden());
    assert_eq!(ring.show_all(), 23, "the errors");
    assert_eq!(ring.first_of(Level::Warn), 0);
    assert!(!ring.has_hidden());
}

#[test]
fn the_newest_line_is_kept_even_if_it_exceeds_the_limit() {
    let mut ring = filled(10, 10, 1);
    assert_eq!(ring.len(), 1);
    ring.push_log(&log("x".repeat(10_000), Stage::Queue, Level::Info));
    assert_eq!(ring.get(10).unwrap().message().len(), 10_000);
}
