//! The order of a line's details, and the reason among them.

use std::ops::Range;

use super::LineRef;

/// The details that say why something failed. They come before all others.
pub(crate) const REASONS: [&str; 3] = ["error", "reason", "problem"];

/// The most useful details, most important first.
const FIRST: [&str; 15] = [
    REASONS[0],
    REASONS[1],
    REASONS[2],
    "url",
    "path",
    "status",
    "type",
    "trackingId",
    "eventType",
    "sessionId",
    "count",
    "size",
    "rows",
    "events",
    "waitedMs",
];

/// The least useful details, least important last.
const LAST: [&str; 4] = ["peer", "token", "eventIds", BATCH];

/// The id of a batch.
const BATCH: &str = "batchId";

/// The place of a detail; those of the same place keep their order.
pub(super) fn place(key: &str) -> usize {
    if let Some(first) = FIRST.iter().position(|&known| known == key) {
        return first;
    }
    FIRST.len() + LAST.iter().position(|&known| known == key).map_or(0, |last| last + 1)
}

impl<'a> LineRef<'a> {
    /// Where the reason is in [`LineRef::text`], and where the details after it start; `None` if
    /// the line has no reason. A quoted text is without its quotes.
    pub fn reason(&self) -> Option<(Range<usize>, usize)> {
        let fields = self.fields();
        let (key, value) = fields.split_once('=')?;
        if !REASONS.contains(&key) {
            return None;
        }
        let start = self.fields_start() + key.len() + 1;
        let (from, to, after) = match value.strip_prefix('"') {
            Some(quoted) => {
                let end = end_of_quoted(quoted)?;
                (1, 1 + end, end + 2)
            }
            None => {
                let end = value.find(' ').unwrap_or(value.len());
                (0, end, end)
            }
        };
        let rest = start + after + usize::from(value[after..].starts_with(' '));
        Some((start + from..start + to, rest))
    }

    /// Where each detail is in [`LineRef::text`], in the order shown.
    pub fn field_ranges(&self) -> impl Iterator<Item = Range<usize>> + use<'a> {
        let (fields, offset) = (self.fields(), self.fields_start());
        let mut start = 0;
        std::iter::from_fn(move || {
            let rest = fields.get(start..).filter(|rest| !rest.is_empty())?;
            let end = start + end_of_field(rest);
            let range = offset + start..offset + end;
            start = end + 1;
            Some(range)
        })
    }

    /// Where the id of the batch and the label before it start in [`LineRef::fields`], and the id:
    /// always the last detail.
    pub fn batch(&self) -> Option<(usize, &'a str)> {
        let fields = self.fields();
        let start = fields.rfind(' ').map_or(0, |space| space + 1);
        let id = fields[start..].strip_prefix(BATCH)?.strip_prefix('=')?;
        Some((start, id))
    }
}

/// Where the first detail ends: at a space that is not quoted.
fn end_of_field(fields: &str) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    let end = fields.find(|c: char| {
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped && quoted;
        c == ' ' && !quoted
    });
    end.unwrap_or(fields.len())
}

/// Where a quoted text ends, which starts after its first quote.
fn end_of_quoted(quoted: &str) -> Option<usize> {
    let mut escaped = false;
    quoted.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::model::line::OwnedLine;
    use bklit_wire::debug_log::{DebugLog, Level, Stage};

    fn line(data: &serde_json::Value) -> OwnedLine {
        let mut log = DebugLog::new(Stage::Worker, Level::Error, "Batch failed");
        log.data = data.as_object().cloned().unwrap_or_default();
        log.event_id = Some("evt_1".into());
        OwnedLine::of(&log)
    }

    /// The reason, and the details after it.
    fn split(line: &OwnedLine) -> Option<(String, String)> {
        let line = line.as_ref();
        let (reason, rest) = line.reason()?;
        let end = line.event_start() - 1;
        Some((line.text()[reason].to_owned(), line.text()[rest..end].to_owned()))
    }

    #[test]
    fn details_are_ordered_by_importance() {
        let line = line(&json!({
            "batchId": "b_17", "attempt": 3, "sessionId": "s", "url": "/a", "reason": "locked",
            "peer": "::", "title": "t",
        }));
        let fields = line.as_ref().fields();
        assert_eq!(
            fields,
            "reason=locked url=/a sessionId=s attempt=3 title=t peer=:: batchId=b_17"
        );
        assert_eq!(line.as_ref().batch(), Some((fields.len() - 12, "b_17")));
        assert_eq!(self::line(&json!({ "batchId": "b" })).as_ref().batch(), Some((0, "b")));
        assert_eq!(self::line(&json!({ "note": "batchId=b" })).as_ref().batch(), None);
    }

    #[test]
    fn the_reason_is_found_whatever_its_form() {
        let parts = |data: serde_json::Value| split(&line(&data));
        let found = |reason: &str, rest: &str| Some((reason.to_owned(), rest.to_owned()));
        assert_eq!(parts(json!({ "error": "a b", "n": 1 })), found("a b", "n=1"));
        assert_eq!(parts(json!({ "reason": "locked" })), found("locked", ""));
        assert_eq!(parts(json!({ "problem": "x", "url": "/" })), found("x", "url=/"));
        let quoted = json!({ "error": "said \"no\" \\", "n": 1 });
        assert_eq!(parts(quoted), found(r#"said \"no\" \\"#, "n=1"));
        assert_eq!(parts(json!({ "error": "", "n": 1 })), found("", "n=1"));
        assert_eq!(parts(json!({ "n": 1 })), None);
        assert_eq!(parts(json!({})), None);
    }
}
