//! Checks what an operator wants to put back into the queue instead of a failed item.
//!
//! The id and the project must stay as they are. The store keeps each id of a project once, so neither
//! a copy of the original nor a retry of the client can be stored in addition to the edited event.

use crate::worker::read_event;
use bklit_wire::json::{Fields, repaired};
use bklit_wire::lenient::name;
use bklit_wire::queue::EventView;

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
    let before = EventView::of(original);
    let same = [
        ("id", before.event_id, Some(event.id)),
        ("projectId", before.project_id, Some(event.project_id)),
    ];
    for (field, before, after) in same {
        // What could not be read may become anything.
        if before.is_some() && before != after {
            return Err(format!(
                "{field}: must stay {:?}, so that nothing is stored twice",
                before.unwrap_or_default()
            ));
        }
    }
    if ticket(original) != event.push_ticket {
        return Err("pushTicket: must stay as it is, so that nothing is queued twice".to_owned());
    }
    Ok(())
}

fn ticket(body: &str) -> Option<String> {
    let json = repaired(body);
    Fields::of(&json)?.get("pushTicket").and_then(name)
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

    #[test]
    fn what_was_no_event_can_become_one() {
        for original in ["", "garbage", "[]", r#"{"type":"pageview"}"#] {
            assert_eq!(check(original, &event("e", "p", "")), Ok(()), "{original}");
        }
        assert_eq!(check_event(&event("e", "p", "")), Ok(()));
        assert!(check_event("garbage").is_err());
    }
}
