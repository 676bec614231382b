//! Parses a request's body in one pass: the event, and next to its fields the project and the
//! client's event id.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Rejection;
use bklit_wire::event::{InvalidEvent, parse_naming_field};

/// The longest description of a field's problem, in characters: it may quote the body.
const MAX_PROBLEM: usize = 160;

/// An event as sent by a client.
#[derive(Debug)]
pub struct Envelope<T> {
    /// The project, if the client named one.
    pub project_id: Option<String>,
    /// The id that the client chose for the event, if any.
    pub event_id: Option<String>,
    /// The event.
    pub event: T,
}

/// Fields that only the server may fill, because a client could forge them: the visitor's address and
/// location. They are skipped like unknown fields, whatever they contain.
fn is_server_only(field: &str) -> bool {
    matches!(
        field,
        "ip" | "country"
            | "countryCode"
            | "region"
            | "regionName"
            | "city"
            | "zip"
            | "isp"
            | "lat"
            | "lon"
            | "mobile"
    )
}

impl<T> Envelope<T> {
    /// Parses a body: one JSON object.
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
            // A syntax error: the position helps, and no single field is at fault.
            Err(error) => Err(Rejection::field("body", format!("not valid JSON: {error}"))),
        }
    }
}

/// Rewords serde's message in JSON terms, without the position in the text: the field is named.
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
            // Only unquoted words: quoted text is the client's.
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

/// The object's fields, without those that do not belong to the event.
struct Fields<'a, A> {
    map: A,
    project_id: &'a mut Option<Option<String>>,
    event_id: &'a mut Option<Option<String>>,
}

/// A field name, borrowed unless the JSON has escapes in it.
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
                field if is_server_only(field) => {
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
    fn envelope_fields_are_extracted_and_unknown_ones_skipped() {
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
    fn a_problem_names_its_field() {
        for (body, expected) in [
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
            assert!(error(body).starts_with(expected), "{body}: {}", error(body));
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
