//! A request's body, read in one pass: the event, and beside its fields the project and the
//! client's id.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Rejection;
use bklit_wire::event::{InvalidEvent, parse_naming_field};

/// The longest problem that is told of a field, in characters: it may quote the body.
const MAX_PROBLEM: usize = 160;

/// An event as a client sends it.
#[derive(Debug)]
pub struct Envelope<T> {
    pub project_id: Option<String>,
    pub event_id: Option<String>,
    pub event: T,
}

/// Fields that only the server may fill: where the visitor is and with what, which a client could
/// make up. As for any unknown field, whatever they hold is skipped.
fn is_the_servers(field: &str) -> bool {
    matches!(
        field,
        "ip" | "country"
            | "countryCode"
            | "region"
            | "regionName"
            | "city"
            | "zip"
            | "timezone"
            | "isp"
            | "lat"
            | "lon"
            | "mobile"
    )
}

impl<T> Envelope<T> {
    /// Reads a body: one JSON object.
    pub fn parse<'a>(body: &'a [u8]) -> Result<Self, Rejection>
    where
        T: Deserialize<'a>,
    {
        if body.trim_ascii().is_empty() {
            return Err(Rejection::field("body", "empty; expected a JSON object"));
        }
        let text = std::str::from_utf8(body).map_err(|_| Rejection::field("body", "not UTF-8"))?;
        match serde_json::from_str(text) {
            Ok(envelope) => Ok(envelope),
            Err(error) if error.is_data() => parse_naming_field(body, "").map_err(named),
            // A mistake in the JSON itself: there the place helps, and no field is to blame.
            Err(error) => Err(Rejection::field("body", format!("not valid JSON: {error}"))),
        }
    }
}

/// Says what serde says in words of JSON, and without the place in the text: the field is named.
fn named(error: InvalidEvent) -> Rejection {
    let message = error.message.as_str();
    let field = if error.field == "(event)" { "body".to_owned() } else { error.field };
    if message.starts_with("missing field `") {
        return Rejection::field(field, "missing");
    }
    if let Some(twice) = message.strip_prefix("duplicate field `") {
        let field = twice.split('`').next().unwrap_or_default();
        return Rejection::field(field.to_owned(), "given twice");
    }
    let problem = message.rsplit_once(" at line ").map_or(message, |(problem, _)| problem);
    let problem = match problem
        .strip_prefix("invalid type: ")
        .and_then(|problem| problem.rsplit_once(", expected "))
    {
        Some((found, expected)) => {
            // Only the bare words: what is quoted is the client's.
            let found = match found {
                "map" => "an object",
                "sequence" => "an array",
                found => found,
            };
            format!("expected {}, found {found}", expected.replace("a map", "an object"))
        }
        None => problem.to_owned(),
    };
    if problem.chars().count() <= MAX_PROBLEM {
        return Rejection::field(field, problem);
    }
    let clipped: String = problem.chars().take(MAX_PROBLEM).chain(['…']).collect();
    Rejection::field(field, clipped)
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Envelope<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EnvelopeVisitor(PhantomData))
    }
}

struct EnvelopeVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for EnvelopeVisitor<T> {
    type Value = Envelope<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Envelope<T>, A::Error> {
        let (mut project_id, mut event_id) = (None, None);
        let fields = Fields { map, project_id: &mut project_id, event_id: &mut event_id };
        let event = T::deserialize(MapAccessDeserializer::new(fields))?;
        Ok(Envelope { project_id: project_id.flatten(), event_id: event_id.flatten(), event })
    }
}

/// The object's fields without those that are not the event's.
struct Fields<'a, A> {
    map: A,
    project_id: &'a mut Option<Option<String>>,
    event_id: &'a mut Option<Option<String>>,
}

/// A name that is not copied where the JSON has it without escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Fields<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        while let Some(Key(key)) = self.map.next_key()? {
            let own = match key.as_ref() {
                "projectId" => (&mut *self.project_id, "projectId"),
                "eventId" => (&mut *self.event_id, "eventId"),
                field if is_the_servers(field) => {
                    self.map.next_value::<IgnoredAny>()?;
                    continue;
                }
                _ => return seed.deserialize(key.into_deserializer()).map(Some),
            };
            let value = self.map.next_value()?;
            if own.0.replace(value).is_some() {
                return Err(A::Error::duplicate_field(own.1));
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bklit_wire::event::PageView;

    fn error(body: &str) -> String {
        Envelope::<PageView>::parse(body.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn own_fields_are_taken_out_and_unknown_ones_skipped() {
        let body = br#"{"url":"u","\u0070rojectId":"p","ip":{"x":[1]},"lat":"north","eventId":null,
            "future":[{"url":1}],"title":"t\u00e9"}"#;
        let envelope = Envelope::<PageView>::parse(body).unwrap();
        assert_eq!(envelope.project_id.as_deref(), Some("p"));
        assert_eq!(envelope.event_id, None);
        let expected =
            PageView { url: "u".into(), title: Some("té".into()), ..PageView::default() };
        assert_eq!(envelope.event, expected);
    }

    #[test]
    fn a_problem_is_told_by_field() {
        for (body, told) in [
            (r#"{"projectId":"p"}"#, "url: missing"),
            (r#"{"url":7}"#, "url: expected a string, found integer `7`"),
            (r#"{"url":{}}"#, "url: expected a string, found an object"),
            (r#"{"url":"u","projectId":[]}"#, "projectId: expected a string, found an array"),
            (r#"{"url":"u","url":"v"}"#, "url: given twice"),
            (r#"{"projectId":"u","projectId":"v"}"#, "projectId: given twice"),
            (r#"{"url":"u","timestamp":"noon"}"#, "timestamp: not an ISO 8601 date-time"),
            (r#"{"url":"u","isNewVisitor":"y"}"#, "isNewVisitor: expected a boolean"),
            (r#"{"url":"u","timestamp":18446744073709551615}"#, "timestamp: out of range"),
            (r#"{"url":"u","title":"a\u0001","title":1}"#, "title: given twice"),
            (r#"{"url":"u""#, "body: not valid JSON: EOF"),
            (r#"{"url":"u"} x"#, "body: not valid JSON: trailing characters"),
            ("[1]", "body: expected a JSON object"),
            (" ", "body: empty"),
        ] {
            assert!(error(body).starts_with(told), "{body}: {}", error(body));
        }
        assert!(
            error(&format!(r#"{{"url":"u","isNewVisitor":"{}"}}"#, "é".repeat(9999)))
                .chars()
                .count()
                < 200
        );
        let latin = Envelope::<PageView>::parse(b"{\"x\":\"\xe9\"}").unwrap_err();
        assert_eq!(latin.to_string(), "body: not UTF-8");
    }
}
