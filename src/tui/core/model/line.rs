//! One stored line: its parts in one text, compact and safe to show.
//!
//! The details of a line are stored as shown, `url=/checkout status=200 title="Hello you"`: a
//! search matches what is on the screen, drawing needs no conversion, and [`LineRef::data`] can
//! restore the JSON.

mod body;
mod order;

use serde_json::{Map, Value};

use bklit_wire::debug_log::{DebugLog, Level, Stage};
use bklit_wire::text;
use bklit_wire::time::UtcMillis;
pub use body::{Part, Piece, Rows};
pub(super) use order::REASONS;

/// The maximum size of a message or unparsed line, in bytes; the rest is cut off.
const MAX_MESSAGE: usize = 16 * 1024;
/// The maximum size of a line's details, in bytes.
const MAX_FIELDS: usize = 32 * 1024;
/// The maximum size of an id, in bytes.
const MAX_ID: usize = 256;

/// The name of a level in the log.
pub fn shown_level(level: Level) -> &'static str {
    match level {
        Level::Info => "INFO",
        Level::Warn => "WARN",
        Level::Error => "ERROR",
    }
}

/// A line apart from its text, with the lengths of the text's parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meta {
    time: i64,
    message: u16,
    fields: u16,
    /// NaN if there is none.
    duration: f32,
    event: u16,
    project: u16,
    /// Its process, as the ring numbers them; 0 if it is not known.
    pub(super) process: u16,
    stage: Option<Stage>,
    level: Level,
}

/// Separates the parts of a line, and lines; safe text never contains it.
pub(super) const SEPARATOR: char = '\n';

impl Meta {
    pub(super) fn text_len(&self) -> usize {
        let separators = 3;
        usize::from(self.message)
            + usize::from(self.fields)
            + usize::from(self.event)
            + usize::from(self.project)
            + separators
    }
}

/// Appends a log line's text to `out`.
pub(super) fn push_log(out: &mut String, log: &DebugLog) -> Meta {
    let start = out.len();
    push_part(out, &log.message, MAX_MESSAGE);
    let message = out.len() - start - 1;
    push_fields(out, &log.data);
    let fields = out.len() - start - message - 2;
    let mut push_id = |id: &Option<String>| {
        let before = out.len();
        push_part(out, id.as_deref().unwrap_or_default(), MAX_ID);
        out.len() - before - 1
    };
    let event = push_id(&log.event_id);
    let project = push_id(&log.project_id);
    // No separator follows the last part.
    out.pop();
    Meta {
        time: log.timestamp.epoch_millis(),
        message: small(message),
        fields: small(fields),
        duration: log.duration.map_or(f32::NAN, |ms| ms as f32),
        event: small(event),
        project: small(project),
        process: 0,
        stage: Some(log.stage),
        level: log.level,
    }
}

/// Appends a line outside the contract, which counts as a warning; or, at the level of
/// information, a note of the console itself.
pub(super) fn push_text(out: &mut String, now: UtcMillis, line: &str, level: Level) -> Meta {
    let start = out.len();
    push_part(out, line, MAX_MESSAGE);
    let message = out.len() - start - 1;
    out.push(SEPARATOR);
    out.push(SEPARATOR);
    Meta {
        time: now.epoch_millis(),
        message: small(message),
        fields: 0,
        duration: f32::NAN,
        event: 0,
        project: 0,
        process: 0,
        stage: None,
        level,
    }
}

/// The maximum size of each part, and of what marks it as cut, is far below this limit.
fn small(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

fn push_part(out: &mut String, part: &str, limit: usize) {
    // Escaping never shortens text, so nothing beyond the limit is needed.
    let looked_at = cut(part, limit);
    let safe = text::safe(looked_at);
    let kept = cut(&safe, limit);
    out.push_str(kept);
    if kept.len() < safe.len() || looked_at.len() < part.len() {
        out.push_str(text::ELLIPSIS);
    }
    out.push(SEPARATOR);
}

fn cut(text: &str, limit: usize) -> &str {
    let end = (0..=limit.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

fn push_fields(out: &mut String, data: &Map<String, Value>) {
    let end = out.len() + MAX_FIELDS;
    let mut ordered: Vec<_> = data.iter().collect();
    ordered.sort_by_key(|(key, _)| order::place(key));
    for (nth, (key, value)) in ordered.into_iter().enumerate() {
        let before = out.len();
        if nth > 0 {
            out.push(' ');
        }
        push_field(out, key, value);
        if out.len() > end {
            // Only complete fields, so that they can be parsed again.
            out.truncate(before);
            push_cut_field(out, key, nth, end.saturating_sub(before));
            break;
        }
    }
    out.push(SEPARATOR);
}

/// Appends a note that the details from `key` on are missing.
fn push_cut_field(out: &mut String, key: &str, nth: usize, room: usize) {
    if nth > 0 {
        out.push(' ');
    }
    let note = Value::String("… cut: too long to keep".into());
    push_field(out, if key.len() < room.min(MAX_ID) { key } else { "…" }, &note);
}

fn push_field(out: &mut String, key: &str, value: &Value) {
    if is_bare_key(key) {
        out.push_str(key);
    } else {
        push_json(out, &Value::from(key));
    }
    out.push('=');
    match value {
        Value::String(string) if is_bare_value(string) => out.push_str(string),
        other => push_json(out, other),
    }
}

fn push_json(out: &mut String, value: &Value) {
    out.push_str(&text::safe_json(&value.to_string()));
}

fn is_bare_key(key: &str) -> bool {
    !key.is_empty()
        && text::is_safe(key)
        && !key.contains(|c: char| c.is_whitespace() || c == '=' || c == '"')
}

/// Whether a string without quotes is parsed as the same string.
fn is_bare_value(value: &str) -> bool {
    let Some(first) = value.chars().next() else { return false };
    !value.contains(|c: char| c.is_whitespace() || c == '"')
        && !matches!(first, '{' | '[')
        && !matches!(value, "true" | "false" | "null")
        && !is_number(value)
        && text::is_safe(value)
}

fn is_number(word: &str) -> bool {
    serde_json::from_str::<serde_json::Number>(word).is_ok()
}

fn read_fields(mut rest: &str) -> Option<Vec<(String, Value)>> {
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let key = if rest.starts_with('"') {
            read_json(&mut rest)?.as_str()?.to_owned()
        } else {
            let (key, after) = rest.split_once('=')?;
            rest = &rest[rest.len() - after.len() - 1..];
            key.to_owned()
        };
        rest = rest.strip_prefix('=')?;
        let value = if rest.starts_with(['"', '{', '[']) {
            read_json(&mut rest)?
        } else {
            let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
            rest = if after.is_empty() { "" } else { &rest[word.len()..] };
            match word {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                "null" => Value::Null,
                word if is_number(word) => serde_json::from_str(word).ok()?,
                word => Value::from(word),
            }
        };
        rest = rest.strip_prefix(' ').unwrap_or(rest);
        fields.push((key, value));
    }
    Some(fields)
}

fn read_json(rest: &mut &str) -> Option<Value> {
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
    let value = values.next()?.ok()?;
    *rest = &rest[values.byte_offset()..];
    Some(value)
}

/// A borrowed line.
#[derive(Clone, Copy, Debug)]
pub struct LineRef<'a> {
    meta: &'a Meta,
    text: &'a str,
}

impl<'a> LineRef<'a> {
    pub(super) fn new(meta: &'a Meta, text: &'a str) -> Self {
        Self { meta, text }
    }

    pub(super) fn meta(&self) -> Meta {
        *self.meta
    }

    /// The line's timestamp.
    pub fn time(&self) -> UtcMillis {
        UtcMillis::from_epoch_millis(self.meta.time)
    }

    /// The stage; `None` for a line that could not be parsed.
    pub fn stage(&self) -> Option<Stage> {
        self.meta.stage
    }

    /// The number of its process, as the ring numbers them; 0 if it is not known.
    pub fn process(&self) -> u16 {
        self.meta.process
    }

    /// The level; a line that could not be parsed counts as a warning, a note of the console as
    /// information.
    pub fn level(&self) -> Level {
        self.meta.level
    }

    /// How long the step took, in milliseconds.
    pub fn duration(&self) -> Option<f32> {
        Some(self.meta.duration).filter(|duration| !duration.is_nan())
    }

    /// Everything that can be searched: message, details, event id and project id, each on its own
    /// line.
    pub fn text(&self) -> &'a str {
        self.text
    }

    fn part(&self, start: usize, length: usize) -> &'a str {
        &self.text[start..start + length]
    }

    /// The message, which is at the start of [`LineRef::text`].
    pub fn message(&self) -> &'a str {
        self.part(0, self.meta.message.into())
    }

    /// Where the details start in [`LineRef::text`].
    pub fn fields_start(&self) -> usize {
        usize::from(self.meta.message) + 1
    }

    /// The details as shown.
    pub fn fields(&self) -> &'a str {
        self.part(self.fields_start(), self.meta.fields.into())
    }

    /// Where the event id starts in [`LineRef::text`].
    pub fn event_start(&self) -> usize {
        self.fields_start() + usize::from(self.meta.fields) + 1
    }

    /// The id of the event, if there is one.
    pub fn event_id(&self) -> Option<&'a str> {
        Some(self.part(self.event_start(), self.meta.event.into())).filter(|id| !id.is_empty())
    }

    /// The id of the project, if there is one.
    pub fn project_id(&self) -> Option<&'a str> {
        let start = self.event_start() + usize::from(self.meta.event) + 1;
        Some(self.part(start, self.meta.project.into())).filter(|id| !id.is_empty())
    }

    /// The details in the order shown.
    pub fn data(&self) -> Vec<(String, Value)> {
        read_fields(self.fields())
            .unwrap_or_else(|| vec![("data".to_owned(), Value::from(self.fields()))])
    }

    /// The line as JSON of the contract; an unparsed line as shown.
    pub fn to_json(&self) -> String {
        let Some(stage) = self.stage() else { return self.message().to_owned() };
        let log = DebugLog {
            timestamp: self.time(),
            stage,
            level: self.level(),
            message: self.message().to_owned().into(),
            data: self.data().into_iter().collect(),
            event_id: self.event_id().map(str::to_owned),
            project_id: self.project_id().map(str::to_owned),
            // Converted through its decimal form, to avoid digits beyond the precision of f32.
            duration: self.duration().and_then(|ms| ms.to_string().parse().ok()),
            process: None,
        };
        serde_json::to_string(&log).unwrap_or_default()
    }

    /// A copy that is independent of the ring.
    pub fn to_owned(&self) -> OwnedLine {
        OwnedLine { meta: *self.meta, text: self.text.to_owned() }
    }
}

/// A line stored outside the ring.
#[derive(Clone, Debug)]
pub struct OwnedLine {
    meta: Meta,
    text: String,
}

impl OwnedLine {
    /// A line that does not come from the ring.
    pub fn of(log: &DebugLog) -> Self {
        let mut text = String::new();
        let meta = push_log(&mut text, log);
        Self { meta, text }
    }

    /// Borrows the line.
    pub fn as_ref(&self) -> LineRef<'_> {
        LineRef::new(&self.meta, &self.text)
    }
}

#[cfg(test)]
mod tests;
