//! Reads entries of the queue that are not exactly as this program writes them.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    CustomEvent, EventKind, InvalidEvent, PageView, Payload, QueuedEvent, SessionEnd,
    parse_naming_field,
};
use crate::json::Fields;
use crate::lenient::{self, Type, Typed, convert, last_of_each};
use crate::time::UtcMillis;

/// The type of an event that does not name one: Bklit's worker stores such events, too.
const DEFAULT_EVENT_TYPE: &str = "event";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireIn<'a> {
    id: String,
    r#type: EventKind,
    #[serde(borrow)]
    payload: &'a RawValue,
    queued_at: Option<UtcMillis>,
    project_id: Option<String>,
    #[serde(default)]
    push_ticket: Option<String>,
}

/// Reads an entry; also returns what was missing or had to be left out.
pub(super) fn read(
    json: &str,
    received: UtcMillis,
) -> Result<(QueuedEvent, Vec<String>), InvalidEvent> {
    let Some(fields) = Fields::of(json) else {
        let parsed = parse_naming_field::<WireIn<'_>>(json.as_bytes(), "");
        return Err(parsed.err().unwrap_or_else(|| not_an_object("(event)")));
    };
    let mut notes = Vec::new();
    let envelope = convert(&last_of_each(fields), type_of, &mut notes);
    let wire: WireIn<'_> = parse_naming_field(envelope.as_bytes(), "").map_err(without_position)?;
    if wire.queued_at.is_none() && notes.is_empty() {
        notes.push("queuedAt: missing".to_owned());
    }
    let fields = Fields::of(wire.payload.get()).ok_or_else(|| not_an_object("payload"))?;
    let project_id = wire
        .project_id
        .filter(|project| !project.is_empty())
        .or_else(|| lenient::name(fields.get("projectId")?))
        .ok_or_else(|| InvalidEvent {
            field: "projectId".to_owned(),
            message: "missing field `projectId`".to_owned(),
        })?;
    let payload = payload(wire.r#type, fields, &mut notes).map_err(without_position)?;
    let event = QueuedEvent {
        id: wire.id,
        payload,
        queued_at: wire.queued_at.unwrap_or(received),
        project_id,
        push_ticket: wire.push_ticket,
    };
    Ok((event, notes))
}

fn payload(
    kind: EventKind,
    fields: Fields<'_>,
    notes: &mut Vec<String>,
) -> Result<Payload, InvalidEvent> {
    let fields = last_of_each(fields);
    fn parsed<'a, T: serde::Deserialize<'a>>(json: &'a str) -> Result<T, InvalidEvent> {
        parse_naming_field(json.as_bytes(), "payload.")
    }
    match kind {
        EventKind::Pageview => {
            parsed(&convert(&fields, PageView::type_of, notes)).map(Payload::Pageview)
        }
        EventKind::Event => {
            let mut json = convert(&fields, CustomEvent::type_of, notes);
            if fields.get("eventType").is_none_or(|value| value.get() == "null") {
                json.pop();
                let comma = if json.len() > 1 { "," } else { "" };
                json.push_str(&format!("{comma}\"eventType\":\"{DEFAULT_EVENT_TYPE}\"}}"));
                notes.push(format!("eventType: missing, stored as `{DEFAULT_EVENT_TYPE}`"));
            }
            parsed(&json).map(Payload::Event)
        }
        EventKind::SessionEnd => {
            parsed(&convert(&fields, SessionEnd::type_of, notes)).map(Payload::SessionEnd)
        }
    }
}

/// The types of the fields next to the payload.
fn type_of(field: &str) -> Type {
    match field {
        "id" | "type" | "projectId" | "pushTicket" => Type::Name,
        "queuedAt" => Type::OptionalTime,
        _ => Type::Any,
    }
}

fn not_an_object(field: &str) -> InvalidEvent {
    InvalidEvent { field: field.to_owned(), message: "expected a JSON object".to_owned() }
}

/// The position would be one in the converted text, which nobody sees.
fn without_position(mut error: InvalidEvent) -> InvalidEvent {
    if let Some(end) = error.message.rfind(" at line ") {
        error.message.truncate(end);
    }
    error
}
