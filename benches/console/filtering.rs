//! A filter over a full buffer, compared with ripgrep on the same lines.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bklit_console_core::model::{Model, ModelOptions};
use bklit_console_core::msg::Msg;
use bklit_console_core::theme::{Palette, Theme};
use bklit_console_core::update::update;
use bklit_wire::debug_bus::DebugMessage;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::line;
use crate::record::Recording;

const ROUNDS: usize = 9;

/// Queries, each with the regular expression that matches the same lines as JSON.
const QUERIES: [(&str, &str); 8] = [
    ("checkout", "checkout"),
    ("\"Batch stored\"", "Batch stored"),
    ("published", "published"),
    ("level:error", r#""level":"error""#),
    ("data.url:/checkout", "/checkout"),
    ("id:00000123", "00000123"),
    ("how.*count", "how.*count"),
    ("/[a-z]+ted/", "[a-z]+ted"),
];

fn model(lines: usize) -> Model {
    Model::new(ModelOptions {
        source: "embedded".into(),
        curl: None,
        max_lines: lines,
        max_bytes: usize::MAX,
        max_problem_lines: 10_000,
        max_problem_bytes: 4 << 20,
        alarm_depth: 1_000,
        read_only: false,
        utc: true,
        local_zone: jiff::tz::TimeZone::UTC,
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

/// Replaces the filter by typing another one. Measures the last letter, after which all lines are
/// filtered again. Returns the total time, and the longest time a key would have waited.
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

/// Runs `rg -S -c PATTERN FILE`, from start to exit, and returns how many lines match. The file is
/// cached in memory.
fn ripgrep(pattern: &str, file: &Path) -> (Duration, u64) {
    let began = Instant::now();
    let output = rg().args(["-S", "-c", pattern]).arg(file).output().unwrap();
    let count = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    (began.elapsed(), count)
}

/// The program as installed by `bench/run.sh`, or the one on the PATH.
fn rg() -> Command {
    let installed = Path::new("target/bench/bin/rg");
    let mut command = Command::new(if installed.exists() { installed } else { Path::new("rg") });
    command.arg("--no-config");
    command
}

fn millis(times: &[Duration]) -> Vec<f64> {
    times.iter().map(|time| time.as_secs_f64() * 1000.0).collect()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Fills the buffer, filters it, and prints and records the times.
pub(crate) fn run(lines: usize, recording: &Recording) {
    let mut json = Vec::new();
    for nth in 0..lines {
        serde_json::to_writer(&mut json, &line(nth)).unwrap();
        json.push(b'\n');
    }
    let mut model = model(lines);
    let before = resident();
    for start in (0..lines).step_by(512) {
        feed(&mut model, start..(start + 512).min(lines));
    }
    let (kept, resident) = (model.ring().bytes(), resident().saturating_sub(before) as usize);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&json).unwrap();
    let version = rg().arg("--version").output();
    let version = version.expect("rg is needed: cargo install ripgrep --root target/bench");
    println!("{}", String::from_utf8_lossy(&version.stdout).lines().next().unwrap_or_default());
    println!(
        "filtering {lines} lines against `rg -S -c` on a file of the same as JSON lines, median of {ROUNDS}"
    );
    filtering(&mut model, file.path(), recording);
    jumping(&mut model, lines, recording);
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    let of_json = resident as f64 / json.len() as f64;
    println!(
        "memory of {lines} lines: {:.0} MiB counted, {:.0} MiB resident, {:.0} MiB as JSON: \
         {of_json:.2} of it",
        mib(kept),
        mib(resident),
        mib(json.len()),
    );
    recording.add("memory of the lines", "MiB", &[mib(resident)]);
    recording.add("memory of the lines to JSON", "ratio", &[of_json]);
}

fn filtering(model: &mut Model, file: &Path, recording: &Recording) {
    println!(
        "{:<22}{:>10}{:>10}{:>8}{:>10}{:>14}",
        "query", "console", "ripgrep", "ratio", "lines", "longest turn"
    );
    let mut longest_turns = Vec::new();
    for (query, pattern) in QUERIES {
        let (mut ours, mut theirs, mut turns) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (took, longest) = filter(model, query);
            ours.push(took);
            turns.push(longest);
            let (took, count) = ripgrep(pattern, file);
            theirs.push(took);
            assert_eq!(model.pane().index().len() as u64, count, "{query}");
        }
        let pairs = ours.iter().zip(&theirs);
        let ratios: Vec<_> = pairs.map(|(o, t)| o.as_secs_f64() / t.as_secs_f64()).collect();
        recording.add(&format!("filter {query}"), "ms", &millis(&ours));
        recording.add(&format!("filter {query} to ripgrep"), "ratio", &ratios);
        longest_turns.extend(turns.iter().max());
        let (ours, theirs, turn) = (median(&mut ours), median(&mut theirs), median(&mut turns));
        let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
        let lines = model.pane().index().len();
        println!("{query:<22}{ours:>10.1?}{theirs:>10.1?}{ratio:>8.2}{lines:>10}{turn:>14.1?}");
    }
    recording.add("longest turn of each filter", "ms", &millis(&longest_turns));
    key(model, KeyCode::Esc);
    // Shows all lines again before the next measurement.
    while model.has_work() {
        update(model, Msg::Work);
    }
}

/// Searches for another line of an event that has none, so that all lines are searched.
fn jumping(model: &mut Model, lines: usize, recording: &Recording) {
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
    recording.add("jump over all lines", "ms", &millis(&times));
    println!("a jump over {lines} lines: {:.1?}, longest turn {longest:.1?}", median(&mut times));
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = status.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}
