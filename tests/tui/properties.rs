//! Whatever comes in whatever order, the console keeps its promises; and the bugs that other
//! consoles had, one test each.

use std::sync::Arc;

use bklit_tui::pipeline::bus::DebugMessage;
use bklit_tui::pipeline::debug_log::{DebugLog, Level, Stage};
use bklit_tui::pipeline::gauges::Gauges;
use bklit_tui::tui::keymap::{Action, BINDINGS, Context};
use bklit_tui::tui::model::{Flow, Focus, ModelOptions, Screen};
use bklit_tui::tui::msg::{Effect, Msg};
use bklit_tui::tui::text;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use proptest::prelude::*;
use serde_json::json;

use super::feed::{Console, busy, curl, gauges, log, options, traffic};

const MAX_LINES: usize = 150;
const MAX_BYTES: usize = 20_000;

fn small() -> ModelOptions {
    ModelOptions { max_lines: MAX_LINES, max_bytes: MAX_BYTES, ..options((80, 24)) }
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
    ]
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
        Step::Lines(n, text) => {
            let first = console.model.ring().next() as usize;
            let line = |i: usize| {
                let level = Level::ALL[i % 3];
                let mut line =
                    log(i, Stage::ALL[i % 6], level, &text, &json!({ &text: i, "t": text }));
                line.event_id = (i.is_multiple_of(2)).then(|| text.clone());
                line.duration = (!i.is_multiple_of(5)).then_some(i as f64 * 1e3);
                line
            };
            console.logs((first..first + n).map(line).collect());
        }
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
        Step::Tick(seconds) => console.tick(seconds),
    }
}

/// What must hold whatever happened.
fn check(console: &Console) {
    let model = &console.model;
    let (ring, pane) = (model.ring(), model.pane());
    assert!(ring.len() <= MAX_LINES);
    assert!(ring.bytes() <= MAX_BYTES || ring.len() == 1);
    for numbers in [pane.index(), pane.found()] {
        assert!(numbers.iter().is_sorted_by(|a, b| a < b));
        assert!(numbers.iter().all(|&number| ring.get(number).is_some()));
    }
    let limit = match model.flow() {
        Flow::Live => ring.next(),
        Flow::Paused { since, .. } => since,
    };
    // The index is just what the filter shows, however it came about.
    let shown = ring.lines(0..limit).filter(|(_, line)| pane.filter().shows(*line));
    assert!(shown.map(|(number, _)| number).eq(pane.index().iter().copied()));
    let found = pane.index().iter().copied().filter(|&number| {
        let line = ring.get(number).unwrap();
        pane.search().is_some_and(|search| search.matches(line))
    });
    assert!(found.eq(pane.found().iter().copied()));
    let height = model.log_height();
    let window = pane.window(height);
    assert!(window.range.end <= pane.index().len());
    assert_eq!(window.range.len(), height.min(pane.index().len()));
    assert_eq!(window.cursor.is_some(), !pane.index().is_empty());
    assert!(window.cursor.is_none_or(|cursor| window.range.contains(&cursor)));
    for (_, line) in ring.lines(0..u64::MAX) {
        assert!(line.text().split('\n').all(text::is_safe));
    }
    for cell in console.buffer().content() {
        assert!(text::is_safe(cell.symbol()), "{:?}", cell.symbol());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_keeps_the_invariants(steps in prop::collection::vec(any_step(), 1..50)) {
        let mut console = Console::with(small());
        for step in steps {
            take(&mut console, step);
            check(&console);
        }
    }

    /// A reader who has scrolled away sees the same rows while lines come, until they are gone.
    #[test]
    fn what_is_being_read_does_not_move(
        up in 1..60_usize,
        batches in prop::collection::vec(1..20_usize, 1..12),
    ) {
        let mut console = Console::with(small());
        take(&mut console, Step::Lines(100, "reading".into()));
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

    /// Typing anything into a field never does anything but type.
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

#[test]
fn every_key_of_the_table_does_something() {
    for binding in BINDINGS {
        for &context in binding.contexts {
            for key in binding.keys {
                let mut console = busy(80, 24);
                console.keys("/a");
                console.code(KeyCode::Enter);
                prepare(&mut console, context, binding.action);
                assert_eq!(console.model.context(), context);
                let before = (console.screen(), format!("{:?}", console.model.pane().position()));
                let effect = console.send(Msg::Key(key.event()));
                let after = (console.screen(), format!("{:?}", console.model.pane().position()));
                assert!(
                    effect.is_some() || before != after,
                    "{} does nothing in {context:?}",
                    key.label()
                );
            }
        }
    }
}

/// Brings the console to where an action has something to do.
fn prepare(console: &mut Console, context: Context, action: Action) {
    console.keys("gfkkkk");
    match action {
        Action::PageDown | Action::HalfDown | Action::Down | Action::NextError => {
            console.keys("g");
        }
        Action::NextWarning => {
            console.keys("g");
        }
        Action::AllStages => {
            console.keys("3");
        }
        Action::Figures => console.resize(80, 30),
        _ => {}
    }
    match context {
        Context::Log => {}
        Context::Field => {
            console.keys("/b");
        }
        Context::Detail => {
            let big: Vec<_> = (0..200).collect();
            console.logs(vec![log(999, Stage::Queue, Level::Info, "big", &json!({ "big": big }))]);
            console.keys("fk");
            if action != Action::PreviousLine && action != Action::NextLine {
                console.keys("f");
            }
            console.code(KeyCode::Enter);
            console.keys("jj");
        }
        Context::Help => {
            console.keys("?jj");
        }
    }
}

/// Regression: shortcuts eat letters in a text field; Esc or q in it ends the program.
#[test]
fn escape_goes_back_layer_by_layer_and_never_quits() {
    let mut console = busy(80, 24);
    console.keys("&batch");
    console.code(KeyCode::Enter);
    console.keys("/stored");
    console.code(KeyCode::Enter);
    console.code(KeyCode::Enter);
    console.keys("?");
    assert_eq!(console.model.context(), Context::Help);
    let mut layers = Vec::new();
    for _ in 0..8 {
        assert_eq!(console.code(KeyCode::Esc), None);
        let model = &console.model;
        let pane = model.pane();
        layers.push((model.context(), pane.search().is_some(), pane.filter().text.is_some()));
    }
    let wanted = [
        (Context::Detail, true, true),
        (Context::Log, true, true),
        (Context::Log, false, true),
        (Context::Log, false, false),
    ];
    assert_eq!(layers[..4], wanted);
    assert!(layers[4..].iter().all(|layer| *layer == wanted[3]));
    assert_eq!(console.keys("q"), Some(Effect::Quit));
}

#[test]
fn q_closes_views_first_and_ctrl_c_quits_from_anywhere() {
    let mut console = busy(80, 24);
    console.keys("?");
    assert_eq!(console.keys("q"), None);
    assert!(matches!(console.model.screen(), Screen::Log));
    for open in ["", "?", "/", "&x"] {
        let mut console = busy(80, 24);
        console.keys(open);
        assert_eq!(console.ctrl('l'), Some(Effect::Redraw));
        assert_eq!(console.ctrl('z'), Some(Effect::Suspend));
        assert_eq!(console.ctrl('c'), Some(Effect::Quit));
    }
}

/// Regression: log text taken for markup, and tabs that vanish.
#[test]
fn log_text_is_text() {
    let mut console = Console::new(80, 24);
    let text = "[red]x[/red]\t<b> %s {0} \\e[1m";
    console.logs(vec![log(0, Stage::Queue, Level::Info, text, &json!({}))]);
    assert!(console.screen().contains("[red]x[/red]\\t<b> %s {0} \\e[1m"), "{}", console.screen());
}

/// Regression: modals larger than the frame panic.
#[test]
fn views_survive_any_resize() {
    for open in ["?", "fk"] {
        let mut console = busy(200, 60);
        console.keys(open);
        console.code(if open == "?" { KeyCode::End } else { KeyCode::Enter });
        for (width, height) in [(1, 1), (60, 15), (3, 80), (250, 2), (61, 16), (200, 60)] {
            console.resize(width, height);
            console.screen();
        }
        assert!(!matches!(console.model.screen(), Screen::Log));
    }
}

/// Regression: help and real keys drift apart.
#[test]
fn the_help_shows_every_binding() {
    let mut console = Console::new(109, 80);
    console.keys("?");
    let screen = console.screen();
    for binding in BINDINGS {
        assert!(
            screen.contains(binding.help) && screen.contains(&binding.label()),
            "{}",
            binding.help
        );
    }
}

#[test]
fn a_pause_holds_the_display_and_counts() {
    let mut console = Console::with(small());
    take(&mut console, Step::Lines(100, "before".into()));
    console.keys(" ");
    let before = console.log_rows();
    take(&mut console, Step::Lines(40, "held".into()));
    assert_eq!(console.log_rows(), before);
    assert!(console.screen().contains("PAUSED +40 held"), "{}", console.screen());
    take(&mut console, Step::Lines(59, "held".into()));
    let gone = console.model.ring().first();
    assert!(gone > 0);
    assert!(console.screen().contains(&format!("+99 held −{gone} old")), "{}", console.screen());
    console.keys(" ");
    assert!(console.screen().contains("LIVE") && console.screen().contains("held"));
    assert_eq!(console.model.pane().index().back(), Some(&198));
}

#[test]
fn copying_gives_id_line_or_the_curl_command() {
    let mut console = Console::new(80, 24);
    assert_eq!(console.keys("y"), Some(Effect::Copy(curl())));
    console.logs(traffic(1));
    console.keys("g");
    let Some(Effect::Copy(id)) = console.keys("y") else { panic!("no id") };
    assert!(id.starts_with("evt_019c"));
    let Some(Effect::Copy(json)) = console.keys("Y") else { panic!("no line") };
    let read: DebugLog = serde_json::from_str(&json).unwrap();
    assert_eq!((read.event_id.as_deref(), &*read.message), (Some(id.as_str()), "Event accepted"));
    console.code(KeyCode::Enter);
    assert_eq!(console.keys("y"), Some(Effect::Copy(id)));
}

#[test]
fn cancelling_a_filter_brings_back_the_one_before() {
    let mut console = busy(80, 24);
    console.keys("&stored");
    console.code(KeyCode::Enter);
    let before = console.screen();
    console.keys("&xyz");
    assert_ne!(console.screen(), before);
    console.code(KeyCode::Esc);
    assert_eq!(console.screen(), before);
    console.send(Msg::Paste("ignored outside a field".into()));
    assert_eq!(console.screen(), before);
}

#[test]
fn a_pasted_text_is_one_line_and_bounded() {
    let mut console = busy(80, 24);
    console.keys("/");
    console.send(Msg::Paste("two\r\nlines\u{1b}[31m\u{202e}\n".into()));
    let Focus::Field(field) = console.model.focus() else { panic!("no field") };
    assert_eq!(field.input.value(), "two lines [31m");
    console.send(Msg::Paste("x".repeat(100_000)));
    let Focus::Field(field) = console.model.focus() else { panic!("no field") };
    assert_eq!(field.input.value().len(), 500);
}

#[test]
fn the_detail_keeps_its_line_when_the_ring_forgets_it() {
    let mut console = Console::with(small());
    take(&mut console, Step::Lines(10, "kept".into()));
    console.code(KeyCode::Enter);
    let before = console.screen();
    take(&mut console, Step::Lines(300, "x".into()));
    assert!(console.screen().contains("no longer in the log"));
    assert!(console.screen().contains("kept") && before.contains("kept"));
    console.code(KeyCode::Right);
    assert!(console.model.pane().cursor_line().is_some_and(|line| line > 9));
}

#[test]
fn it_draws_only_when_something_changed() {
    let mut console = Console::new(80, 24);
    assert!(console.model.needs_redraw(), "the first frame");
    console.model.drawn();
    console.tick(1);
    console.tick(1);
    assert!(!console.model.needs_redraw(), "nothing happened");
    let idle = Gauges { accepted: 0, sampling: 1, ..Gauges::default() };
    console.feed(vec![DebugMessage::Gauges(Arc::new(idle.clone()))]);
    console.tick(1);
    console.model.drawn();
    console.feed(vec![DebugMessage::Gauges(Arc::new(idle))]);
    console.tick(1);
    assert!(!console.model.needs_redraw(), "an idle pipeline shows nothing new");
    console.logs(traffic(1));
    assert!(console.model.needs_redraw());
    console.model.drawn();
    console.tick(1);
    assert!(console.model.needs_redraw(), "rates have changed");
}

#[test]
fn clearing_forgets_lines_but_not_figures() {
    let mut console = busy(80, 24);
    console.keys("C");
    assert!(console.model.ring().is_empty() && console.model.pane().index().is_empty());
    let screen = console.screen();
    assert!(screen.contains("cleared 453 lines") && screen.contains("Waiting for"), "{screen}");
    assert!(screen.contains("100/s"));
    console.tick(10);
    assert!(!console.screen().contains("cleared"), "a notice goes by itself");
}
