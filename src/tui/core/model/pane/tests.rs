use super::*;
use crate::model::filter::StageSet;
use crate::model::query::Purpose;
use bklit_wire::debug_log::{DebugLog, Level, Stage};

const HEIGHT: usize = 10;

fn add(ring: &mut LineRing, lines: usize) {
    for _ in 0..lines {
        let number = ring.next() as usize;
        let level = if number % 50 == 7 { Level::Error } else { Level::Info };
        let message = format!("line {number}");
        ring.push_log(&DebugLog::new(Stage::ALL[number % 6], level, message));
    }
}

fn with_lines(lines: usize, max_lines: usize) -> (LineRing, Pane) {
    let mut ring = LineRing::new(max_lines, usize::MAX);
    add(&mut ring, lines);
    let mut pane = Pane::default();
    pane.update(&ring, ring.next());
    (ring, pane)
}

fn query(source: &str) -> Option<Query> {
    Query::parse(source, Purpose::Search).unwrap()
}

/// Repeats a jump until it is over.
fn jump(pane: &mut Pane, wanted: Wanted, direction: Direction, ring: &LineRing) -> Jump {
    let Some(mut seek) = pane.seek(wanted, direction) else { return Jump::Nowhere };
    let mut last = 0;
    loop {
        let done = seek.progress(ring.first(), ring.next());
        assert!(done >= last, "{done} after {last}");
        last = done;
        if let Some(jump) = pane.seek_on(&mut seek, ring, ring.next(), HEIGHT) {
            return jump;
        }
    }
}

fn top(pane: &Pane) -> u64 {
    pane.index()[pane.window(HEIGHT).range.start]
}

#[test]
fn following_shows_the_newest_and_scrolling_stops_it() {
    let (mut ring, mut pane) = with_lines(100, 1_000);
    assert_eq!(top(&pane), 90);
    add(&mut ring, 5);
    pane.update(&ring, ring.next());
    assert_eq!((top(&pane), pane.cursor_line()), (95, Some(104)));
    pane.move_lines(Direction::Older, 1, HEIGHT);
    assert!(!pane.follows());
    assert_eq!((top(&pane), pane.cursor_line()), (95, Some(103)));
    pane.move_view(Direction::Older, HEIGHT, HEIGHT);
    assert_eq!((top(&pane), pane.cursor_line()), (85, Some(93)));
    pane.follow();
    assert_eq!(top(&pane), 95);
}

/// Regression seen in other consoles: a view that does not follow moves when old lines are dropped.
#[test]
fn a_view_that_does_not_follow_stays_while_lines_come_and_go() {
    let (mut ring, mut pane) = with_lines(100, 100);
    pane.move_view(Direction::Older, 20, HEIGHT);
    let before = (top(&pane), pane.cursor_line());
    for _ in 0..60 {
        add(&mut ring, 1);
        pane.update(&ring, ring.next());
        assert_eq!((top(&pane), pane.cursor_line()), before);
    }
    add(&mut ring, 60);
    pane.update(&ring, ring.next());
    assert_eq!(top(&pane), ring.first(), "what it showed is gone: it shows the oldest");
}

/// The same at the end of the log, where the view is not full.
#[test]
fn a_view_at_the_end_that_does_not_follow_stays_too() {
    let (mut ring, mut pane) = with_lines(100, 1_000);
    pane.move_lines(Direction::Older, 30, HEIGHT);
    pane.move_lines(Direction::Newer, 100, HEIGHT);
    let before = (top(&pane), pane.cursor_line());
    assert_eq!(before, (90, Some(99)));
    add(&mut ring, 7);
    pane.update(&ring, ring.next());
    assert_eq!((top(&pane), pane.cursor_line()), before);
}

/// Regression seen in other consoles: changing the filter while scrolled shows nothing.
#[test]
fn changing_the_filter_keeps_the_position() {
    let (ring, mut pane) = with_lines(600, 1_000);
    pane.move_view(Direction::Older, 300, HEIGHT);
    let before = (pane.cursor_line(), pane.window(HEIGHT));
    let queue = Filter { stages: StageSet::only(Stage::Queue), ..Filter::default() };
    pane.set_filter(queue, &ring, ring.next(), HEIGHT);
    assert_eq!(pane.index().len(), 100);
    let line = pane.cursor_line().unwrap();
    assert!(line.abs_diff(before.0.unwrap()) <= 3, "{line}");
    assert_eq!(pane.window(HEIGHT).range.len(), HEIGHT);
    pane.set_filter(Filter::default(), &ring, ring.next(), HEIGHT);
    assert_eq!((pane.cursor_line(), pane.window(HEIGHT)), before);
}

#[test]
fn a_limit_holds_lines_back() {
    let (mut ring, mut pane) = with_lines(20, 25);
    let limit = ring.next();
    add(&mut ring, 10);
    pane.update(&ring, limit);
    assert_eq!((pane.index().front(), pane.index().back()), (Some(&5), Some(&19)));
    pane.update(&ring, ring.next());
    assert_eq!(pane.index().back(), Some(&29));
    assert_eq!(pane.index().len(), 25);
}

#[test]
fn a_search_finds_wraps_and_stays_current() {
    let (mut ring, mut pane) = with_lines(100, 100);
    pane.set_search(query("\"line 4\""), &ring, ring.next(), HEIGHT);
    assert_eq!(pane.found().len(), 11);
    pane.reveal_found(HEIGHT);
    assert_eq!(pane.cursor_line(), Some(49));
    assert_eq!(jump(&mut pane, Wanted::Found, Direction::Newer, &ring), Jump::Wrapped);
    assert_eq!((pane.cursor_line(), pane.found_place()), (Some(4), Some(0)));
    assert_eq!(jump(&mut pane, Wanted::Found, Direction::Newer, &ring), Jump::Done);
    assert_eq!(pane.cursor_line(), Some(40));
    add(&mut ring, 41);
    pane.update(&ring, ring.next());
    assert_eq!(pane.found().iter().copied().collect::<Vec<_>>(), (41..50).collect::<Vec<_>>());
    pane.set_search(None, &ring, ring.next(), HEIGHT);
    assert_eq!(jump(&mut pane, Wanted::Found, Direction::Older, &ring), Jump::Nowhere);
}

#[test]
fn jumps_by_level_work_in_both_directions() {
    let (ring, mut pane) = with_lines(120, 1_000);
    let next = |pane: &mut Pane, direction| {
        (jump(pane, Wanted::Level(Level::Error), direction, &ring), pane.cursor_line())
    };
    assert_eq!(next(&mut pane, Direction::Older), (Jump::Done, Some(107)));
    assert_eq!(next(&mut pane, Direction::Older), (Jump::Done, Some(57)));
    assert_eq!(next(&mut pane, Direction::Newer), (Jump::Done, Some(107)));
    assert_eq!(next(&mut pane, Direction::Newer), (Jump::Nowhere, Some(107)));
}

#[test]
fn a_resize_keeps_the_line_on_the_screen() {
    let (_, mut pane) = with_lines(100, 1_000);
    pane.move_lines(Direction::Older, 1, HEIGHT);
    for height in [3, 1, 50, 200, 0, 10] {
        pane.settle(height);
        let window = pane.window(height);
        assert_eq!(pane.cursor_line(), Some(98));
        assert!(height == 0 || window.range.contains(&98), "{height}: {window:?}");
    }
}

#[test]
fn a_filter_over_many_lines_starts_at_the_reader_and_covers_all() {
    for up in [0, 300, 4_000] {
        let (mut ring, mut pane) = with_lines(5_000, 10_000);
        let at_once: Vec<_> = (0..5_000).filter(|number| number % 50 == 7).collect();
        pane.move_view(Direction::Older, up, HEIGHT);
        pane.set_slice(100);
        let line = pane.cursor_line().unwrap();
        let errors = Filter { level: Level::Error, ..Filter::default() };
        pane.set_filter(errors, &ring, ring.next(), HEIGHT);
        assert!(pane.has_work(&ring, ring.next()) && pane.index().len() < 10);
        assert!(pane.cursor_line().unwrap().abs_diff(line) <= 50, "{up}");
        pane.set_search(query("line"), &ring, ring.next(), HEIGHT);
        let mut last = 0;
        while let Some(done) = pane.progress(&ring, ring.next()) {
            assert!(done >= last, "{done} after {last}");
            last = done;
            // New lines arrive meanwhile.
            if ring.next() < 5_040 {
                add(&mut ring, 1);
                pane.update(&ring, ring.next());
            }
            pane.work(&ring, ring.next(), HEIGHT);
            if up > 0 {
                assert!(pane.cursor_line().unwrap().abs_diff(line) <= 50, "{up}");
            }
        }
        assert!(last > 90);
        let shown: Vec<u64> = pane.index().iter().copied().filter(|&n| n < 5_000).collect();
        assert_eq!(shown, at_once);
        assert_eq!(pane.index(), pane.found());
    }
}

#[test]
fn many_lines_at_once_are_taken_in_slices_the_newest_first() {
    let (mut ring, mut pane) = with_lines(100, 10_000);
    pane.set_slice(100);
    add(&mut ring, 1_000);
    pane.update(&ring, ring.next());
    pane.work(&ring, ring.next(), HEIGHT);
    assert_eq!((pane.index().front(), pane.index().back()), (Some(&1_000), Some(&1_099)));
    while pane.has_work(&ring, ring.next()) {
        pane.work(&ring, ring.next(), HEIGHT);
    }
    assert!(pane.index().iter().copied().eq(0..1_100));
}

#[test]
fn repeats_fold_into_their_newest_line() {
    let mut ring = LineRing::new(10_000, usize::MAX);
    for number in 0..300 {
        let message = if number % 100 < 60 { "same" } else { "other" };
        ring.push_log(&DebugLog::new(Stage::Queue, Level::Info, message));
    }
    let mut pane = Pane::default();
    pane.set_slice(7);
    pane.update(&ring, 150);
    pane.set_folds(true, &ring, 150, HEIGHT);
    while pane.has_work(&ring, 300) {
        pane.work(&ring, 300, HEIGHT);
        pane.update(&ring, 300);
    }
    assert!(pane.index().iter().copied().eq([59, 99, 159, 199, 259, 299]));
    let repeats: Vec<_> = (0..6).map(|place| pane.repeats(place)).collect();
    assert_eq!(repeats, [60, 40, 60, 40, 60, 40]);
    pane.set_folds(false, &ring, 300, HEIGHT);
    while pane.has_work(&ring, 300) {
        pane.work(&ring, 300, HEIGHT);
    }
    assert_eq!((pane.index().len(), pane.repeats(0)), (300, 1));
}

/// A jump gives the same result for any slice size and any lines examined before.
#[test]
fn jumps_in_slices_end_at_the_same_line() {
    let errors = || Wanted::Level(Level::Error);
    for folds in [false, true] {
        for (slice, up) in [(1, 40), (7, 2_000), (100, 0), (100, 4_990)] {
            let (ring, mut at_once) = with_lines(5_000, 10_000);
            at_once.set_folds(folds, &ring, ring.next(), HEIGHT);
            at_once.set_search(query("\"line 33\""), &ring, ring.next(), HEIGHT);
            at_once.move_view(Direction::Older, up, HEIGHT);
            for wanted in [errors(), Wanted::Found, Wanted::Level(Level::Info)] {
                for direction in [Direction::Older, Direction::Newer] {
                    let mut whole = at_once.clone();
                    let mut sliced = at_once.clone();
                    sliced.set_slice(slice);
                    // Starts to filter and search again, and is far from done.
                    sliced.set_search(query("\"line 33\""), &ring, ring.next(), HEIGHT);
                    sliced.set_filter(Filter::default(), &ring, ring.next(), HEIGHT);
                    sliced.work(&ring, ring.next(), HEIGHT);
                    let expected = jump(&mut whole, wanted.clone(), direction, &ring);
                    let ended = jump(&mut sliced, wanted.clone(), direction, &ring);
                    let case = format!("{wanted:?} {direction:?} slice {slice} up {up} {folds}");
                    assert_eq!(ended, expected, "{case}");
                    assert_eq!(sliced.cursor_line(), whole.cursor_line(), "{case}");
                }
            }
        }
    }
}

#[test]
fn a_jump_examines_one_slice_at_a_time_and_survives_eviction() {
    let (mut ring, mut pane) = with_lines(5_000, 5_000);
    pane.set_slice(100);
    let mut seek = pane.seek(Wanted::Event("nowhere".into()), Direction::Older).unwrap();
    let mut turns = 0;
    while pane.seek_on(&mut seek, &ring, ring.next(), HEIGHT).is_none() {
        turns += 1;
        add(&mut ring, 20);
        pane.update(&ring, ring.next());
    }
    // 120 lines per turn, 20 of which the ring drops immediately.
    assert!((40..50).contains(&turns), "{turns}");
    assert!(pane.follows(), "nothing was found: the reader stays");
}
