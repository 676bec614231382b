//! Reads one detail of a line from the text of its details, without parsing the others.

use std::borrow::Cow;

use serde_json::Value;

/// The value of a detail as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Raw<'a> {
    /// A bare word: text, a number, `true`, `false` or `null`.
    Bare(&'a str),
    /// JSON.
    Json(&'a str),
}

/// A value to compare with.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found<'a> {
    /// Text, or a number as text.
    Text(Cow<'a, str>),
    /// Anything else, as JSON.
    Json(Value),
}

impl<'a> Found<'a> {
    /// The value as shown.
    pub(super) fn into_text(self) -> Cow<'a, str> {
        match self {
            Self::Text(text) => text,
            Self::Json(Value::String(text)) => Cow::Owned(text),
            Self::Json(value) => Cow::Owned(value.to_string()),
        }
    }

    /// The value as shown.
    pub(super) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Json(Value::String(text)) => Cow::Borrowed(text),
            Self::Json(value) => Cow::Owned(value.to_string()),
        }
    }
}

/// The value at a path: `a.b` is the detail `a.b`, or otherwise `b` in the detail `a`.
pub(super) fn find<'a>(fields: &'a str, path: &str) -> Option<Found<'a>> {
    if let Some(raw) = raw(fields, path) {
        return Some(match raw {
            Raw::Bare(word) => Found::Text(Cow::Borrowed(word)),
            Raw::Json(json) => Found::Json(serde_json::from_str(json).ok()?),
        });
    }
    path.match_indices('.').find_map(|(dot, _)| {
        let Raw::Json(json) = raw(fields, &path[..dot])? else { return None };
        let value: Value = serde_json::from_str(json).ok()?;
        inner(&value, &path[dot + 1..]).cloned().map(Found::Json)
    })
}

fn inner<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let step = |value: &'a Value, key: &str| match value {
        Value::Object(map) => map.get(key),
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        _ => None,
    };
    if let Some(found) = step(value, path) {
        return Some(found);
    }
    let mut dots = path.match_indices('.');
    dots.find_map(|(dot, _)| inner(step(value, &path[..dot])?, &path[dot + 1..]))
}

fn raw<'a>(mut rest: &'a str, wanted: &str) -> Option<Raw<'a>> {
    while !rest.is_empty() {
        let (is_it, key_length) = if rest.starts_with('"') {
            let length = json_length(rest)?;
            let key: Option<String> = serde_json::from_str(&rest[..length]).ok();
            (key? == wanted, length)
        } else {
            let length = memchr::memchr(b'=', rest.as_bytes())?;
            (&rest[..length] == wanted, length)
        };
        rest = rest[key_length..].strip_prefix('=')?;
        let is_json = rest.starts_with(['"', '{', '[']);
        let length = if is_json {
            json_length(rest)?
        } else {
            memchr::memchr(b' ', rest.as_bytes()).unwrap_or(rest.len())
        };
        let value = &rest[..length];
        if is_it {
            return Some(if is_json { Raw::Json(value) } else { Raw::Bare(value) });
        }
        rest = rest[length..].strip_prefix(' ').unwrap_or("");
    }
    None
}

/// The length of the string, object or array at the start of a text.
fn json_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut depth, mut quoted, mut at) = (0_usize, false, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => depth = depth.checked_sub(1)?,
            _ => {}
        }
        at += 1;
        if depth == 0 && !quoted {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &str = r#"url=/checkout status=200 title="Hello \"you\" }" batch={"id":"b_1","n":[1,{"x":2}],"a.b":3} "odd key"=true ok=null"#;

    fn text(path: &str) -> Option<String> {
        find(FIELDS, path).map(|found| found.text().into_owned())
    }

    #[test]
    fn values_are_found_by_their_paths() {
        for (path, value) in [
            ("url", "/checkout"),
            ("status", "200"),
            ("title", "Hello \"you\" }"),
            ("batch.id", "b_1"),
            ("batch.n", "[1,{\"x\":2}]"),
            ("batch.n.1.x", "2"),
            ("batch.a.b", "3"),
            ("odd key", "true"),
            ("ok", "null"),
        ] {
            assert_eq!(text(path).as_deref(), Some(value), "{path}");
        }
        for path in ["checkout", "id", "batch.x", "batch.n.7", "status.a", "", "title.x"] {
            assert_eq!(text(path), None, "{path}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_there() {
        for fields in ["{", "a", "\"a", "a={", "a=[}", "=", "\"\\", "a=\"x"] {
            assert_eq!(find(fields, "b"), None, "{fields}");
        }
    }
}
