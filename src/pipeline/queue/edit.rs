//! Checks what an operator wants to put back into the queue instead of a failed item.
//!
//! What stores recognise an event by must stay as it is: its id, project, type, and time. Stores keep
//! each id of a project once per table, and ClickHouse looks for it only in the event's second. So
//! neither a copy of the original nor a retry of the client can be stored in addition to the edited
//! event.
//!
//! What is not valid in the original may become anything: the worker rejects every copy of it, so
//! nothing can have been stored under it.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::worker::read_event;
use bklit_wire::event::EventKind;
use bklit_wire::json::{Fields, repaired};
use bklit_wire::lenient::name;
use bklit_wire::time::UtcMillis;

/// Checks an edited body as the worker will read it, without the original.
///
/// # Errors
/// What is wrong with it.
pub fn check_event(edited: &str) -> Result<(), String> {
    read_event(edited).map(drop)
}

/// Checks an edited body against the item that it is to replace.
///
/// # Errors
/// What is wrong with it.
pub fn check(original: &str, edited: &str) -> Result<(), String> {
    let event = read_event(edited)?;
    let before = Identity::of(original);
    let (kind, time) = (event.payload.kind(), event.timestamp());
    must_stay("id", before.id, &event.id)?;
    must_stay("projectId", before.project_id, &event.project_id)?;
    must_stay("type", before.kind.map(EventKind::as_str), &kind.as_str())?;
    // Times that the worker does not believe are replaced by `queuedAt`, so it must stay, too.
    must_stay("queuedAt", before.queued_at, &event.queued_at)?;
    must_stay("timestamp", before.time, &time)?;
    if before.push_ticket != event.push_ticket {
        return Err("pushTicket: must stay as it is, so that nothing is queued twice".to_owned());
    }
    Ok(())
}

fn must_stay<T: PartialEq + fmt::Display>(
    field: &str,
    before: Option<T>,
    after: &T,
) -> Result<(), String> {
    match before {
        Some(before) if before != *after => {
            Err(format!("{field}: must stay \"{before}\", so that nothing is stored twice"))
        }
        _ => Ok(()),
    }
}

/// What identifies an event in queue and store, as far as it is valid.
#[derive(Default)]
struct Identity {
    id: Option<String>,
    project_id: Option<String>,
    kind: Option<EventKind>,
    queued_at: Option<UtcMillis>,
    /// The time under which it is stored.
    time: Option<UtcMillis>,
    push_ticket: Option<String>,
}

impl Identity {
    /// Reads each field by itself, as the worker does.
    fn of(body: &str) -> Self {
        let json = repaired(body);
        let Some(fields) = Fields::of(&json) else { return Self::default() };
        let payload = fields.get("payload").and_then(|payload| Fields::of(payload.get()));
        let name_in = |fields: &Fields<'_>, field| {
            fields.get(field).and_then(name).filter(|name| !name.is_empty())
        };
        let queued_at = fields.get("queuedAt").and_then(parsed);
        // An event without a time of its own is stored under that of its arrival.
        let time = payload.as_ref().and_then(|payload| match payload.get("timestamp") {
            Some(time) if time.get() != "null" => parsed(time),
            _ => queued_at,
        });
        Self {
            id: name_in(&fields, "id"),
            project_id: name_in(&fields, "projectId")
                .or_else(|| name_in(payload.as_ref()?, "projectId")),
            kind: fields.get("type").and_then(parsed),
            queued_at,
            time,
            push_ticket: fields.get("pushTicket").and_then(name),
        }
    }
}

fn parsed<T: DeserializeOwned>(value: &RawValue) -> Option<T> {
    serde_json::from_str(value.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, project: &str, more: &str) -> String {
        format!(
            r#"{{"id":"{id}","type":"pageview","projectId":"{project}","queuedAt":"2026-01-02T03:04:05.000Z","payload":{{"url":"https://a.example/"}}{more}}}"#
        )
    }

    #[test]
    fn the_event_must_be_readable_and_remain_the_same() {
        let original = event("e", "p", "");
        assert_eq!(check(&original, &event("e", "p", r#","x":1"#)), Ok(()));
        for (edited, problem) in [
            ("{".to_owned(), "not an event"),
            (event("e", "p", "").replace("pageview", "pagevue"), "type"),
            (event("", "p", ""), "id: must not be empty"),
            (event("f", "p", ""), "id: must stay \"e\""),
            (event("e", "q", ""), "projectId: must stay \"p\""),
            (event("e", "p", r#","pushTicket":"t""#), "pushTicket: must stay"),
        ] {
            let error = check(&original, &edited).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
        let spooled = event("e", "p", r#","pushTicket":"t""#);
        assert_eq!(check(&spooled, &spooled), Ok(()));
        assert!(check(&spooled, &original).is_err());
    }

    /// The store looks for an event by these.
    #[test]
    fn the_type_and_the_time_stay_too() {
        let at = |time: &str| format!(r#""timestamp":{time},"url""#);
        let with_time = |time: &str| event("e", "p", "").replace(r#""url""#, &at(time));
        let noon = with_time(r#""2026-01-02T12:00:00.000Z""#);
        let custom =
            noon.replace("pageview", "event").replace("\"url\"", r#""trackingId":"t","url""#);
        let queued_at = |event: &str| event.replace("03:04:05", "03:04:06");
        for (original, edited, problem) in [
            (&noon, custom, "type: must stay \"pageview\""),
            (&noon, noon.replace("12:00", "12:01"), "timestamp: must stay \"2026-01-02T12:00:00"),
            (&noon, with_time("null"), "timestamp: must stay"),
            (&noon, queued_at(&noon), "queuedAt: must stay \"2026-01-02T03:04:05"),
            (&event("e", "p", ""), queued_at(&event("e", "p", "")), "queuedAt: must stay"),
            (&event("e", "p", ""), noon.clone(), "timestamp: must stay \"2026-01-02T03:04:05"),
            (&with_time("null"), noon.clone(), "timestamp: must stay \"2026-01-02T03:04:05"),
        ] {
            let error = check(original, &edited).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
        // The same in another notation.
        assert_eq!(check(&noon, &with_time(r#""2026-01-02T13:00:00+01:00""#)), Ok(()));
        let arrival = with_time(r#""2026-01-02T03:04:05Z""#);
        assert_eq!(check(&event("e", "p", ""), &arrival), Ok(()));
    }

    /// The worker rejects every copy of such an original.
    #[test]
    fn invalid_parts_of_the_original_can_be_changed() {
        let good = event("e", "p", "").replace("\"url\"", r#""timestamp":1767355200000,"url""#);
        for (from, to) in [
            (r#""e""#, r#""""#),
            (r#""p""#, "null"),
            (r#""p""#, r#""""#),
            ("pageview", "pagevue"),
            ("1767355200000", r#""noon""#),
            ("\"queuedAt\":\"2026-01-02T03:04:05.000Z\"", r#""queuedAt":"then""#),
            ("{\"timestamp\":1767355200000,\"url\":\"https://a.example/\"}", "7"),
        ] {
            let original = good.replace(from, to);
            assert_ne!(original, good, "{from}");
            assert_eq!(check(&original, &good), Ok(()), "{original}");
        }
        // The project in the payload counts where there is none outside.
        let within = good.replace(r#""p""#, r#""""#).replace("\"url\"", r#""projectId":"p","url""#);
        assert_eq!(check(&within, &good), Ok(()));
        let error = check(&within, &good.replace(r#""p""#, r#""q""#)).unwrap_err();
        assert!(error.contains("projectId: must stay \"p\""), "{error}");
    }

    #[test]
    fn an_item_that_was_not_an_event_can_become_one() {
        for original in ["", "garbage", "[]", r#"{"type":"pageview"}"#] {
            assert_eq!(check(original, &event("e", "p", "")), Ok(()), "{original}");
        }
        assert_eq!(check_event(&event("e", "p", "")), Ok(()));
        assert!(check_event("garbage").is_err());
    }
}
