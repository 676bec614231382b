//! The details of a line in one row. Ids and URLs that do not fit are shortened where they say
//! least; of lines that are all the same problem, what they do not have in common comes first.

use std::borrow::Cow;
use std::ops::Range;

use ratatui::style::Style;

use super::{Row, overlap};
use crate::model::layout::columns::SHORT_ID;
use crate::model::line::LineRef;
use bklit_wire::text;
use bklit_wire::text::ELLIPSIS;

/// Less of a host is not useful.
const MIN_HOST: usize = 4;

/// The details that all of several lines have; empty for a single line.
pub(super) fn common<'a>(mut lines: impl Iterator<Item = LineRef<'a>>) -> Vec<&'a str> {
    let Some(first) = lines.next() else { return Vec::new() };
    let mut common: Vec<_> = first.field_ranges().map(|range| &first.text()[range]).collect();
    let mut is_alone = true;
    for line in lines {
        is_alone = false;
        let fields: Vec<_> = line.field_ranges().map(|range| &line.text()[range]).collect();
        common.retain(|field| fields.contains(field));
    }
    if is_alone { Vec::new() } else { common }
}

impl Row<'_> {
    /// The details from a place in the line's text on.
    pub(super) fn details(&mut self, from: usize, columns: Range<usize>) {
        let style = self.theme.dim();
        let fields: Vec<_> = self.line.field_ranges().filter(|field| field.end > from).collect();
        self.fields(&fields, columns, style);
    }

    /// Message and details of a line whose reason is known: what only this line has, the message,
    /// and what all lines have.
    pub(super) fn known_body(&mut self, from: usize, common: &[&str]) {
        let free = self.columns.body_start..self.body_end();
        let line = self.line;
        let fields = line.field_ranges().filter(|field| field.start >= from);
        let (shared, own): (Vec<_>, Vec<_>) =
            fields.partition(|field| common.contains(&&line.text()[field.clone()]));
        let mut x = free.start + self.fields(&own, free.clone(), self.theme.plain());
        x += if x > free.start { 2 } else { 0 };
        let style =
            if own.is_empty() { self.theme.message(line.level()) } else { self.theme.dim() };
        x += self.part(line.message(), 0, x.min(free.end)..free.end, style) + 2;
        self.fields(&shared, x.min(free.end)..free.end, self.theme.dim());
    }

    /// Writes details, each with its place in the line's text. Returns the columns used.
    fn fields(&mut self, fields: &[Range<usize>], columns: Range<usize>, style: Style) -> usize {
        let line = self.line;
        let texts = fields.iter().map(|field| &line.text()[field.clone()]);
        let all = texts.map(|field| text::width(field) + 1).sum::<usize>();
        let long = |id: &str| text::width(id) > SHORT_ID && !id.starts_with('"');
        let batch = line.batch().filter(|(_, id)| long(id));
        let batch = batch.map(|(start, _)| line.fields_start() + start);
        let mut x = columns.start;
        for (nth, field) in fields.iter().enumerate() {
            let room = columns.end.saturating_sub(x);
            if room < 2 {
                // What does not even begin is missing, too.
                self.put(x.min(columns.end.saturating_sub(1)), 1, ELLIPSIS, style);
                break;
            }
            let whole = &line.text()[field.clone()];
            let is_found = self.found.iter().any(|found| overlap(found, field).is_some());
            let shown = match whole.split_once('=') {
                Some((_, id)) if batch == Some(field.start) => short_batch(id),
                Some((key, url)) if all > columns.len() + 1 => {
                    // With space for the mark that something follows.
                    let follows = nth + 1 < fields.len();
                    short_url(key, url, room.saturating_sub(if follows { 2 } else { 0 }))
                }
                _ => Cow::Borrowed(whole),
            };
            x += 1 + if is_found || shown == whole {
                self.part(whole, field.start, x..columns.end, style)
            } else {
                self.put(x, room, &shown, style)
            };
        }
        x.saturating_sub(1).max(columns.start) - columns.start
    }
}

/// The id of a batch with only its end; its start is a time.
fn short_batch(id: &str) -> Cow<'_, str> {
    Cow::Owned(format!("batch={}", text::clip_start(id, SHORT_ID)))
}

/// A URL without its scheme, and with a shorter host or without one, as far as its path needs the
/// space.
fn short_url<'a>(key: &str, url: &'a str, room: usize) -> Cow<'a, str> {
    let without = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(without) = without else { return Cow::Owned(format!("{key}={url}")) };
    let (host, path) = without.split_at(without.find('/').unwrap_or(without.len()));
    let free = room.saturating_sub(text::width(key) + 1);
    let host = match free.saturating_sub(text::width(path)) {
        // Cut off, the start of the path says more than that of the host.
        ..MIN_HOST if path.len() > 1 => Cow::Borrowed(ELLIPSIS),
        columns => text::clip(host, columns.max(MIN_HOST)),
    };
    Cow::Owned(format!("{key}={host}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortened_url_keeps_its_path() {
        let url = "https://www.example.com/docs/getting-started";
        for (room, shown) in [
            (40, "url=www.example.com/docs/getting-started"),
            (39, "url=www.example.c…/docs/getting-started"),
            (30, "url=www.…/docs/getting-started"),
            (20, "url=…/docs/getting-started"),
        ] {
            assert_eq!(short_url("url", url, room), shown, "{room}");
        }
        assert_eq!(short_url("url", "http://example.com/", 10), "url=exam…/");
        assert_eq!(short_url("path", "/track", 4), "path=/track");
    }
}
