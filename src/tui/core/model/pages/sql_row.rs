//! One row of a result in full: each column with its value, JSON in several rows.

use ratatui::text::Line;
use serde_json::Value;

use super::{Page, detail};
use crate::format;
use crate::model::Model;
use crate::model::screen::SqlRow;
use crate::theme::{Segment, styled};
use bklit_wire::sql::cell;
use bklit_wire::text;

/// The most columns of a name.
const MAX_LABEL: usize = 24;
/// The most bytes of a value that are shown.
const MAX_VALUE: usize = 64 * 1024;

impl Page for SqlRow {
    fn title(&self, model: &Model) -> Vec<Segment> {
        let theme = model.options.theme;
        let of = format::count(self.table.rows().len() as u64);
        let place = format!(" {} of {of}", format::count(self.row as u64 + 1));
        vec![styled("row", theme.strong()), styled(place, theme.dim())]
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

fn rows(model: &Model, shown: &SqlRow, width: u16) -> Vec<Line<'static>> {
    let theme = model.options.theme;
    let width = usize::from(width).saturating_sub(3);
    let names: Vec<_> = shown.table.columns().iter().map(|name| text::safe(name)).collect();
    let widest = names.iter().map(|name| text::width(name)).max().unwrap_or(0);
    let labels = widest.min(MAX_LABEL).min(width / 2);
    let mut rows = vec![Line::default()];
    let values = shown.table.rows().get(shown.row).map(Vec::as_slice).unwrap_or_default();
    for (name, value) in names.iter().zip(values) {
        let mut label = text::clip(name, labels).into_owned();
        let whole = cell(value);
        let start = text::fit_bytes(&whole, MAX_VALUE);
        let style = if value.is_null() { theme.dim() } else { theme.plain() };
        for piece in text::wrap(&text::safe(start), width.saturating_sub(labels + 4)) {
            let pad = " ".repeat(labels.saturating_sub(text::width(&label)));
            let label_text = styled(format!("  {label}{pad}  "), theme.dim());
            rows.push(Line::from(vec![label_text, styled(piece, style)]));
            label.clear();
        }
        if let Some(Value::Object(fields)) = value.as_str().and_then(parsed) {
            rows.extend(detail::json_rows(model, &fields.into_iter().collect::<Vec<_>>(), width));
        }
        if start.len() < whole.len() {
            let more = (whole.len() - start.len()) as u64;
            let more = format!("  {} more bytes: an export has them", format::count(more));
            rows.push(Line::from(styled(more, theme.warning())));
        }
    }
    rows
}

/// The JSON in a text, such as an event's metadata.
fn parsed(text: &str) -> Option<Value> {
    if !text.starts_with('{') || text.len() > MAX_VALUE {
        return None;
    }
    serde_json::from_str(text).ok()
}
