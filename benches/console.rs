//! The console under load: filtering a million lines against ripgrep's own search, from a key to
//! its frame in a flood, bytes to the terminal, and memory. See bench/README.md.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bklit_tui::pipeline::bus::DebugMessage;
use bklit_tui::pipeline::debug_log::{DebugLog, Level, Stage};
use bklit_tui::pipeline::time::UtcMillis;
use bklit_tui::tui::model::{Model, ModelOptions};
use bklit_tui::tui::msg::Msg;
use bklit_tui::tui::theme::{Palette, Theme};
use bklit_tui::tui::update::update;
use bklit_tui::tui::view::render;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use grep_regex::RegexMatcherBuilder;
use grep_searcher::{Searcher, SearcherBuilder, Sink, SinkMatch};
use ratatui::Terminal;
use ratatui::backend::{Backend, CrosstermBackend, TestBackend};
use ratatui::layout::Rect;
use ratatui::{TerminalOptions, Viewport};
use serde_json::{Value, json};

const LINES: usize = 1_000_000;
const ROUNDS: usize = 5;
/// Lines a second of the flood, how long it lasts, and how often a key is pressed in it.
const FLOOD: u64 = 50_000;
const FLOOD_SECONDS: u64 = 10;
const KEY_EVERY: Duration = Duration::from_millis(20);
const FRAME: Duration = Duration::from_millis(66);

const NOON: i64 = 1_769_860_800_000;
const PATHS: [&str; 5] = ["/", "/pricing", "/checkout", "/blog/how-we-count", "/docs"];

/// Each: a query, and the regular expression that finds the same lines of JSON.
const QUERIES: [(&str, &str); 6] = [
    ("checkout", "checkout"),
    ("\"Batch stored\"", "Batch stored"),
    ("level:error", r#""level":"error""#),
    ("data.url:/checkout", "/checkout"),
    ("id:00001234", "00001234"),
    ("how.*count", "how.*count"),
];

fn line(nth: usize) -> DebugLog {
    let stage = Stage::ALL[nth % 6];
    let (message, data): (_, Value) = match stage {
        Stage::Ingestion => {
            let url = format!("https://shop.example{}", PATHS[nth / 6 % 5]);
            ("Event accepted", json!({ "type": "pageview", "url": url, "bytes": 400 + nth % 99 }))
        }
        Stage::Queue => ("Event queued", json!({ "depth": nth % 1_000 })),
        Stage::Worker => ("Processing page view", json!({ "batchId": nth / 600, "waitedMs": 12 })),
        Stage::Clickhouse => ("Batch stored", json!({ "table": "page_view_event", "rows": 100 })),
        Stage::Pubsub => ("Live event published", json!({ "subscribers": 3 })),
        Stage::Websocket => ("Sent to dashboards", json!({ "sockets": 3 })),
    };
    let level = if nth.is_multiple_of(97) { Level::Error } else { Level::Info };
    let mut log = DebugLog::new(stage, level, message);
    log.timestamp = UtcMillis::from_epoch_millis(NOON + nth as i64);
    log.data = data.as_object().cloned().unwrap();
    log.event_id = Some(format!("evt_019c13f0a7b87000{:016x}", nth / 6));
    log.project_id = Some(format!("project-{}", nth % 7));
    log.duration = Some((nth % 50) as f64 / 10.0);
    log
}

fn model() -> Model {
    Model::new(ModelOptions {
        source: "embedded".into(),
        curl: None,
        max_lines: LINES,
        max_bytes: usize::MAX,
        alarm_depth: 1_000,
        read_only: false,
        utc: true,
        theme: Theme::new(Palette::Ansi256),
        shell: Default::default(),
        size: (80, 24),
    })
}

fn feed(model: &mut Model, lines: impl Iterator<Item = usize>) {
    let messages = lines.map(|nth| DebugMessage::Log(Arc::new(line(nth)))).collect();
    update(model, Msg::Feed(messages));
}

fn key(model: &mut Model, code: KeyCode) {
    update(model, Msg::Key(KeyEvent::new(code, KeyModifiers::NONE)));
}

/// Types a filter over the one before; the last letter, after which all lines are looked at anew,
/// is what is measured. Returns the whole time, and the longest that a key would have had to wait.
fn filter(model: &mut Model, query: &str) -> (Duration, Duration) {
    key(model, KeyCode::Char('&'));
    update(model, Msg::Key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL)));
    let (typed, last) = query.split_at(query.len() - 1);
    typed.chars().for_each(|c| key(model, KeyCode::Char(c)));
    let began = Instant::now();
    let mut longest = Duration::ZERO;
    let mut timed = |model: &mut Model, msg| {
        let began = Instant::now();
        update(model, msg);
        longest = longest.max(began.elapsed());
    };
    let c = last.chars().next().unwrap();
    timed(model, Msg::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)));
    while model.has_work() {
        timed(model, Msg::Work);
    }
    let took = began.elapsed();
    key(model, KeyCode::Enter);
    (took, longest)
}

/// What `rg -S -c PATTERN FILE` does, by ripgrep's own crates, without the reading of the file.
fn ripgrep(pattern: &str, json: &[u8]) -> (Duration, u64) {
    let began = Instant::now();
    let mut builder = RegexMatcherBuilder::new();
    let matcher = builder.case_smart(true).line_terminator(Some(b'\n')).build(pattern).unwrap();
    let mut searcher = SearcherBuilder::new().line_number(false).build();
    let mut count = Count(0);
    searcher.search_slice(&matcher, json, &mut count).unwrap();
    (began.elapsed(), count.0)
}

struct Count(u64);

impl Sink for Count {
    type Error = std::io::Error;

    fn matched(&mut self, _: &Searcher, _: &SinkMatch<'_>) -> Result<bool, Self::Error> {
        self.0 += 1;
        Ok(true)
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn filtering(model: &mut Model, json: &[u8]) {
    println!(
        "filtering {LINES} lines, median of {ROUNDS}; ripgrep's search on the same as JSON lines"
    );
    println!(
        "{:<22}{:>10}{:>10}{:>8}{:>10}{:>14}",
        "query", "console", "ripgrep", "ratio", "lines", "longest turn"
    );
    for (query, pattern) in QUERIES {
        let (mut ours, mut theirs, mut longest) = (Vec::new(), Vec::new(), Duration::ZERO);
        for _ in 0..ROUNDS {
            let (took, wait) = filter(model, query);
            ours.push(took);
            longest = longest.max(wait);
            let (took, count) = ripgrep(pattern, json);
            theirs.push(took);
            assert_eq!(model.pane().index().len() as u64, count, "{query}");
        }
        let (ours, theirs) = (median(&mut ours), median(&mut theirs));
        let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
        let lines = model.pane().index().len();
        println!("{query:<22}{ours:>10.1?}{theirs:>10.1?}{ratio:>8.2}{lines:>10}{longest:>14.1?}");
    }
    key(model, KeyCode::Esc);
}

/// Looks for one more line of an event that has no more: all lines are looked at.
fn jumping(model: &mut Model) {
    let (mut times, mut longest) = (Vec::new(), Duration::ZERO);
    for _ in 0..ROUNDS {
        key(model, KeyCode::Char('g'));
        // Its lines are the first six.
        (0..5).for_each(|_| key(model, KeyCode::Char('o')));
        let began = Instant::now();
        let mut timed = |model: &mut Model, msg| {
            let began = Instant::now();
            update(model, msg);
            longest = longest.max(began.elapsed());
        };
        timed(model, Msg::Key(KeyEvent::new(KeyCode::Char('o'), KeyModifiers::NONE)));
        while model.has_work() {
            timed(model, Msg::Work);
        }
        times.push(began.elapsed());
        assert_eq!(model.pane().cursor_line(), Some(5));
    }
    key(model, KeyCode::Char('f'));
    println!("a jump over {LINES} lines: {:.1?}, longest turn {longest:.1?}", median(&mut times));
}

/// A flood in real time, by turns of the loop: keys first, then frames, then messages.
fn flood<B: Backend>(model: &mut Model, terminal: &mut Terminal<B>) -> Vec<Duration>
where
    B::Error: std::fmt::Debug,
{
    let began = Instant::now();
    let (mut fed, mut next_key, mut next_frame) = (0, KEY_EVERY, FRAME);
    let mut waits = Vec::new();
    let mut keys = "kkkf/eventn\u{1b}".chars().cycle();
    let mut pressed: Option<Duration> = None;
    while began.elapsed() < Duration::from_secs(FLOOD_SECONDS) {
        let now = began.elapsed();
        if now >= next_key {
            match keys.next() {
                Some('\u{1b}') => key(model, KeyCode::Esc),
                Some(c) => key(model, KeyCode::Char(c)),
                None => {}
            }
            pressed.get_or_insert(next_key);
            next_key += KEY_EVERY;
        } else if now >= next_frame {
            terminal.draw(|frame| render(model, frame)).unwrap();
            model.drawn();
            next_frame = now + FRAME;
            waits.extend(pressed.take().map(|pressed| began.elapsed().saturating_sub(pressed)));
        } else if model.has_work() {
            update(model, Msg::Work);
        } else {
            let due = now.as_micros() as u64 * FLOOD / 1_000_000;
            let to = due.min(fed + 512);
            if to > fed {
                feed(model, fed as usize..to as usize);
                fed = to;
            } else {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    }
    assert!(fed >= FLOOD * FLOOD_SECONDS * 95 / 100, "the console takes in only {fed} lines");
    waits.sort();
    waits
}

#[derive(Clone, Default)]
struct Counted(Arc<Mutex<usize>>);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        *self.0.lock().unwrap() += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn floods(model: &mut Model) {
    println!(
        "\n{FLOOD} lines/s for {FLOOD_SECONDS} s at 80×24, a key every {KEY_EVERY:?}, a frame every {FRAME:?}"
    );
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    let waits = flood(model, &mut terminal);
    let at = |part: usize| waits[waits.len() * part / 100];
    println!(
        "from a key to its frame: p50 {:.1?}, p99 {:.1?}, most {:.1?}",
        at(50),
        at(99),
        waits[waits.len() - 1]
    );
    let bytes = Counted::default();
    let backend = CrosstermBackend::new(bytes.clone());
    let options = TerminalOptions { viewport: Viewport::Fixed(Rect::new(0, 0, 80, 24)) };
    let mut terminal = Terminal::with_options(backend, options).unwrap();
    flood(model, &mut terminal);
    let bytes = *bytes.0.lock().unwrap() as u64;
    println!("bytes to the terminal: {} KiB/s", bytes / 1024 / FLOOD_SECONDS);
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = status.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

fn main() {
    let mut json = Vec::new();
    for nth in 0..LINES {
        serde_json::to_writer(&mut json, &line(nth)).unwrap();
        json.push(b'\n');
    }
    let mut model = model();
    let before = resident();
    for start in (0..LINES).step_by(512) {
        feed(&mut model, start..(start + 512).min(LINES));
    }
    let (kept, resident) = (model.ring().bytes(), resident().saturating_sub(before) as usize);
    filtering(&mut model, &json);
    jumping(&mut model);
    floods(&mut model);
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    println!(
        "\nmemory of {LINES} lines: {:.0} MiB counted, {:.0} MiB resident, {:.0} MiB as JSON: {:.2} of it",
        mib(kept),
        mib(resident),
        mib(json.len()),
        resident as f64 / json.len() as f64
    );
}
