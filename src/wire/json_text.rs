//! JSON as text for people and back, with the same tokens: numbers keep their digits, fields their
//! order, and strings their escapes.

use serde_json::value::RawValue;

use crate::object::{compact, end_of_string};

/// The columns by which a level is indented.
const INDENT: usize = 2;
/// Deeper levels are not indented further.
const MAX_INDENT: usize = 64;

/// The JSON with a line for each value; `None` if it is not JSON.
pub fn pretty(json: &str) -> Option<String> {
    serde_json::from_str::<&RawValue>(json).ok()?;
    let bytes = json.as_bytes();
    let mut out = String::with_capacity(json.len() * 2);
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(&byte) = bytes.get(at) {
        let end = if byte == b'"' { end_of_string(bytes, at) } else { at + 1 };
        match byte {
            b'{' | b'[' => {
                let inner = json[end..].trim_ascii_start();
                if inner.starts_with(['}', ']']) {
                    out.push_str(if byte == b'{' { "{}" } else { "[]" });
                    at = json.len() - inner.len() + 1;
                    continue;
                }
                depth += 1;
                out.push(char::from(byte));
                new_line(&mut out, depth);
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(char::from(byte));
            }
            b',' => {
                out.push(',');
                new_line(&mut out, depth);
            }
            b':' => out.push_str(": "),
            byte if byte.is_ascii_whitespace() => {}
            _ => out.push_str(&json[at..end]),
        }
        at = end;
    }
    Some(out)
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', INDENT * depth.min(MAX_INDENT)));
}

/// The JSON in one line without whitespace between its tokens.
///
/// # Errors
/// What is wrong with it, with its line and column.
pub fn one_line(json: &str) -> Result<String, String> {
    serde_json::from_str::<&RawValue>(json).map_err(|error| format!("not JSON: {error}"))?;
    Ok(compact(json).unwrap_or_else(|| json.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tokens_stay_as_they_are() {
        let json = r#"{"b":1.50,"a":{},"c":[ ] ,"d":[1,{"e":"a\"b, {é\u00e9"}],"b":null}"#;
        let shown = "{\n  \"b\": 1.50,\n  \"a\": {},\n  \"c\": [],\n  \"d\": [\n    1,\n    {\n      \
                     \"e\": \"a\\\"b, {é\\u00e9\"\n    }\n  ],\n  \"b\": null\n}";
        assert_eq!(pretty(json).unwrap(), shown);
        assert_eq!(one_line(shown).unwrap(), json.replace("[ ] ", "[]"));
        assert_eq!(pretty("\"x\"").unwrap(), "\"x\"");
        for other in ["", "{", "garbage", "{} {}"] {
            assert_eq!(pretty(other), None, "{other}");
            assert!(one_line(other).unwrap_err().contains("not JSON"));
        }
        assert!(one_line("{\n  \"a\": }").unwrap_err().contains("line 2 column 8"));
    }

    #[test]
    fn deep_nesting_is_bounded() {
        let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
        let shown = pretty(&deep).unwrap();
        assert!(shown.len() < 10_000 * (INDENT * MAX_INDENT + 2), "{}", shown.len());
        assert_eq!(one_line(&shown).unwrap(), deep);
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_shown_is_the_same_json(json in any_json()) {
            let text = json.to_string();
            let shown = pretty(&text).unwrap();
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), json);
            prop_assert_eq!(one_line(&shown).unwrap(), text);
        }
    }
}
