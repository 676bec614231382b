//! A JSON object that is passed on as it was sent.

use std::fmt;

use memchr::{memchr, memchr2, memmem};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::json::{Fields, object, quoted};

/// The field of an [`Object`] that holds what is not an object itself.
const VALUE: &str = "value";

/// A JSON object as text, without whitespace between its tokens. Its fields keep their order, its
/// numbers their digits, and it may be nested to any depth.
///
/// Any other JSON value is read as the field `value` of an object, so that it is not lost.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct Object(Box<RawValue>);

impl Object {
    /// The object that `value` is serialised to.
    pub fn of(value: &impl Serialize) -> Self {
        // What this crate serialises has text keys only, and always serialises.
        to_raw_value(value).map(Self::from).unwrap_or_default()
    }

    /// The JSON.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The number of objects and arrays that are open at its deepest place: 1 for `{"a":1}`.
    pub fn depth(&self) -> usize {
        let (mut depth, mut deepest) = (0_usize, 0);
        outside_strings(self.as_str(), |_, byte| match byte {
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        });
        deepest
    }

    /// Its JSON with the given text as an additional field. A field of this name is replaced.
    pub fn with(&self, name: &str, text: &str) -> String {
        let (json, value) = (self.as_str(), quoted(text));
        // A name with escapes in it can be recognised only by parsing.
        let may_contain = memmem::find(json.as_bytes(), name.as_bytes()).is_some()
            || memchr(b'\\', json.as_bytes()).is_some();
        if may_contain && let Some(fields) = Fields::of(json) {
            let (mut all, mut added) = (Vec::new(), Some((name, value.as_str())));
            for (field, own) in &fields.0 {
                if field == name {
                    all.extend(added.take());
                } else {
                    all.push((field.as_ref(), own.get()));
                }
            }
            all.extend(added);
            return object(all);
        }
        let open = &json[..json.len() - 1];
        let comma = if open.len() > 1 { "," } else { "" };
        format!("{open}{comma}{}:{value}}}", quoted(name))
    }
}

/// Calls `visit` with each byte that is not part of a string, and its position.
fn outside_strings(json: &str, mut visit: impl FnMut(usize, u8)) {
    let bytes = json.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte == b'"' {
            at = end_of_string(bytes, at);
        } else {
            visit(at, byte);
            at += 1;
        }
    }
}

/// The position after the string that begins at `open`.
pub(crate) fn end_of_string(json: &[u8], open: usize) -> usize {
    let mut at = open + 1;
    while let Some(found) = json.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if json[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    json.len()
}

/// The JSON without whitespace between its tokens; `None` if there is none.
pub(crate) fn compact(json: &str) -> Option<String> {
    let (mut compact, mut copied) = (String::new(), 0);
    outside_strings(json, |at, byte| {
        if byte.is_ascii_whitespace() {
            compact.push_str(&json[copied..at]);
            copied = at + 1;
        }
    });
    if copied == 0 {
        return None;
    }
    compact.push_str(&json[copied..]);
    Some(compact)
}

impl From<Box<RawValue>> for Object {
    fn from(value: Box<RawValue>) -> Self {
        let compact = compact(value.get());
        let text = compact.as_deref().unwrap_or(value.get());
        if text.starts_with('{') {
            return match compact {
                None => Self(value),
                Some(compact) => Self(RawValue::from_string(compact).unwrap_or(value)),
            };
        }
        let held = RawValue::from_string(object([(VALUE, text)]));
        held.map(Self).unwrap_or_default()
    }
}

impl Default for Object {
    /// The object without fields.
    fn default() -> Self {
        // The fallback is unreachable: this is valid JSON.
        Self(RawValue::from_string("{}".to_owned()).unwrap_or_default())
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    fn read(json: &str) -> Object {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn digits_and_order_are_kept_and_whitespace_is_not() {
        let sent = "{ \"z\" : 12345678901234567890123,\n\"a b\":[ 0.1234567890123456789 ,1e400], \"\\\" \":{} }";
        let kept = r#"{"z":12345678901234567890123,"a b":[0.1234567890123456789,1e400],"\" ":{}}"#;
        assert_eq!(read(sent).as_str(), kept);
        assert_eq!(read(kept).as_str(), kept);
        assert_eq!(serde_json::to_string(&read(sent)).unwrap(), kept);
    }

    #[test]
    fn other_values_become_a_field() {
        for (sent, kept) in [
            ("[1, 2]", r#"{"value":[1,2]}"#),
            (r#""a b""#, r#"{"value":"a b"}"#),
            ("1e400", r#"{"value":1e400}"#),
            ("true", r#"{"value":true}"#),
        ] {
            assert_eq!(read(sent).as_str(), kept);
        }
        assert_eq!(serde_json::from_str::<Option<Object>>("null").unwrap(), None);
    }

    #[test]
    fn a_field_is_added_or_replaced_in_its_place() {
        for (sent, with) in [
            ("{}", r#"{"eventType":"a\"b"}"#),
            (r#"{"n":1e400}"#, r#"{"n":1e400,"eventType":"a\"b"}"#),
            (r#"{"eventType":7,"n":1}"#, r#"{"eventType":"a\"b","n":1}"#),
            (
                r#"{"m":"eventType","n":{"eventType":1}}"#,
                r#"{"m":"eventType","n":{"eventType":1},"eventType":"a\"b"}"#,
            ),
            (
                r#"{"a":1,"event\u0054ype":1,"b":2,"eventType":3}"#,
                r#"{"a":1,"eventType":"a\"b","b":2}"#,
            ),
            (r#"{"a":"\\","b":2}"#, r#"{"a":"\\","b":2,"eventType":"a\"b"}"#),
        ] {
            assert_eq!(read(sent).with("eventType", "a\"b"), with, "{sent}");
        }
    }

    #[test]
    fn depth_counts_what_is_open_at_once() {
        for (json, depth) in
            [("{}", 1), (r#"{"a":[[]],"b":[]}"#, 3), (r#"{"[[[[":"{\"["}"#, 1), ("[1]", 2)]
        {
            assert_eq!(read(json).depth(), depth, "{json}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(read(&deep).depth(), 100_001);
        assert!(read(&deep).with("b", "c").ends_with(r#"]],"b":"c"}"#));
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 30, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[a-z\\\\\" eventTyp]{0,9}|eventType", inner), 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_means_what_was_sent(value in values(), pretty in any::<bool>(), text in any::<String>()) {
            let sent = if pretty { serde_json::to_string_pretty(&value) } else { Ok(value.to_string()) };
            let Some(object) = serde_json::from_str::<Option<Object>>(&sent.unwrap()).unwrap() else {
                return Ok(());
            };
            let mut meant = match value {
                Value::Object(fields) => fields,
                other => Map::from_iter([("value".to_owned(), other)]),
            };
            prop_assert_eq!(object.as_str(), Value::Object(meant.clone()).to_string());
            meant.insert("eventType".to_owned(), json!(text));
            let with: Value = serde_json::from_str(&object.with("eventType", &text)).unwrap();
            prop_assert_eq!(with, Value::Object(meant));
        }
    }
}
