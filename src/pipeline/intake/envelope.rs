//! Parses a request's body: the event, and next to its fields the project and the client's event id.
//! Usually in one pass; values of other types than expected are converted first.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Error as _, IgnoredAny, IntoDeserializer, MapAccess, Visitor,
};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::Rejection;
use bklit_wire::event::{InvalidEvent, parse_naming_field};
use bklit_wire::json::{Fields as Unparsed, Key, repaired};
use bklit_wire::lenient::{Type, Typed, convert};
use bklit_wire::time::UtcMillis;

/// An event as sent by a client.
#[derive(Debug)]
pub struct Envelope<T> {
    /// The project, if the client named one.
    pub project_id: Option<String>,
    /// The id that the client chose for the event, if any.
    pub event_id: Option<String>,
    /// When the client sent it, by its own clock; `None` also if that is not a time.
    pub sent_at: Option<UtcMillis>,
    /// What the client sent as the time of the event, if that is not a time: its first characters.
    pub unreadable_time: Option<String>,
    /// Optional fields that could not be read and were left out, each with the reason.
    pub left_out: Vec<String>,
    /// The event.
    pub event: T,
}

/// The most characters that are kept of a time that cannot be read.
const MAX_TIME: usize = 40;
const TIMESTAMP: &str = "timestamp";

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
    /// The same with another form of the event.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Envelope<U> {
        let Self { project_id, event_id, sent_at, unreadable_time, left_out, event } = self;
        let event = change(event);
        Envelope { project_id, event_id, sent_at, unreadable_time, left_out, event }
    }
}

impl<T: DeserializeOwned + Typed> Envelope<T> {
    /// Parses a body: one JSON object.
    pub fn parse(body: &[u8]) -> Result<Self, Rejection> {
        let text = std::str::from_utf8(body).map_err(|error| {
            let at = error.valid_up_to();
            Rejection::field("body", format!("not UTF-8: invalid byte at position {at}"))
        })?;
        let json = repaired(text);
        if json.trim_ascii().is_empty() {
            return Err(Rejection::field("body", "empty; expected a JSON object"));
        }
        let error = match serde_json::from_str(&json) {
            Ok(envelope) => return Ok(envelope),
            Err(error) => error,
        };
        match Unparsed::of(&json) {
            Some(fields) => Self::converted(fields),
            None if error.is_data() => parse_naming_field(json.as_bytes(), "").map_err(named),
            // A syntax error: the position helps, and no single field is at fault.
            None => Err(Rejection::field("body", format!("not valid JSON: {error}"))),
        }
    }

    /// Parses a body in which something is missing, is given twice, or has another type.
    fn converted(mut fields: Unparsed<'_>) -> Result<Self, Rejection> {
        let unreadable_time = fields.get(TIMESTAMP).and_then(unreadable);
        if unreadable_time.is_some() {
            // Not worth rejecting the event for.
            fields.0.retain(|(name, value)| name != TIMESTAMP || unreadable(value).is_none());
        }
        let type_of = |field: &str| match field {
            "projectId" | "eventId" => Type::Name,
            field if is_server_only(field) => Type::Any,
            field => T::type_of(field),
        };
        let mut left_out = Vec::new();
        let json = convert(&fields, type_of, &mut left_out);
        let parsed: Self = parse_naming_field(json.as_bytes(), "").map_err(named)?;
        Ok(Self { unreadable_time, left_out, ..parsed })
    }
}

/// The beginning of a value that is not a time.
fn unreadable(value: &RawValue) -> Option<String> {
    let time: Result<Option<UtcMillis>, _> = serde_json::from_str(value.get());
    time.is_err().then(|| {
        let text: Result<String, _> = serde_json::from_str(value.get());
        let text = text.unwrap_or_else(|_| value.get().to_owned());
        text.chars().take(MAX_TIME).collect()
    })
}

/// Rewords serde's message in JSON terms, without the position in the text: the field is named.
pub(crate) fn named(error: InvalidEvent) -> Rejection {
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
    Rejection::field(field, problem)
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
        let (mut project_id, mut event_id, mut sent_at) = (None, None, None);
        let fields = Fields {
            map,
            project_id: &mut project_id,
            event_id: &mut event_id,
            sent_at: &mut sent_at,
        };
        let event = T::deserialize(MapAccessDeserializer::new(fields))?;
        let (project_id, event_id) = (project_id.flatten(), event_id.flatten());
        let (unreadable_time, left_out) = (None, Vec::new());
        Ok(Envelope { project_id, event_id, sent_at, unreadable_time, left_out, event })
    }
}

/// The object's fields, without those that do not belong to the event.
struct Fields<'a, A> {
    map: A,
    project_id: &'a mut Option<Option<String>>,
    event_id: &'a mut Option<Option<String>>,
    sent_at: &'a mut Option<UtcMillis>,
}

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
                "sentAt" => {
                    // Not worth rejecting the event for.
                    let value: serde_json::Value = self.map.next_value()?;
                    *self.sent_at = UtcMillis::deserialize(value).ok();
                    continue;
                }
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
        assert_eq!(envelope.sent_at, None);
        let expected =
            PageView { url: "u".into(), title: Some("té".into()), ..PageView::default() };
        assert_eq!(envelope.event, expected);
        assert_eq!(envelope.left_out, [""; 0]);
    }

    #[test]
    fn values_of_other_types_are_converted() {
        let body = br#"{"url":"u","projectId":7,"eventId":1e400,"title":404,"sessionId":false,
            "isNewVisitor":"yes","lat":"north","description":[1, 2],"timestamp":"2026-01-31"}"#;
        let envelope = Envelope::<PageView>::parse(body).unwrap();
        assert_eq!(envelope.project_id.as_deref(), Some("7"));
        assert_eq!(envelope.event_id.as_deref(), Some("1e400"));
        assert_eq!(envelope.left_out, [""; 0], "fields of the server are ignored");
        let expected = PageView {
            url: "u".into(),
            title: Some("404".into()),
            session_id: Some("false".into()),
            description: Some("[1, 2]".into()),
            is_new_visitor: Some(true),
            timestamp: "2026-01-31T00:00:00Z".parse().ok(),
            ..PageView::default()
        };
        assert_eq!(envelope.event, expected);
        let body = br#"{"url":"u","isNewVisitor":"perhaps"}"#;
        let envelope = Envelope::<PageView>::parse(body).unwrap();
        assert_eq!(envelope.left_out, ["isNewVisitor: not a boolean"]);
    }

    #[test]
    fn text_that_is_not_quite_json_is_read() {
        let body = "\u{feff} {\"url\":\"u\\ud83d\",\"x\":\"\\ude00\",\"projectId\":\"p\\ud83d\"}";
        let envelope = Envelope::<PageView>::parse(body.as_bytes()).unwrap();
        assert_eq!(envelope.event.url, "u\u{fffd}");
        assert_eq!(envelope.project_id.as_deref(), Some("p\u{fffd}"));
        assert!(error("\u{feff}").starts_with("body: empty"));
    }

    #[test]
    fn when_it_was_sent_is_read_if_it_is_a_time() {
        for (sent_at, read) in [
            ("\"2026-01-31T12:00:00Z\"", Some("2026-01-31T12:00:00.000Z")),
            ("1769860800", Some("2026-01-31T12:00:00.000Z")),
            ("null", None),
            ("\"noon\"", None),
            ("{\"x\":[1]}", None),
        ] {
            let body = format!(r#"{{"sentAt":{sent_at},"url":"u"}}"#);
            let envelope = Envelope::<PageView>::parse(body.as_bytes()).unwrap();
            assert_eq!(envelope.sent_at.map(|at| at.to_string()).as_deref(), read, "{sent_at}");
        }
    }

    #[test]
    fn a_time_that_cannot_be_read_does_not_cost_the_event() {
        for (timestamp, unreadable) in [
            ("\"noon\"", Some("noon")),
            ("\"\"", Some("")),
            ("true", Some("true")),
            ("{\"x\": 1}", Some("{\"x\": 1}")),
            ("null", None),
            ("\"2026-02-30T24:00:00Z\"", None),
        ] {
            let body = format!(r#"{{"url":"u","timestamp":{timestamp}}}"#);
            let envelope = Envelope::<PageView>::parse(body.as_bytes()).unwrap();
            assert_eq!(envelope.unreadable_time.as_deref(), unreadable, "{timestamp}");
            let is_time = timestamp.contains("2026");
            assert_eq!(envelope.event.timestamp.is_some(), is_time, "{timestamp}");
        }
        let body = format!(r#"{{"url":"u","timestamp":"{}"}}"#, "x".repeat(100));
        let envelope = Envelope::<PageView>::parse(body.as_bytes()).unwrap();
        assert_eq!(envelope.unreadable_time, Some("x".repeat(MAX_TIME)));
    }

    #[test]
    fn a_problem_names_its_field() {
        for (body, expected) in [
            (r#"{"projectId":"p"}"#, "url: missing"),
            (r#"{"url":null}"#, "url: missing"),
            (r#"{"url":{}}"#, "url: expected a string, found an object"),
            (r#"{"url":"u","projectId":[]}"#, "projectId: expected a string, found an array"),
            (r#"{"url":"u","url":"v"}"#, "url: given twice"),
            (r#"{"projectId":"u","projectId":"v"}"#, "projectId: given twice"),
            (r#"{"url":"u","timestamp":1,"timestamp":2}"#, "timestamp: given twice"),
            (r#"{"url":"u","title":1,"title":"x"}"#, "title: given twice"),
            (r#"{"url":"u","title":"a\u0001","title":1}"#, "title: given twice"),
            (r#"{"url":"u""#, "body: not valid JSON: EOF"),
            (r#"{"url":"u"} x"#, "body: not valid JSON: trailing characters"),
            ("[1]", "body: expected a JSON object"),
            (" ", "body: empty"),
        ] {
            assert!(error(body).starts_with(expected), "{body}: {}", error(body));
        }
        let latin = Envelope::<PageView>::parse(b"{\"x\":\"\xe9\"}").unwrap_err();
        assert_eq!(latin.to_string(), "body: not UTF-8: invalid byte at position 6");
    }
}
