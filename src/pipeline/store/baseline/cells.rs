//! Builds an event's row in the baseline.
//!
//! The row is built from the event as accepted, column by column by name. It uses neither the queue's
//! JSON nor the code that builds the worker's rows: comparing two rows built by the same code would
//! prove nothing.

use std::collections::HashMap;

use super::{Kind, Side};
use crate::store::rows::Cell;
use crate::store::schema::Column;
use bklit_wire::event::{CustomEvent, Payload, QueuedEvent};
use bklit_wire::json::Fields;

/// The row, in the order of the table's columns; `None` for an event without a row.
pub fn cells(event: &QueuedEvent) -> Option<Vec<Cell<'_>>> {
    let mut own = HashMap::from([
        ("id", Cell::from(event.id.as_str())),
        ("projectId", event.project_id.as_str().into()),
        ("timestamp", event.timestamp().into()),
        ("createdAt", event.queued_at.into()),
    ]);
    match &event.payload {
        Payload::Pageview(view) => {
            own.extend(view.texts().map(|(name, text)| (name, text.into())));
            own.insert("url", view.url.as_str().into());
            own.insert("isNewVisitor", Cell::Bool(view.is_new_visitor == Some(true)));
            own.extend(view.lat.map(|degrees| ("lat", Cell::Real(degrees))));
            own.extend(view.lon.map(|degrees| ("lon", Cell::Real(degrees))));
            own.extend(view.mobile.map(|yes| ("mobile", Cell::Bool(yes))));
        }
        Payload::Event(custom) => {
            own.insert("metadata", metadata(custom).into());
            own.insert("eventDefinitionId", custom.definition().into());
            own.extend(custom.session_id.as_deref().map(|session| ("sessionId", session.into())));
        }
        Payload::SessionEnd(_) => return None,
    }
    let columns = Kind::of(event)?.table(Side::Baseline).columns;
    let cell = |column: &Column| own.remove(wire_name(column.name).as_str()).unwrap_or(Cell::Null);
    Some(columns.iter().map(cell).collect())
}

/// The metadata with the event's type, field by field.
fn metadata(custom: &CustomEvent) -> String {
    let json = custom.metadata.as_ref().map_or("{}", |metadata| metadata.as_str());
    let fields = Fields::of(json).map_or_else(Vec::new, |fields| fields.0);
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let (mut parts, mut has_type) = (Vec::new(), false);
    for (name, value) in fields {
        let is_type = name == "eventType";
        if !is_type {
            parts.push(format!("{}:{value}", quoted(&name)));
        } else if !has_type {
            parts.push(format!("\"eventType\":{}", quoted(&custom.event_type)));
        }
        has_type |= is_type;
    }
    if !has_type {
        parts.push(format!("\"eventType\":{}", quoted(&custom.event_type)));
    }
    format!("{{{}}}", parts.join(","))
}

/// `utm_source` is `utmSource` on the wire.
fn wire_name(column: &str) -> String {
    let mut name = String::with_capacity(column.len());
    let mut upper = false;
    for c in column.chars() {
        match c {
            '_' => upper = true,
            c if upper => {
                name.push(c.to_ascii_uppercase());
                upper = false;
            }
            c => name.push(c),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::rows::{custom_event_cells, page_view_cells};

    /// Both ways of building a row give the same result, so a difference comes from the path it took.
    #[test]
    fn a_row_is_the_same_as_the_workers() {
        let mut fields: Vec<_> = ["url", "ip", "country", "sessionId", "twclid", "utmId"]
            .iter()
            .map(|name| format!("\"{name}\":\"{name}\""))
            .collect();
        fields.push(r#""lat":1.5,"mobile":false,"timestamp":"2026-01-02T03:04:05.678Z""#.into());
        let json = |kind: &str, payload: &str| {
            let json = format!(
                r#"{{"id":"evt_1","type":"{kind}","payload":{payload},"queuedAt":"2026-01-31T12:00:00.123Z","projectId":"p"}}"#
            );
            QueuedEvent::from_json(&json).unwrap()
        };
        let event = json("pageview", &format!("{{{}}}", fields.join(",")));
        let Payload::Pageview(view) = &event.payload else { panic!("{event:?}") };
        assert_eq!(cells(&event).unwrap(), page_view_cells(&event, view));
        let event = json(
            "event",
            r#"{"trackingId":"t","eventType":"c","metadata":{"z":1,"eventType":"x"}}"#,
        );
        let Payload::Event(custom) = &event.payload else { panic!("{event:?}") };
        assert_eq!(cells(&event).unwrap(), custom_event_cells(&event, custom));
        assert_eq!(cells(&json("session_end", r#"{"sessionId":"s"}"#)), None);
    }
}
