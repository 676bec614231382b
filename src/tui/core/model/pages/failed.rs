//! One failed event in full: the reason, and the queued item.

use ratatui::text::Line;
use serde_json::Value;

use super::{Page, detail};
use crate::keymap::Action;
use crate::model::Model;
use crate::model::screen::FailedDetail;
use crate::theme::{Segment, styled};
use bklit_wire::text;

/// The most bytes of the queued item that are shown.
const MAX_BODY: usize = 128 * 1024;
/// `retry with`
const LABELS: usize = 10;

impl Page for FailedDetail {
    fn title(&self, model: &Model) -> Vec<Segment> {
        vec![styled("failed event", model.options.theme.strong())]
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

fn rows(model: &Model, shown: &FailedDetail, width: u16) -> Vec<Line<'static>> {
    let theme = model.options.theme;
    let width = usize::from(width).saturating_sub(3);
    let item = &shown.item;
    let mut rows = vec![Line::default()];
    let mut part = |label: &str, value: &str, style| {
        let mut label = label;
        for piece in text::wrap(&text::safe(value), width.saturating_sub(LABELS)) {
            let label_text = styled(format!("  {label:<LABELS$}"), theme.dim());
            rows.push(Line::from(vec![label_text, styled(piece, style)]));
            label = "";
        }
    };
    part("reason", &item.reason, theme.error());
    let time = |at| model.long_time(at);
    let known = [
        ("failed", item.failed_at.map(time)),
        ("accepted", item.event.queued_at.map(time)),
        ("type", item.event.r#type.map(|kind| kind.as_str().to_owned())),
        ("project", item.event.project_id.clone()),
        ("event", item.event.event_id.clone()),
        ("item", Some(item.id.clone())),
    ];
    for (label, value) in known {
        if let Some(value) = value {
            part(label, &value, theme.plain());
        }
    }
    rows.push(Line::default());
    rows.extend(body(model, &item.body, width));
    rows
}

/// The queued item, formatted if it is JSON.
fn body(model: &Model, body: &str, width: usize) -> Vec<Line<'static>> {
    let theme = model.options.theme;
    let shown = text::fit_bytes(body, MAX_BODY);
    let mut rows = match serde_json::from_str::<Value>(shown) {
        Ok(Value::Object(fields)) => {
            detail::json_rows(model, &fields.into_iter().collect::<Vec<_>>(), width)
        }
        _ => {
            let raw = text::safe(shown);
            let pieces = text::wrap(&raw, width);
            let mut rows =
                vec![Line::from(styled("  not a JSON object, shown as it is:", theme.warning()))];
            rows.extend(
                pieces
                    .into_iter()
                    .map(|piece| Line::from(styled(format!("  {piece}"), theme.plain()))),
            );
            rows
        }
    };
    if shown.len() < body.len() {
        let (more, key) = (body.len() - shown.len(), model.key(Action::Export));
        let more = format!("  {more} more bytes: {key} in the queue exports it whole");
        rows.push(Line::from(styled(more, theme.warning())));
    }
    rows
}
