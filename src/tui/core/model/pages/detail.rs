//! One line in full: all its parts, and its details as JSON.

use ratatui::text::Line;
use serde_json::Value;

use super::Page;
use crate::format;
use crate::model::Model;
use crate::model::screen::Detail;
use crate::theme::{Segment, styled};
use bklit_wire::text;

/// `duration`
const LABELS: usize = 10;

impl Page for Detail {
    fn title(&self, model: &Model) -> Vec<Segment> {
        let theme = model.options.theme;
        let mut title = vec![styled("line", theme.strong())];
        if self.number < model.ring().next() && model.ring().get(self.number).is_none() {
            title.push(styled(" (no longer in the log)", theme.warning()));
        }
        title
    }

    fn rows(&self, model: &Model, width: u16) -> Vec<Line<'static>> {
        rows(model, self, width)
    }

    fn scroll(&self) -> usize {
        self.scroll
    }

    fn scroll_mut(&mut self) -> &mut usize {
        &mut self.scroll
    }
}

fn rows(model: &Model, shown: &Detail, width: u16) -> Vec<Line<'static>> {
    let theme = model.options.theme;
    let line = shown.line.as_ref();
    let width = usize::from(width).saturating_sub(3);
    let time = model.long_time(line.time());
    let stage = line.stage().map_or_else(
        || styled("none: not a line of the pipeline's format", theme.warning()),
        |stage| styled(model.stage_name(stage), theme.stage(stage)),
    );
    let plain = |what: &str| styled(what, theme.plain());
    let mut parts = vec![
        ("time", plain(&time)),
        ("stage", stage),
        ("level", styled(line.level().as_str(), theme.level(line.level()))),
        ("message", styled(line.message(), theme.strong())),
    ];
    let ids = [("event", line.event_id()), ("project", line.project_id())];
    parts.extend(ids.into_iter().filter_map(|(label, id)| Some((label, plain(id?)))));
    if let Some(millis) = line.duration() {
        let exact = format!("{} ({millis} ms)", format::micros(f64::from(millis) * 1e3));
        parts.push(("duration", plain(&exact)));
    }
    let mut rows = vec![Line::default()];
    for (label, value) in parts {
        push_part(&mut rows, label, &value, width, theme.dim());
    }
    let data = line.data();
    if !data.is_empty() {
        rows.push(Line::default());
        rows.extend(json_rows(model, &data, width));
    }
    rows
}

fn push_part(
    rows: &mut Vec<Line<'static>>,
    label: &str,
    value: &Segment,
    width: usize,
    dim: ratatui::style::Style,
) {
    let mut label = label;
    for piece in text::wrap(&value.content, width.saturating_sub(LABELS)) {
        let label_text = styled(format!("  {label:<LABELS$}"), dim);
        rows.push(Line::from(vec![label_text, styled(piece, value.style)]));
        label = "";
    }
}

pub(super) fn json_rows(
    model: &Model,
    data: &[(String, Value)],
    width: usize,
) -> Vec<Line<'static>> {
    let theme = model.options.theme;
    let mut rows = vec![Line::from(styled("  {", theme.dim()))];
    for (nth, (key, value)) in data.iter().enumerate() {
        let comma = if nth + 1 < data.len() { "," } else { "" };
        let key = Value::from(key.as_str()).to_string();
        let pretty = serde_json::to_string_pretty(value).unwrap_or_default();
        let json = format!("{}: {}{comma}", text::safe_json(&key), safe_lines(&pretty));
        for line in json.lines() {
            let indent = line.len() - line.trim_start().len();
            let room = width.saturating_sub(indent + 4).max(8);
            for (nth, piece) in text::wrap(line.trim_start(), room).into_iter().enumerate() {
                let indent = " ".repeat(indent + if nth == 0 { 4 } else { 6 });
                rows.push(Line::from(json_spans(model, &indent, piece, nth == 0)));
            }
        }
    }
    rows.push(Line::from(styled("  }", theme.dim())));
    rows
}

fn safe_lines(json: &str) -> String {
    json.lines().map(text::safe_json).collect::<Vec<_>>().join("\n")
}

/// Keys are dim, unlike values.
fn json_spans(model: &Model, indent: &str, piece: &str, starts: bool) -> Vec<Segment> {
    let theme = model.options.theme;
    let key_end = key_end(piece).filter(|_| starts).unwrap_or(0);
    let (key, value) = piece.split_at(key_end);
    vec![styled(format!("{indent}{key}"), theme.dim()), styled(value, theme.plain())]
}

/// The start of the value in `"key": value`.
fn key_end(piece: &str) -> Option<usize> {
    let quoted = piece.strip_prefix('"')?;
    let mut escaped = false;
    let end = quoted.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    let after = &quoted[end + 1..];
    after.starts_with(": ").then_some(end + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_end_before_their_values() {
        assert_eq!(key_end(r#""a": 1"#), Some(5));
        assert_eq!(key_end(r#""a\"b": 1"#), Some(8));
        assert_eq!((key_end(r#""value","#), key_end("1"), key_end("{")), (None, None, None));
    }
}
