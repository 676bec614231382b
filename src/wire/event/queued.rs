//! The queue's entries, which other programs also write and read.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{EventKind, InvalidEvent, Payload, foreign};
use crate::json::repaired;
use crate::time::UtcMillis;

/// One member of the queue: `{"id","type","payload","queuedAt","projectId"}`.
#[derive(Clone, Debug, PartialEq)]
pub struct QueuedEvent {
    /// `evt_` plus a unique, time-ordered suffix, or the id that the client sent.
    pub id: String,
    /// What happened.
    pub payload: Payload,
    /// When it was accepted.
    pub queued_at: UtcMillis,
    /// The project it belongs to.
    pub project_id: String,
    /// In a spool: identifies the earlier push that may already have put it into the queue, to be
    /// settled with the queue before the event is moved.
    pub push_ticket: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireOut<'a> {
    id: &'a str,
    r#type: EventKind,
    payload: PayloadOut<'a>,
    queued_at: UtcMillis,
    project_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    push_ticket: Option<&'a str>,
}

/// Bklit's worker reads the project and the time only here.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PayloadOut<'a> {
    project_id: &'a str,
    /// If the payload itself has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<UtcMillis>,
    #[serde(flatten)]
    payload: &'a Payload,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireIn<'a> {
    pub(super) id: String,
    pub(super) r#type: EventKind,
    #[serde(borrow)]
    pub(super) payload: &'a RawValue,
    pub(super) queued_at: Option<UtcMillis>,
    pub(super) project_id: Option<String>,
    #[serde(default)]
    pub(super) push_ticket: Option<String>,
}

/// Enough bytes for most events, so that the text need not grow.
const USUAL_SIZE: usize = 1024;

impl QueuedEvent {
    /// A new id: `evt_` plus a UUID v7, so that ids sort by creation time.
    pub fn new_id() -> String {
        format!("evt_{}", uuid::Uuid::now_v7().simple())
    }

    /// When the event happened: the sender's time, else when it was queued.
    pub fn timestamp(&self) -> UtcMillis {
        self.payload.timestamp().unwrap_or(self.queued_at)
    }

    /// The wire form.
    pub fn to_json(&self) -> String {
        let wire = WireOut {
            id: &self.id,
            r#type: self.payload.kind(),
            payload: PayloadOut {
                project_id: &self.project_id,
                timestamp: self.payload.timestamp().is_none().then_some(self.queued_at),
                payload: &self.payload,
            },
            queued_at: self.queued_at,
            project_id: &self.project_id,
            push_ticket: self.push_ticket.as_deref(),
        };
        let mut json = Vec::with_capacity(USUAL_SIZE);
        // Strings, numbers and maps with text keys always serialise.
        let _ = serde_json::to_writer(&mut json, &wire);
        String::from_utf8(json).unwrap_or_default()
    }

    /// Reads the wire form as this or any other program writes it; unknown fields are ignored.
    ///
    /// # Errors
    /// As [`QueuedEvent::read`].
    pub fn from_json(json: &str) -> Result<Self, InvalidEvent> {
        Self::read(json, UtcMillis::now()).map(|(event, _)| event)
    }

    /// Reads the wire form as this or any other program writes it. Also returns what was missing or
    /// had to be left out; of an event that this program wrote, nothing.
    ///
    /// Accepted are texts given as numbers and the like, dates in other formats, a custom event
    /// without `eventType`, a project that is named only in the payload, and an event without
    /// `queuedAt`, which then counts as queued at `received`. Stores find an event again by its
    /// time, so `received` must be the same whenever an item is delivered.
    ///
    /// # Errors
    /// [`InvalidEvent`] with the first field that is missing or wrong.
    pub fn read(json: &str, received: UtcMillis) -> Result<(Self, Vec<String>), InvalidEvent> {
        let json = repaired(json);
        match Self::exact(&json) {
            Some(event) => Ok((event, Vec::new())),
            None => foreign::read(&json, received),
        }
    }

    /// Reads an event that is complete and whose fields have the right types.
    fn exact(json: &str) -> Option<Self> {
        // serde would also accept arrays, field by field.
        let is_object = |json: &str| json.trim_ascii_start().starts_with('{');
        let wire: WireIn<'_> = is_object(json).then(|| serde_json::from_str(json).ok())??;
        let payload = Some(wire.payload.get()).filter(|payload| is_object(payload))?;
        let payload = match wire.r#type {
            EventKind::Pageview => Payload::Pageview(serde_json::from_str(payload).ok()?),
            EventKind::Event => Payload::Event(serde_json::from_str(payload).ok()?),
            EventKind::SessionEnd => Payload::SessionEnd(serde_json::from_str(payload).ok()?),
        };
        Some(Self {
            id: wire.id,
            payload,
            queued_at: wire.queued_at?,
            project_id: wire.project_id.filter(|project| !project.is_empty())?,
            push_ticket: wire.push_ticket,
        })
    }
}
