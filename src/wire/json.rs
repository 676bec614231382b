//! JSON text from other programs, before it is parsed into types: what is repaired in it, and the
//! fields of an object with their values unparsed.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Makes text readable as JSON: skips a byte order mark, and replaces surrogates without a partner.
/// Text that needs neither, as almost all does, is searched once for backslashes and not copied.
pub fn repaired(text: &str) -> Cow<'_, str> {
    without_lone_surrogates(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Replaces escapes of surrogates that have no partner by `\ufffd`. JavaScript writes them for text
/// that was cut within a character, and they stand for nothing that UTF-8 could represent.
fn without_lone_surrogates(json: &str) -> Cow<'_, str> {
    let bytes = json.as_bytes();
    let mut lone = Vec::new();
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr(b'\\', rest)) {
        let escape = at + found;
        at = escape
            + match surrogate(bytes, escape) {
                None => 2,
                Some(Half::High) if surrogate(bytes, escape + ESCAPE) == Some(Half::Low) => {
                    2 * ESCAPE
                }
                Some(_) => {
                    lone.push(escape);
                    ESCAPE
                }
            };
    }
    if lone.is_empty() {
        return Cow::Borrowed(json);
    }
    let mut repaired = String::with_capacity(json.len());
    let mut copied = 0;
    for escape in lone {
        repaired.push_str(&json[copied..escape]);
        repaired.push_str("\\ufffd");
        copied = escape + ESCAPE;
    }
    repaired.push_str(&json[copied..]);
    Cow::Owned(repaired)
}

/// The length of `\ud83d`.
const ESCAPE: usize = 6;

#[derive(PartialEq)]
enum Half {
    High,
    Low,
}

/// Which half of a surrogate pair the escape at this position is, if it is one.
fn surrogate(json: &[u8], escape: usize) -> Option<Half> {
    let [b'\\', b'u', b'd' | b'D', second, third, fourth] = json.get(escape..escape + ESCAPE)?
    else {
        return None;
    };
    if !third.is_ascii_hexdigit() || !fourth.is_ascii_hexdigit() {
        return None;
    }
    match second.to_ascii_lowercase() {
        b'8' | b'9' | b'a' | b'b' => Some(Half::High),
        b'c'..=b'f' => Some(Half::Low),
        _ => None,
    }
}

/// A field name, borrowed unless the JSON has escapes in it.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct Key<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// The fields of an object in their order, each with its value as text. Values may be nested to any
/// depth.
pub struct Fields<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Fields<'a> {
    /// Reads an object; `None` for anything else.
    pub fn of(json: &'a str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    /// The value of a field: the last one if there are several.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(field, _)| field == name).map(|(_, value)| *value)
    }
}

/// The JSON of each member of an array. Bytes that are not UTF-8 affect only the members that
/// contain them.
///
/// # Errors
/// If it is not a JSON array.
pub fn members(array: &[u8]) -> Result<Vec<&[u8]>, serde_json::Error> {
    let error = match serde_json::from_slice::<Vec<&RawValue>>(array) {
        Ok(members) => return Ok(members.into_iter().map(|it| it.get().as_bytes()).collect()),
        Err(error) => error,
    };
    if std::str::from_utf8(array).is_ok() {
        return Err(error);
    }
    // The same with other characters in their places.
    let mut text = String::with_capacity(array.len());
    for chunk in array.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    let start = text.as_ptr() as usize;
    let members: Vec<&RawValue> = serde_json::from_str(&text)?;
    let original = |member: &RawValue| {
        let at = member.get().as_ptr() as usize - start;
        array.get(at..at + member.get().len()).unwrap_or_default()
    };
    Ok(members.into_iter().map(original).collect())
}

/// An object with these fields; the values are JSON.
pub fn object<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut json = "{".to_owned();
    for (name, value) in fields {
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str(&quoted(name));
        json.push(':');
        json.push_str(value);
    }
    json.push('}');
    json
}

/// A text as JSON.
pub fn quoted(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    push_quoted(&mut json, text);
    json
}

/// Appends a text as JSON. Most texts need no escapes, which is found out several bytes at a time.
pub fn push_quoted(json: &mut String, text: &str) {
    if needs_escapes(text) {
        // Texts always serialise.
        json.push_str(&serde_json::to_string(text).unwrap_or_default());
    } else {
        json.push('"');
        json.push_str(text);
        json.push('"');
    }
}

fn needs_escapes(text: &str) -> bool {
    let needs_one = |byte: u8| (byte < b' ') | (byte == b'"') | (byte == b'\\');
    // Without an early end, so that the compiler compares many bytes at once.
    text.bytes().fold(false, |found, byte| found | needs_one(byte))
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some((Key(name), value)) = map.next_entry()? {
                    fields.push((name, value));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn surrogates_without_a_partner_are_replaced() {
        for (sent, read) in [
            (r#""Sale \ud83d""#, "Sale \u{fffd}"),
            (r#""\uD83D""#, "\u{fffd}"),
            (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}\u{1f600}"),
            (r#""\ud83d\ude00\ude00""#, "\u{1f600}\u{fffd}"),
            (r#""\ud83dx\ude00""#, "\u{fffd}x\u{fffd}"),
            (r#""\ud83d\n\"""#, "\u{fffd}\n\""),
            (r#""\\ud83d""#, "\\ud83d"),
            (r#""\\\ud83d""#, "\\\u{fffd}"),
            (r#""\ud83d\\ude00""#, "\u{fffd}\\ude00"),
            (r#""\ud7ff\ue000""#, "\u{d7ff}\u{e000}"),
            ("\u{feff}\"a\"", "a"),
        ] {
            assert_eq!(serde_json::from_str::<String>(&repaired(sent)).unwrap(), read, "{sent}");
        }
    }

    #[test]
    fn nothing_else_is_changed_or_copied() {
        for json in
            [r#"{"a":"\ud83d\ude00 \u00e9 \\ud83d"}"#, "\\", "\"\\u", "\"\\ud8", "\\ud83", ""]
        {
            assert!(matches!(repaired(json), Cow::Borrowed(same) if same == json), "{json}");
        }
    }

    proptest! {
        /// Every string that JavaScript can hold can be read, and is read as JavaScript would show it.
        #[test]
        fn any_utf_16_is_read_as_lossy_utf_16(units in prop::collection::vec(
            prop_oneof![any::<u16>(), 0xd800_u16..=0xdfff, Just(0x5c), Just(0x75)], 0..20,
        )) {
            let escaped: String = units.iter().map(|unit| match unit {
                0x5c => "\\\\".to_owned(),
                0x75 => "u".to_owned(),
                unit => format!("\\u{unit:04x}"),
            }).collect();
            let json = format!("\"{escaped}\"");
            let read: String = serde_json::from_str(&repaired(&json)).unwrap();
            prop_assert_eq!(read, String::from_utf16_lossy(&units));
        }

        #[test]
        fn texts_are_quoted_as_by_serde(text in "[ -~]{0,40}|\\PC{0,20}|[\\x00-\\x1f\"\\\\é\u{7f}]{0,10}") {
            prop_assert_eq!(quoted(&text), serde_json::to_string(&text).unwrap());
        }

        #[test]
        fn any_text_is_accepted_without_panicking(text in r#"[\\ud8d0-9a-f"{}é]{0,40}"#) {
            let _ = repaired(&text);
        }
    }
}
