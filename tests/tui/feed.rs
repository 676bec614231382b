//! A console for tests: a fixed clock, lines of a realistic pipeline, keys by name.

use std::sync::Arc;

use bklit_console_core::model::{Model, ModelOptions, Shell};
use bklit_console_core::msg::{Effect, Msg};
use bklit_console_core::theme::{Palette, Theme};
use bklit_console_core::update::update;
use bklit_console_core::view::render;
use bklit_wire::debug_bus::DebugMessage;
use bklit_wire::debug_log::{DebugLog, Level, Stage};
use bklit_wire::gauges::{Gauges, Health, Latencies, QueueGauges};
use bklit_wire::time::UtcMillis;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use serde_json::{Value, json};

/// 2026-01-31T12:00:00Z
pub(super) const NOON: i64 = 1_769_860_800;

pub(super) fn curl() -> String {
    let token = format!("bk_live_{}", "0123456789abcdef".repeat(4));
    format!(
        "curl -sS http://127.0.0.1:3001/track -H 'Authorization: Bearer {token}' \
         -H 'Content-Type: application/json' \
         -d '{{\"url\":\"https://example.com/\",\"projectId\":\"default\"}}'"
    )
}

pub(super) fn options(size: (u16, u16)) -> ModelOptions {
    ModelOptions {
        source: "embedded".to_owned(),
        curl: Some(curl()),
        max_lines: 10_000,
        max_bytes: 4 << 20,
        max_problem_lines: 10_000,
        max_problem_bytes: 4 << 20,
        alarm_depth: 1_000,
        read_only: false,
        utc: true,
        local_zone: jiff::tz::TimeZone::UTC,
        theme: Theme::new(Palette::Ansi256),
        shell: Shell::default(),
        size,
    }
}

pub(super) fn options_with(size: (u16, u16), theme: Theme, shell: Shell) -> ModelOptions {
    ModelOptions { theme, shell, ..options(size) }
}

/// A console whose clock shows noon.
pub(super) struct Console {
    pub(super) model: Model,
    size: (u16, u16),
    pub(super) second: i64,
}

impl Console {
    pub(super) fn new(width: u16, height: u16) -> Self {
        Self::with(options((width, height)))
    }

    pub(super) fn with(options: ModelOptions) -> Self {
        let size = options.size;
        let mut console = Self { model: Model::new(options), size, second: NOON };
        console.tick(0);
        console
    }

    pub(super) fn send(&mut self, msg: Msg) -> Option<Effect> {
        update(&mut self.model, msg)
    }

    /// Lets seconds pass.
    pub(super) fn tick(&mut self, seconds: i64) -> Option<Effect> {
        self.second += seconds;
        let now = UtcMillis::from_epoch_millis(self.second * 1000);
        self.send(Msg::Tick(now))
    }

    pub(super) fn resize(&mut self, width: u16, height: u16) {
        self.size = (width, height);
        self.send(Msg::Resize(width, height));
    }

    pub(super) fn feed(&mut self, messages: Vec<DebugMessage>) {
        self.send(Msg::Feed(messages));
    }

    pub(super) fn logs(&mut self, logs: Vec<DebugLog>) {
        self.feed(logs.into_iter().map(|log| DebugMessage::Log(Arc::new(log))).collect());
    }

    pub(super) fn code(&mut self, code: KeyCode) -> Option<Effect> {
        self.send(Msg::Key(KeyEvent::new(code, KeyModifiers::NONE)))
    }

    pub(super) fn ctrl(&mut self, c: char) -> Option<Effect> {
        self.send(Msg::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL)))
    }

    /// Types characters; returns the last effect.
    pub(super) fn keys(&mut self, keys: &str) -> Option<Effect> {
        keys.chars().fold(None, |_, c| self.code(KeyCode::Char(c)))
    }

    pub(super) fn buffer(&self) -> Buffer {
        let (width, height) = self.size;
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| render(&self.model, frame)).unwrap();
        terminal.backend().buffer().clone()
    }

    /// The screen as text, a row a line.
    pub(super) fn screen(&self) -> String {
        let buffer = self.buffer();
        let width = usize::from(buffer.area.width.max(1));
        let mut screen = String::new();
        for row in buffer.content().chunks(width) {
            let mut line = String::new();
            let mut covered = 0;
            for cell in row {
                if covered > 0 {
                    covered -= 1;
                    continue;
                }
                line.push_str(cell.symbol());
                covered = bklit_wire::text::width(cell.symbol()).saturating_sub(1);
            }
            screen.push_str(line.trim_end());
            screen.push('\n');
        }
        screen
    }

    /// The rows of the log alone.
    pub(super) fn log_rows(&self) -> Vec<String> {
        let log = self.model.layout().unwrap().log;
        let screen = self.screen();
        let rows = screen.lines().skip(log.y.into()).take(log.height.into());
        rows.map(str::to_owned).collect()
    }
}

pub(super) fn log(nth: usize, stage: Stage, level: Level, message: &str, data: &Value) -> DebugLog {
    let mut log = DebugLog::new(stage, level, message.to_owned());
    log.timestamp = UtcMillis::from_epoch_millis(NOON * 1000 - 60_000 + 137 * nth as i64);
    log.process = Some("a".to_owned());
    log.data = data.as_object().cloned().unwrap_or_default();
    log
}

fn event_id(event: usize) -> String {
    format!("evt_019c13f0a7b87000{:016x}", (event as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

const PATHS: [&str; 5] =
    ["/", "/pricing", "/checkout", "/blog/how-we-count?utm_source=mail", "/docs"];

/// The lines of events, stage by stage, with an occasional failure.
pub(super) fn traffic(events: usize) -> Vec<DebugLog> {
    let mut logs: Vec<DebugLog> = Vec::new();
    for event in 0..events {
        let url = format!("https://shop.example{}", PATHS[event % PATHS.len()]);
        let at = logs.len();
        let micros = |base: f64| Some(base * (1.0 + (event * 7 % 10) as f64 / 10.0));
        let mut step = |stage, level, message, data: Value, took| {
            let mut line = log(logs.len(), stage, level, message, &data);
            line.event_id = Some(event_id(event));
            line.project_id = Some("shop".into());
            line.duration = took;
            logs.push(line);
        };
        let accepted = json!({ "type": "pageview", "url": url, "bytes": 412 + event });
        step(Stage::Ingestion, Level::Info, "Event accepted", accepted, micros(0.41));
        step(
            Stage::Queue,
            Level::Info,
            "Event queued",
            json!({ "depth": event % 40 }),
            micros(1.9),
        );
        match event % 9 {
            4 => {
                let slow = json!({ "attempt": 2, "waitMs": 400 });
                step(
                    Stage::Worker,
                    Level::Warn,
                    "Store is slow, trying again",
                    slow,
                    micros(812.0),
                );
            }
            7 => {
                let failed = json!({ "error": "database is locked", "attempt": 3, "events": 120 });
                step(
                    Stage::Clickhouse,
                    Level::Error,
                    "Batch could not be stored",
                    failed,
                    micros(5021.0),
                );
                continue;
            }
            _ => step(
                Stage::Worker,
                Level::Info,
                "Batch claimed",
                json!({ "events": 12 }),
                micros(0.2),
            ),
        }
        let stored = json!({ "table": "page_view_event", "rows": 12 });
        step(Stage::Clickhouse, Level::Info, "Batch stored", stored, micros(7.4));
        step(
            Stage::Pubsub,
            Level::Info,
            "Live event published",
            json!({ "subscribers": 3 }),
            micros(0.06),
        );
        if at.is_multiple_of(3) {
            step(
                Stage::Websocket,
                Level::Info,
                "Sent to dashboards",
                json!({ "sockets": 3 }),
                None,
            );
        }
    }
    logs
}

/// The gauges of one process for one second.
pub(super) fn gauges(second: u64) -> Gauges {
    let latencies = |base: u64| {
        let mut histogram = Latencies::histogram();
        for i in 0..100_u64 {
            let wave = 10 + second * 7 % 13 + i % 5;
            histogram.saturating_record(base * wave / 10 * if i > 97 { 4 } else { 1 });
        }
        Latencies::of(&histogram)
    };
    let mut gauges = Gauges {
        process: "1-a".into(),
        interval_ms: 1000,
        sampling: 1,
        accepted: 100,
        accept_to_stored: latencies(9_000),
        queue: Some(QueueGauges {
            depth: 120 + second % 30 * 4,
            in_flight: 12,
            ..QueueGauges::default()
        }),
        queue_health: Health::Ok,
        store_health: Health::Ok,
        worker_health: Health::Ok,
        ..Gauges::default()
    };
    let base = [410, 1_900, 200, 7_400, 60];
    for (stage, base) in gauges.stages.iter_mut().zip(base) {
        stage.count = 100;
        stage.latencies = latencies(base);
    }
    gauges
}

#[track_caller]
pub(super) fn assert_says(console: &Console, says: &str) {
    assert!(console.screen().contains(says), "{says:?} is not in:\n{}", console.screen());
}

#[track_caller]
pub(super) fn assert_silent(console: &Console, says: &str) {
    assert!(!console.screen().contains(says), "{says:?} is in:\n{}", console.screen());
}

/// Lets seconds pass in which a process publishes these figures.
pub(super) fn pass(console: &mut Console, seconds: u64, change: impl Fn(&mut Gauges)) {
    for second in 0..seconds {
        let mut figures = gauges(second);
        change(&mut figures);
        console.tick(1);
        console.feed(vec![DebugMessage::Gauges(Arc::new(figures))]);
    }
    console.tick(1);
}

/// A console that has watched a busy pipeline for a minute.
pub(super) fn busy(width: u16, height: u16) -> Console {
    busy_with(options((width, height)))
}

pub(super) fn busy_with(options: ModelOptions) -> Console {
    let mut console = Console::with(options);
    for second in 0..65 {
        console.tick(1);
        console.feed(vec![DebugMessage::Gauges(Arc::new(gauges(second)))]);
    }
    console.logs(traffic(80));
    console.tick(1);
    console
}
