//! How `logs` prints a line.

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use serde_json::Value;

use bklit_console_core::theme;
use bklit_wire::debug_log::{DebugLog, Level, Stage};
use bklit_wire::numbers::micros;
use bklit_wire::text::{safe, safe_json};
use bklit_wire::time::UtcMillis;

const RESET: &str = "\x1b[0m";
const DIM: &str = "\x1b[2m";
/// Columns of a time: `2026-01-31 12:00:00.000`.
const TIME_WIDTH: usize = 23;

/// How lines are printed.
#[derive(Clone, Debug)]
pub struct Format {
    /// As JSON, as received, with characters escaped that a terminal would interpret.
    pub json: bool,
    /// Time zone of timestamps.
    pub zone: TimeZone,
    /// With colours.
    pub colors: bool,
}

impl Format {
    /// A line; `raw` is its JSON as received.
    pub fn log(&self, log: &DebugLog, raw: Option<&str>) -> String {
        if self.json {
            return self.one_line_of_json(raw, log);
        }
        self.text(log)
    }

    /// A line as text.
    pub fn text(&self, log: &DebugLog) -> String {
        let (stage, level) = (self.stage(log.stage), self.level(log.level));
        let time = self.dim(&self.time(log.timestamp));
        let mut line = format!("{time} {stage} {level} {}", safe(&log.message));
        let mut details = String::new();
        for (key, value) in &log.data {
            let _ = write!(details, " {}={}", safe(key), field(value));
        }
        for (key, value) in [("project", &log.project_id), ("event", &log.event_id)] {
            if let Some(value) = value {
                let _ = write!(details, " {key}={}", word(value));
            }
        }
        if let Some(duration) = log.duration {
            let _ = write!(details, " {}", micros(duration * 1e3));
        }
        if !details.is_empty() {
            line.push_str(&self.dim(&details));
        }
        line
    }

    /// A line that could not be parsed.
    pub fn unparsed(&self, text: &str) -> String {
        if self.json {
            let json = serde_json::json!({ "unparsed": text }).to_string();
            return safe_json(&json).into_owned();
        }
        format!("{:TIME_WIDTH$} {:10} {:5} {}", "", "unparsed", "", safe(text))
    }

    fn one_line_of_json(&self, raw: Option<&str>, log: &DebugLog) -> String {
        let json = match raw {
            // In JSON, line breaks occur only between tokens.
            Some(raw) => raw.replace(['\n', '\r'], " "),
            None => serde_json::to_string(log).unwrap_or_default(),
        };
        safe_json(&json).into_owned()
    }

    fn time(&self, time: UtcMillis) -> String {
        let local = time.timestamp().to_zoned_datetime(self.zone.clone());
        local.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
    }

    fn stage(&self, stage: Stage) -> String {
        let color = format!("38;5;{}", theme::indexed(stage));
        self.paint(&color, &format!("{stage:10}"))
    }

    fn level(&self, level: Level) -> String {
        let name = format!("{:5}", level.as_str().to_uppercase());
        match level {
            Level::Info => name,
            Level::Warn => self.paint("1;33", &name),
            Level::Error => self.paint("1;31", &name),
        }
    }

    fn paint(&self, color: &str, text: &str) -> String {
        if self.colors { format!("\x1b[{color}m{text}{RESET}") } else { text.to_owned() }
    }

    fn dim(&self, text: &str) -> String {
        if self.colors { format!("{DIM}{text}{RESET}") } else { text.to_owned() }
    }
}

/// A value: text as it is if it is one word, everything else as JSON.
fn field(value: &Value) -> String {
    match value {
        Value::String(text) => word(text),
        other => safe_json(&other.to_string()).into_owned(),
    }
}

fn word(text: &str) -> String {
    let is_word = |c: char| !c.is_whitespace() && !matches!(c, '"' | '=' | '{' | '[');
    if !text.is_empty() && text.chars().all(is_word) {
        safe(text).into_owned()
    } else {
        safe_json(&Value::from(text).to_string()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Format = Format { json: false, zone: TimeZone::UTC, colors: false };

    fn log() -> DebugLog {
        let mut log = DebugLog::new(Stage::Queue, Level::Warn, "Event queued");
        log.timestamp = UtcMillis::from_epoch_millis(1_769_860_800_123);
        log.data.insert("depth".into(), 7.into());
        log.data.insert("url".into(), "https://example.com/a b".into());
        log.event_id = Some("evt_1".into());
        log.project_id = Some("p1".into());
        log.duration = Some(0.25);
        log
    }

    #[test]
    fn columns_line_up() {
        let line = "2026-01-31 12:00:00.123 queue      WARN  Event queued depth=7 \
                    url=\"https://example.com/a b\" project=p1 event=evt_1 250 µs";
        assert_eq!(PLAIN.log(&log(), None), line);
        let at = line.find("Event").unwrap();
        assert_eq!(PLAIN.unparsed("Event").find("Event"), Some(at));
    }

    #[test]
    fn colours_are_the_only_escapes() {
        let mut log = log();
        log.message = "a\u{1b}[31m\r\u{202e}b\nc".into();
        log.data.insert("k\u{1b}".into(), "v\u{9b}31m".into());
        log.event_id = Some("evt\u{7}".into());
        let plain = PLAIN.log(&log, None);
        assert!(!plain.chars().any(char::is_control), "{plain:?}");
        assert!(!plain.contains('\u{202e}'));
        let colored = Format { colors: true, ..PLAIN }.log(&log, None);
        let mut rest = colored.clone();
        for code in ["\x1b[2m", "\x1b[38;5;141m", "\x1b[1;33m", "\x1b[0m"] {
            rest = rest.replace(code, "");
        }
        assert_eq!(rest, plain);
    }

    #[test]
    fn json_is_printed_as_received_on_one_line() {
        let json = Format { json: true, ..PLAIN };
        let raw = "{\"future\":1,\n\"message\":\"\u{9b}\"}";
        assert_eq!(json.log(&log(), Some(raw)), "{\"future\":1, \"message\":\"\\u009b\"}");
        assert_eq!(json.unparsed("a\u{1b}"), "{\"unparsed\":\"a\\u001b\"}");
    }
}
