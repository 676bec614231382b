//! The console's invariants hold for any messages in any order.

use std::sync::Arc;

use bklit_console_core::bulk::{BulkReport, End, Progress};
use bklit_console_core::keymap::BINDINGS;
use bklit_console_core::model::grouping::MAX_GROUPS;
use bklit_console_core::model::layout::columns::Columns;
use bklit_console_core::model::pane::Pane;
use bklit_console_core::model::panels::{MAX_FAILED, QueueList};
use bklit_console_core::model::panes::MAX_PANES;
use bklit_console_core::model::{Flow, Focus, ModelOptions, Screen};
use bklit_console_core::msg::{Msg, Report};
use bklit_console_core::playback::{ReplayState, Replayed};
use bklit_console_core::requests::Answer;
use bklit_wire::backend::Change;
use bklit_wire::debug_bus::DebugMessage;
use bklit_wire::debug_log::{Level, Stage};
use bklit_wire::gauges::Gauges;
use bklit_wire::text;
use bklit_wire::time::UtcMillis;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEventKind};
use proptest::prelude::*;
use serde_json::json;

use super::feed::{Console, NOON, busy, gauges, log, options};
use super::views;

const MAX_LINES: usize = 150;
const MAX_PROBLEM_LINES: usize = 40;
const MAX_BYTES: usize = 20_000;

pub(super) fn small() -> ModelOptions {
    let (max_problem_lines, max_problem_bytes) = (MAX_PROBLEM_LINES, MAX_BYTES);
    let (max_lines, max_bytes) = (MAX_LINES, MAX_BYTES);
    let options = options((80, 24));
    ModelOptions { max_lines, max_bytes, max_problem_lines, max_problem_bytes, ..options }
}

#[derive(Clone, Debug)]
enum Step {
    Key(KeyCode, KeyModifiers),
    Paste(String),
    Resize(u16, u16),
    Lines(usize, String),
    Unparsed(String),
    Gauges(u64),
    Lost(u64),
    Link(Option<String>),
    Tick(i64),
    Queue(usize, String),
    Live(usize),
    Changed(Option<u64>, String),
    Work,
    Mouse(MouseEventKind, u16, u16),
    Report(Report),
    Replay(Vec<Replayed>),
    Command(&'static str),
}

/// Commands of the palette, valid and invalid.
const COMMANDS: [&str; 24] = [
    "since 1m",
    "since off",
    "filter stage:queue a",
    "filter",
    "search b",
    "level warn",
    "level info",
    "project default",
    "project all",
    "export x.jsonl",
    "record f",
    "record off",
    "notify level:error",
    "save a",
    "load a",
    "theme mono",
    "set fold on",
    "set mouse on",
    "set wrap on",
    "timeline",
    "help",
    "problems",
    "session a",
    "no such",
];

fn any_mouse() -> impl Strategy<Value = Step> {
    let kinds = [
        MouseEventKind::Down(MouseButton::Left),
        MouseEventKind::Down(MouseButton::Left),
        MouseEventKind::ScrollUp,
        MouseEventKind::ScrollDown,
        MouseEventKind::Down(MouseButton::Right),
        MouseEventKind::Moved,
    ];
    // Mostly on the screen.
    let place = prop_oneof![4 => (0..90_u16, 0..30_u16), 1 => any::<(u16, u16)>()];
    (prop::sample::select(kinds.to_vec()), place).prop_map(|(kind, (x, y))| Step::Mouse(kind, x, y))
}

fn any_report() -> impl Strategy<Value = Report> {
    prop_oneof![
        Just(Report::PieceWritten),
        any::<Result<String, String>>().prop_map(Report::Exported),
        any::<String>().prop_map(Report::RecordBegan),
        any::<(u64, u64)>().prop_map(|(bytes, lost)| Report::Recorded { bytes, lost }),
        any::<String>().prop_map(Report::RecordEnded),
        any::<(String, Vec<String>)>().prop_map(|(dir, names)| Report::Files { dir, names }),
        any::<String>().prop_map(Report::Notice),
        any_bulk_report().prop_map(Report::Bulk),
        any::<Result<String, String>>().prop_map(Report::Edited),
    ]
}

fn any_bulk_report() -> impl Strategy<Value = BulkReport> {
    let end = prop_oneof![
        any::<Option<String>>().prop_map(End::Done),
        Just(End::Stopped),
        any::<String>().prop_map(End::Failed),
    ];
    let progress = any::<[u64; 4]>();
    (progress, prop::option::of(end)).prop_map(|([seen, chosen, done, invalid], end)| BulkReport {
        progress: Progress { seen, chosen, done, invalid },
        end,
    })
}

fn any_replayed() -> impl Strategy<Value = Replayed> {
    let time = || (-1_000..1_000_i64).prop_map(|s| UtcMillis::from_epoch_millis((NOON + s) * 1000));
    let state = (time(), time(), time(), 0..9_usize, any::<[bool; 3]>(), any::<(u64, String)>());
    prop_oneof![
        Just(Replayed::Reset),
        time().prop_map(Replayed::Clock),
        (1..20_usize, any::<String>()).prop_map(|(count, text)| {
            let line = |nth| log(nth, Stage::ALL[nth % 6], Level::ALL[nth % 3], &text, &json!({}));
            Replayed::Feed((0..count).map(|nth| DebugMessage::Log(Arc::new(line(nth)))).collect())
        }),
        state.prop_map(|(start, end, at, speed, [paused, seeking, ended], (unreadable, why))| {
            let first_unreadable = (unreadable % 2 == 1).then_some((unreadable, why));
            Replayed::State(ReplayState {
                start,
                end,
                at,
                speed,
                paused,
                seeking,
                ended,
                unreadable,
                first_unreadable,
            })
        }),
    ]
}

fn any_key() -> impl Strategy<Value = Step> {
    let bound: Vec<_> = BINDINGS.iter().flat_map(|binding| binding.keys).collect();
    let codes = vec![
        KeyCode::Backspace,
        KeyCode::Delete,
        KeyCode::Tab,
        KeyCode::Insert,
        KeyCode::F(5),
        KeyCode::Null,
    ];
    prop_oneof![
        // Every key of the table, and others.
        8 => prop::sample::select(bound).prop_map(|key| {
            let event = key.event();
            Step::Key(event.code, event.modifiers)
        }),
        2 => prop::sample::select("ab(.*[!^$|?\\stored".chars().collect::<Vec<_>>())
            .prop_map(|c| Step::Key(KeyCode::Char(c), KeyModifiers::NONE)),
        1 => prop::sample::select(codes).prop_map(|code| Step::Key(code, KeyModifiers::NONE)),
        1 => (any::<char>(), any::<u8>())
            .prop_map(|(c, bits)| {
                Step::Key(KeyCode::Char(c), KeyModifiers::from_bits_truncate(bits))
            }),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => any_key(),
        1 => any::<String>().prop_map(Step::Paste),
        2 => (1..=250_u16, 1..=80_u16).prop_map(|(width, height)| Step::Resize(width, height)),
        4 => (0..60_usize, any::<String>()).prop_map(|(n, text)| Step::Lines(n, text)),
        1 => any::<String>().prop_map(Step::Unparsed),
        1 => any::<u64>().prop_map(Step::Gauges),
        1 => any::<u64>().prop_map(Step::Lost),
        1 => any::<Option<String>>().prop_map(Step::Link),
        2 => (-100..100_i64).prop_map(Step::Tick),
        3 => Just(Step::Work),
        2 => (0..130_usize, any::<String>()).prop_map(|(n, text)| Step::Queue(n, text)),
        1 => (0..130_usize).prop_map(Step::Live),
        1 => (any::<Option<u64>>(), any::<String>()).prop_map(|(n, why)| Step::Changed(n, why)),
        5 => any_mouse(),
        2 => any_report().prop_map(Step::Report),
        1 => prop::collection::vec(any_replayed(), 1..4).prop_map(Step::Replay),
        3 => prop::sample::select(COMMANDS.to_vec()).prop_map(Step::Command),
    ]
}

/// Feeds lines of all stages and levels.
pub(super) fn lines(console: &mut Console, n: usize, text: &str) {
    let first = console.model.ring().next() as usize;
    let line = |i: usize| {
        let (stage, level) = (Stage::ALL[i % 6], Level::ALL[i % 3]);
        let mut line = log(i, stage, level, text, &json!({ text: i, "t": text }));
        line.event_id = i.is_multiple_of(2).then(|| text.to_owned());
        line.duration = (!i.is_multiple_of(5)).then_some(i as f64 * 1e3);
        line
    };
    console.logs((first..first + n).map(line).collect());
}

fn take(console: &mut Console, step: Step) {
    match step {
        Step::Key(code, modifiers) => {
            console.send(Msg::Key(KeyEvent::new(code, modifiers)));
        }
        Step::Paste(text) => {
            console.send(Msg::Paste(text));
        }
        Step::Resize(width, height) => console.resize(width, height),
        Step::Lines(n, text) => lines(console, n, &text),
        Step::Unparsed(line) => console.feed(vec![DebugMessage::Unparsed(line.into())]),
        Step::Gauges(n) => {
            let process = (n % 3).to_string();
            let mut figures = Gauges { process, accepted: n, ..gauges(n % 50) };
            if n % 4 == 0 {
                let absurd = format!("[[{n},{}],[{},{n}]]", u64::MAX, u64::MAX);
                figures.stages[0].latencies = serde_json::from_str(&absurd).unwrap();
                figures.stages[0].count = u64::MAX;
            }
            console.feed(vec![DebugMessage::Gauges(Arc::new(figures))]);
        }
        Step::Lost(n) => console.feed(vec![DebugMessage::Lost(n)]),
        Step::Link(None) => console.feed(vec![DebugMessage::Connected]),
        Step::Link(Some(why)) => console.feed(vec![DebugMessage::Disconnected(why.into())]),
        Step::Tick(seconds) => {
            console.tick(seconds);
        }
        Step::Work => {
            console.send(Msg::Work);
        }
        Step::Mouse(kind, x, y) => {
            super::mouse::mouse(console, kind, (x, y));
        }
        Step::Report(report) => {
            console.send(Msg::Report(report));
        }
        Step::Replay(replayed) => {
            console.send(Msg::Replay(replayed));
        }
        Step::Command(command) => {
            console.keys(":");
            if let Focus::Palette(_) = console.model.focus() {
                console.keys(command);
                console.code(KeyCode::Enter);
            }
        }
        Step::Queue(0, why) => answer(console, Answer::Queue(Err(why))),
        Step::Queue(count, text) => {
            let mut found = views::snapshot(count - 1);
            for (nth, item) in found.failed.iter_mut().enumerate().step_by(2) {
                item.id = format!("{}", nth + text.len());
                (item.body, item.reason) = (text.clone(), text.clone());
                item.event.project_id = Some(text.clone());
            }
            answer(console, Answer::Queue(Ok(found)));
        }
        Step::Live(0) => answer(console, Answer::Live(Err("away".into()))),
        Step::Live(count) => answer(console, Answer::Live(Ok(views::live_view(count - 1)))),
        Step::Changed(count, why) => {
            answer(console, Answer::Changed(Change::Delete, count.ok_or(why)));
        }
    }
}

fn answer(console: &mut Console, answer: Answer) {
    console.send(Msg::Answer(answer));
}

/// The invariants.
fn check(console: &Console) {
    let (model, ring) = (&console.model, console.model.ring());
    assert!(ring.len() <= MAX_LINES);
    assert!(ring.bytes() <= MAX_BYTES || ring.next() - ring.first() <= 1);
    assert!(ring.problem_bytes() <= MAX_BYTES);
    let older = ring.lines(0..ring.first());
    assert!(
        older.map(|(_, line)| assert!(line.level() > Level::Info)).count() <= MAX_PROBLEM_LINES
    );
    assert!((1..=MAX_PANES).contains(&model.panes().count()));
    assert!(model.panes().focus() < model.panes().count());
    for nth in 0..model.panes().count() {
        let size = (model.pane_width(nth), model.pane_height(nth));
        check_pane(console, model.panes().get(nth), size.1);
        check_rows(console, model.panes().get(nth), size);
    }
    check_boards(console);
    if model.seek().is_some() {
        assert!(model.has_work() && matches!(model.screen(), Screen::Log(_)));
    }
    for (_, line) in ring.lines(0..u64::MAX) {
        assert!(line.text().split('\n').all(text::is_safe));
    }
    for cell in console.buffer().content() {
        assert!(text::is_safe(cell.symbol()), "{:?}", cell.symbol());
    }
}

fn check_boards(console: &Console) {
    let (model, panels) = (&console.model, console.model.panels());
    let problems = &panels.problems;
    assert!(problems.groups().len() <= MAX_GROUPS);
    assert_eq!(problems.selected().is_some(), !problems.rows().is_empty());
    if let Screen::Session(session) = model.screen() {
        assert!(session.rows().iter().is_sorted_by_key(|row| (row.at, row.number)));
        assert_eq!(session.selected_row().is_some(), !session.rows().is_empty());
    }
    let queue = &panels.queue;
    assert!(queue.count() <= queue.all().len());
    // While the keys move among the batches, no failed event is selected.
    let among_failed = queue.list() == QueueList::Failed;
    assert_eq!(queue.selected_item().is_some(), among_failed && queue.count() > 0);
    assert!(queue.shown(0).count() == queue.count() && queue.wanted <= MAX_FAILED);
    assert_eq!(panels.verify.selected_line().is_some(), panels.verify.count() > 0);
    if let Focus::Prompt(prompt) = model.focus() {
        assert!(prompt.input.value().chars().all(text::is_visible));
        let screen = model.screen();
        let has_prompts = matches!(
            screen,
            Screen::Queue(_) | Screen::Failed(_) | Screen::Edit(_) | Screen::Help(_)
        );
        assert!(has_prompts || matches!(screen, Screen::Problems(_)));
    }
}

fn check_pane(console: &Console, pane: &Pane, height: usize) {
    let (model, ring) = (&console.model, console.model.ring());
    for numbers in [pane.index(), pane.found()] {
        assert!(numbers.iter().is_sorted_by(|a, b| a < b));
        assert!(numbers.iter().all(|&number| ring.get(number).is_some()));
    }
    let limit = match model.flow() {
        Flow::Live => ring.next(),
        Flow::Paused { since, .. } => since,
    };
    // The index contains exactly the lines that the filter shows.
    let first = ring.first_of(pane.filter().level);
    let shown = ring.lines(first..limit).filter(|(_, line)| pane.filter().shows(*line));
    let shown: Vec<_> = shown.map(|(number, _)| number).collect();
    assert!(pane.index().iter().all(|number| shown.binary_search(number).is_ok()));
    let has_work = pane.has_work(ring, limit);
    assert!(has_work || pane.folds() || pane.index().iter().eq(&shown));
    if pane.folds() && !has_work {
        let stands_for: usize = (0..pane.index().len()).map(|i| pane.repeats(i) as usize).sum();
        assert!(stands_for >= shown.len(), "{stands_for} of {}", shown.len());
    }
    let found = pane.index().iter().copied().filter(|&number| {
        let line = ring.get(number).unwrap();
        pane.search().is_some_and(|search| search.matches(line))
    });
    let found: Vec<_> = found.collect();
    assert!(pane.found().iter().all(|number| found.binary_search(number).is_ok()));
    assert!(has_work || pane.found().iter().eq(&found));
    let window = pane.window(height);
    assert!(window.range.end <= pane.index().len());
    assert_eq!(window.cursor.is_some(), !pane.index().is_empty());
    assert!(window.cursor.is_none_or(|cursor| window.range.contains(&cursor)));
}

/// Each row belongs to one line, and the rows fill the pane.
fn check_rows(console: &Console, pane: &Pane, (width, height): (usize, usize)) {
    let window = pane.window(height);
    let places = || window.range.clone();
    let rows: usize = places().map(|place| pane.rows(place)).sum();
    let shown = rows - window.skip;
    let is_whole = window.range == (0..pane.index().len()) && window.skip == 0;
    assert!(shown >= height || is_whole, "{window:?} has {shown} of {height} rows");
    let last = places().next_back().map_or(0, |last| pane.rows(last));
    assert!(shown < height + last.max(1), "{window:?} has {shown} of {height} rows");
    let body = Columns::of(width, pane.folds()).body;
    let mut row = 0;
    for place in places() {
        let number = pane.index()[place];
        let line = console.model.ring().get(number).unwrap();
        let expected =
            if pane.wraps() { line.body_height(body, pane.most_rows(height)) } else { 1 };
        assert_eq!(pane.rows(place), expected, "the rows of line {number}");
        if window.cursor == Some(place) {
            assert_eq!(window.row + window.skip, row);
            assert!(window.row + expected <= height.max(1), "the reader's line is visible");
        }
        for nth in row..row + expected {
            if let Some(at) = nth.checked_sub(window.skip).filter(|&at| at < height) {
                assert_eq!(pane.number_at(at, height), Some(number));
            }
        }
        row += expected;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_keeps_the_invariants(
        slice in prop_oneof![Just(20_000), 1..40_u64],
        mouse in any::<bool>(),
        steps in prop::collection::vec(any_step(), 1..50),
    ) {
        let mut options = small();
        options.shell.mouse = mouse;
        let mut console = Console::with(options);
        console.model.set_slice(slice);
        for step in steps {
            take(&mut console, step);
            check(&console);
        }
        // Work terminates, and then nothing is missing.
        for _ in 0..20 * MAX_LINES {
            if !console.model.has_work() {
                break;
            }
            console.send(Msg::Work);
        }
        prop_assert!(!console.model.has_work());
        check(&console);
    }

    /// Scrolled up, the visible rows stay the same as lines arrive, until they are evicted.
    #[test]
    fn the_visible_lines_do_not_move(
        up in 1..60_usize,
        wraps in any::<bool>(),
        batches in prop::collection::vec(1..20_usize, 1..12),
    ) {
        let mut console = Console::with(small());
        take(&mut console, Step::Lines(100, "reading".into()));
        console.keys(if wraps { "L" } else { "" });
        (0..up).for_each(|_| { console.keys("k"); });
        for lines in batches {
            let before = console.log_rows();
            let top = console.model.pane().window(console.model.log_height()).range.start;
            let top = console.model.pane().index()[top];
            take(&mut console, Step::Lines(lines, "coming".into()));
            if console.model.ring().first() <= top {
                prop_assert_eq!(console.log_rows(), before);
            }
        }
    }

    /// Typing into a field has no other effect.
    #[test]
    fn a_text_field_takes_every_letter(typed in "[ -~]{1,40}") {
        for open in ["/", "&"] {
            let mut console = Console::with(small());
            console.keys(open);
            prop_assert_eq!(console.keys(&typed), None);
            let Focus::Field(field) = console.model.focus() else { panic!("the field closed") };
            prop_assert_eq!(field.input.value(), &typed);
        }
    }
}

#[test]
fn any_size_can_be_drawn() {
    for keys in ["", " ", "?", "/checkout", "&(", "k"] {
        let mut console = busy(80, 24);
        console.keys(keys);
        let sizes = (1..=250_u16).step_by(7).zip((1..=80_u16).cycle().step_by(3));
        let tight = [(60, 15), (59, 80), (250, 14), (250, 80), (61, 23), (109, 24), (110, 24)];
        for (width, height) in sizes.chain(tight) {
            console.resize(width, height);
            let screen = console.screen();
            assert_eq!(screen.lines().count(), usize::from(height));
            assert!(screen.lines().all(|row| text::width(row) <= usize::from(width)), "{screen}");
        }
    }
}

/// Found by the property above.
#[test]
fn a_mark_without_its_letter_cannot_be_typed() {
    let mut console = Console::with(small());
    console.keys("/");
    console.send(Msg::Paste("a\u{d4e}¡".to_owned()));
    check(&console);
    assert!(console.screen().contains("a¡"), "{}", console.screen());
}
