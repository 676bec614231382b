//! A rule that edits events: sets, removes or cuts a field.
//!
//! | rule | effect |
//! | --- | --- |
//! | `set payload.title = "…"` | sets the field to a JSON value, also if it is missing |
//! | `remove payload.title` | removes the field |
//! | `cut payload.title 500` | cuts a text to this many characters |
//!
//! A name that contains a dot, a space or `=` is written as a JSON string: `payload."a.b"`. Nothing but
//! the field is changed, and an event without the field, or with a value that is not an object on the
//! way to it, is left as it is.

use std::fmt;
use std::str::FromStr;

use serde_json::value::RawValue;

use crate::json::{Fields, object, quoted};
use crate::object::{compact, end_of_string};

/// The most names in a path.
const MAX_NAMES: usize = 32;
/// The notation of all rules.
pub const USAGE: &str = "set FIELD = JSON, remove FIELD or cut FIELD CHARACTERS, as in set \
                         payload.title = \"Home\"";

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EditRule {
    /// As it was typed.
    text: String,
    /// The names from the event to the field.
    path: Vec<String>,
    change: FieldChange,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum FieldChange {
    /// Set it to this JSON.
    Set(String),
    Remove,
    /// Cut it to this many characters.
    Cut(usize),
}

impl EditRule {
    /// The JSON of an event as the rule makes it; `None` if it changes nothing.
    pub fn apply(&self, json: &str) -> Option<String> {
        changed(json, &self.path, &self.change).filter(|changed| changed != json)
    }
}

/// An object with the field at this path changed; `None` if nothing is to be changed.
fn changed(json: &str, path: &[String], change: &FieldChange) -> Option<String> {
    let (name, deeper) = path.split_first()?;
    let fields = Fields::of(json)?.0;
    let place = fields.iter().rposition(|(field, _)| field == name);
    let value = match (place, deeper, change) {
        (Some(_), [], FieldChange::Remove) => None,
        (Some(_), [], FieldChange::Set(value)) => Some(value.clone()),
        (Some(place), [], FieldChange::Cut(most)) => Some(cut(fields[place].1, *most)?),
        (Some(place), deeper, change) => Some(changed(fields[place].1.get(), deeper, change)?),
        (None, [], FieldChange::Set(value)) => Some(value.clone()),
        (None, deeper, FieldChange::Set(_)) => Some(changed("{}", deeper, change)?),
        (None, ..) => return None,
    };
    let mut all: Vec<_> = fields.iter().map(|(name, own)| (name.as_ref(), own.get())).collect();
    match (place, &value) {
        (Some(place), Some(value)) => all[place].1 = value,
        (None, Some(value)) => all.push((name, value)),
        // Also earlier ones of this name, which would take effect otherwise.
        (_, None) => all.retain(|(field, _)| field != name),
    }
    Some(object(all))
}

fn cut(value: &RawValue, most: usize) -> Option<String> {
    let text: String = serde_json::from_str(value.get()).ok()?;
    let (end, _) = text.char_indices().nth(most)?;
    Some(quoted(&text[..end]))
}

impl FromStr for EditRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || format!("must be {USAGE}");
        let (verb, rest) = text.trim().split_once(char::is_whitespace).ok_or_else(usage)?;
        let (path, rest) = path(rest.trim_start())?;
        let rest = rest.trim();
        let change = match verb {
            "set" => {
                let value = rest.strip_prefix('=').map(str::trim).filter(|value| !value.is_empty());
                FieldChange::Set(json(value.ok_or_else(usage)?)?)
            }
            "remove" if rest.is_empty() => FieldChange::Remove,
            "cut" => {
                let most = rest.replace(',', "");
                FieldChange::Cut(most.parse().map_err(|_| {
                    format!("cut needs a number of characters after the field, not {rest:?}")
                })?)
            }
            _ => return Err(usage()),
        };
        if let [name] = path.as_slice()
            && matches!(name.as_str(), "id" | "projectId" | "pushTicket")
        {
            return Err(format!("{name} cannot be changed, so that nothing is stored twice"));
        }
        Ok(Self { text: text.trim().to_owned(), path, change })
    }
}

fn json(text: &str) -> Result<String, String> {
    serde_json::from_str::<&RawValue>(text).map_err(|_| {
        format!("{text} is not JSON; a text needs quotes, as in {}", quoted(text.trim_matches('"')))
    })?;
    Ok(compact(text).unwrap_or_else(|| text.to_owned()))
}

/// Reads the names at the start of a text; also returns the rest of it.
fn path(text: &str) -> Result<(Vec<String>, &str), String> {
    let (mut names, mut rest) = (Vec::new(), text);
    loop {
        let end = match rest.as_bytes() {
            [b'"', ..] => end_of_string(rest.as_bytes(), 0),
            _ => rest
                .find(|c: char| matches!(c, '.' | '=') || c.is_whitespace())
                .unwrap_or(rest.len()),
        };
        let (name, after) = rest.split_at(end);
        let name = match name.strip_prefix('"') {
            None => name.to_owned(),
            Some(_) => serde_json::from_str(name).map_err(|_| format!("{name} is not a name"))?,
        };
        if name.is_empty() || names.len() == MAX_NAMES {
            return Err(format!("not a field: must be {USAGE}"));
        }
        names.push(name);
        match after.strip_prefix('.') {
            Some(more) => rest = more,
            None => return Ok((names, after)),
        }
    }
}

/// As it was typed.
impl fmt::Display for EditRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(rule: &str, json: &str) -> Option<String> {
        rule.parse::<EditRule>().unwrap_or_else(|error| panic!("{rule}: {error}")).apply(json)
    }

    #[test]
    fn fields_are_set_removed_and_cut_and_nothing_else_changes() {
        let json = r#"{"n":1.50,"payload":{"title":"Ünder","x":{"a.b":7}},"z":[1]}"#;
        for (rule, result) in [
            (r#"set payload.title = "a.b = c""#, json.replace("Ünder", "a.b = c")),
            ("set n = [ 1, 2 ]", json.replace("1.50", "[1,2]")),
            ("set payload.y.z = null", json.replace("}},", r#"},"y":{"z":null}},"#)),
            ("set y=1", json.replace("[1]}", "[1],\"y\":1}")),
            ("remove payload.title", json.replace(r#""title":"Ünder","#, "")),
            (r#"remove payload.x."a.b""#, json.replace(r#""a.b":7"#, "")),
            ("cut payload.title 2", json.replace("Ünder", "Ün")),
            ("cut payload.title 0", json.replace("Ünder", "")),
        ] {
            assert_eq!(applied(rule, json), Some(result), "{rule}");
        }
    }

    #[test]
    fn what_does_not_fit_is_left_as_it_is() {
        let json = r#"{"n":1,"payload":{"title":"abc"}}"#;
        for rule in [
            "cut payload.title 3",
            "cut payload.title 1,000",
            "cut n 0",
            "cut payload.none 1",
            "remove payload.none",
            "remove none.title",
            "remove n.title",
            "set n.title = 1",
            "set n = 1",
        ] {
            assert_eq!(applied(rule, json), None, "{rule}");
        }
        for other in ["garbage", "[]", "7", ""] {
            assert_eq!(applied("set x = 1", other), None, "{other}");
        }
        let twice = r#"{"a":1,"a":2,"b":3}"#;
        assert_eq!(applied("remove a", twice).unwrap(), r#"{"b":3}"#);
        assert_eq!(applied("set a = 4", twice).unwrap(), r#"{"a":1,"a":4,"b":3}"#);
    }

    #[test]
    fn an_error_is_explained() {
        let error = |rule: &str| rule.parse::<EditRule>().unwrap_err();
        for rule in
            ["", "set", "set x", "set x =", "drop x", "remove x y", "set = 1", "set a..b = 1"]
        {
            assert!(error(rule).contains("set FIELD = JSON"), "{rule}: {}", error(rule));
        }
        assert_eq!(
            error("set payload.title = Home page"),
            "Home page is not JSON; a text needs quotes, as in \"Home page\""
        );
        assert!(error("cut payload.title x").contains("number of characters"));
        for name in ["id", "projectId", "pushTicket"] {
            assert!(error(&format!("remove {name}")).contains("stored twice"));
        }
    }

    #[test]
    fn a_rule_is_shown_as_it_was_typed() {
        let rule: EditRule = " set payload.\"a.b\".c  = \"x y\" ".parse().unwrap();
        assert_eq!(rule.to_string(), "set payload.\"a.b\".c  = \"x y\"");
    }
}
