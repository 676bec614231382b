//! Gives the fields of an object the types that they should have, as far as they can be converted.
//!
//! JavaScript, and ClickHouse's JSON formats, accept a number or a boolean for a text, and `"1.5"` for
//! a number; so senders exist that write them. Objects of the right types, as almost all are, never
//! come here: they are parsed directly.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::value::RawValue;

use crate::json::{Fields, object, quoted};
use crate::time::UtcMillis;

/// What a field should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A text that identifies or names something. Numbers and booleans are converted, as they were
    /// written.
    Name,
    /// Any other text: objects and arrays are converted, too.
    Text,
    /// A boolean. Converted: 0, 1, and the words that ClickHouse accepts, such as `yes`.
    Bool,
    /// A finite number. Numbers in text are converted.
    Number,
    /// A time that is left out if it is not readable.
    OptionalTime,
    /// Anything; not converted.
    Any,
}

/// An object whose fields have known types.
pub trait Typed {
    /// The type of the field with this name; [`Type::Any`] if it is unknown.
    fn type_of(field: &str) -> Type;
}

impl<T: Typed> Typed for Box<T> {
    fn type_of(field: &str) -> Type {
        T::type_of(field)
    }
}

/// The object with converted fields. A field that is `null` is left out, and so is an optional one
/// that cannot be converted; the latter are described in `left_out`.
pub fn convert(
    fields: &Fields<'_>,
    type_of: impl Fn(&str) -> Type,
    left_out: &mut Vec<String>,
) -> String {
    let mut converted = Vec::with_capacity(fields.0.len());
    for (name, value) in &fields.0 {
        if value.get() == "null" {
            continue;
        }
        let (converted_value, expected) = match type_of(name) {
            Type::Name => (Some(name_of(value)), ""),
            Type::Text => (Some(text(value)), ""),
            Type::Bool => (boolean(value), "a boolean"),
            Type::Number => (number(value), "a number"),
            Type::OptionalTime => (time(value), "a date"),
            Type::Any => (Some(Cow::Borrowed(value.get())), ""),
        };
        match converted_value {
            Some(value) => converted.push((name, value)),
            None => left_out.push(format!("{name}: not {expected}")),
        }
    }
    object(converted.iter().map(|(name, value)| (name.as_ref(), value.as_ref())))
}

/// Only the last field of each name, as in JavaScript.
pub fn last_of_each(fields: Fields<'_>) -> Fields<'_> {
    let mut seen = HashSet::new();
    let is_last: Vec<bool> =
        fields.0.iter().rev().map(|(name, _)| seen.insert(name.clone())).collect();
    let kept = fields.0.into_iter().zip(is_last.into_iter().rev());
    Fields(kept.filter_map(|(field, is_last)| is_last.then_some(field)).collect())
}

fn is_compound(value: &RawValue) -> bool {
    value.get().starts_with(['{', '['])
}

/// The text that a [`Type::Name`] is read as; `None` for `null`, objects and arrays.
pub fn name(value: &RawValue) -> Option<String> {
    if is_compound(value) || value.get() == "null" {
        return None;
    }
    serde_json::from_str(&text(value)).ok()
}

fn name_of(value: &RawValue) -> Cow<'_, str> {
    if is_compound(value) {
        return Cow::Borrowed(value.get());
    }
    text(value)
}

fn text(value: &RawValue) -> Cow<'_, str> {
    match value.get() {
        json if json.starts_with('"') => Cow::Borrowed(json),
        json => Cow::Owned(quoted(json)),
    }
}

/// The content of a text, or the JSON of another value.
fn content(value: &RawValue) -> String {
    let content: Result<String, _> = serde_json::from_str(value.get());
    content.unwrap_or_else(|_| value.get().to_owned()).trim().to_owned()
}

fn boolean(value: &RawValue) -> Option<Cow<'_, str>> {
    let yes = match content(value).to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" => true,
        "false" | "f" | "no" | "n" | "off" => false,
        number => match number.parse::<f64>().ok()? {
            0.0 => false,
            1.0 => true,
            _ => return None,
        },
    };
    Some(Cow::Borrowed(if yes { "true" } else { "false" }))
}

fn number(value: &RawValue) -> Option<Cow<'_, str>> {
    let number: f64 = content(value).parse().ok()?;
    serde_json::Number::from_f64(number).map(|number| Cow::Owned(number.to_string()))
}

fn time(value: &RawValue) -> Option<Cow<'_, str>> {
    let time: Option<UtcMillis> = serde_json::from_str(value.get()).ok();
    time.map(|_| Cow::Borrowed(value.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(json: &str) -> (String, Vec<String>) {
        let mut left_out = Vec::new();
        let type_of = |field: &str| match field {
            "name" => Type::Name,
            "text" => Type::Text,
            "bool" => Type::Bool,
            "number" => Type::Number,
            "time" => Type::OptionalTime,
            _ => Type::Any,
        };
        (convert(&Fields::of(json).unwrap(), type_of, &mut left_out), left_out)
    }

    #[test]
    fn values_are_converted_to_the_type_of_their_field() {
        for (field, sent, read) in [
            ("text", "7", r#""7""#),
            ("text", "12345678901234567890123", r#""12345678901234567890123""#),
            ("text", "1e400", r#""1e400""#),
            ("text", "false", r#""false""#),
            ("text", r#"{"a":"b"}"#, r#""{\"a\":\"b\"}""#),
            ("text", r#""\u00e9""#, r#""\u00e9""#),
            ("name", "1.50", r#""1.50""#),
            ("name", "[1]", "[1]"),
            ("bool", r#""TRUE""#, "true"),
            ("bool", r#"" no ""#, "false"),
            ("bool", "1", "true"),
            ("bool", "0.0", "false"),
            ("bool", r#""1""#, "true"),
            ("number", r#"" 59.91""#, "59.91"),
            ("number", r#""+.5""#, "0.5"),
            ("number", "-10", "-10.0"),
            ("time", r#""2026-01-31""#, r#""2026-01-31""#),
            ("other", "[1e400]", "[1e400]"),
        ] {
            let expected = format!("{{\"{field}\":{read}}}");
            let (json, left_out) = converted(&format!("{{\"{field}\": {sent} }}"));
            assert_eq!((json, left_out.len()), (expected, 0), "{field} {sent}");
        }
    }

    #[test]
    fn what_cannot_be_converted_is_left_out_and_named() {
        for (field, sent, problem) in [
            ("bool", "2", "bool: not a boolean"),
            ("bool", r#""maybe""#, "bool: not a boolean"),
            ("bool", "{}", "bool: not a boolean"),
            ("number", r#""north""#, "number: not a number"),
            ("number", r#""NaN""#, "number: not a number"),
            ("number", "1e400", "number: not a number"),
            ("time", r#""noon""#, "time: not a date"),
        ] {
            let (json, left_out) = converted(&format!("{{\"{field}\":{sent},\"x\":1}}"));
            assert_eq!((json.as_str(), left_out), (r#"{"x":1}"#, vec![problem.to_owned()]));
        }
        assert_eq!(converted(r#"{"text":null,"other":null}"#), ("{}".to_owned(), Vec::new()));
    }

    #[test]
    fn the_last_of_several_fields_counts() {
        let fields = last_of_each(Fields::of(r#"{"a":1,"b":2,"\u0061":3}"#).unwrap());
        assert_eq!(written_of(&fields), r#"{"b":2,"a":3}"#);
    }

    fn written_of(fields: &Fields<'_>) -> String {
        convert(fields, |_| Type::Any, &mut Vec::new())
    }
}
