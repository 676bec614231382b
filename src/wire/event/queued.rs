//! The queue's entries, which other programs also write and read.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use uuid::fmt::Simple;

use super::fields::{self, name};
use super::{EventKind, InvalidEvent, Payload, foreign};
use crate::json::{push_quoted, repaired};
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

/// A field of the wire form.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Field {
    Id,
    Type,
    Payload,
    QueuedAt,
    ProjectId,
    PushTicket,
    #[serde(other)]
    Other,
}

/// Reads an event in one pass if its type precedes its payload, as in what this program writes.
struct Exact;

impl<'de> Visitor<'de> for Exact {
    type Value = Option<QueuedEvent>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    /// `None` if a field is missing; an error if one has the wrong type.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut id, mut kind, mut payload) = (None, None, None);
        let (mut queued_at, mut project_id, mut push_ticket) = (None, None, None);
        let mut early: Option<&RawValue> = None;
        while let Some(field) = map.next_key()? {
            match field {
                Field::Id => once(&mut id, map.next_value()?)?,
                Field::Type => once(&mut kind, map.next_value::<EventKind>()?)?,
                Field::QueuedAt => once(&mut queued_at, map.next_value::<UtcMillis>()?)?,
                Field::ProjectId => once(&mut project_id, map.next_value::<String>()?)?,
                Field::PushTicket => once(&mut push_ticket, map.next_value::<Option<String>>()?)?,
                Field::Payload => match kind {
                    Some(kind) => once(&mut payload, map.next_value_seed(OfKind(kind))?)?,
                    None => once(&mut early, map.next_value()?)?,
                },
                Field::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if let (Some(kind), Some(early)) = (kind, early) {
            let mut early = serde_json::Deserializer::from_str(early.get());
            let read = OfKind(kind).deserialize(&mut early).map_err(serde::de::Error::custom)?;
            once(&mut payload, read)?;
        }
        let event = || {
            Some(QueuedEvent {
                id: id?,
                payload: payload?,
                queued_at: queued_at?,
                project_id: project_id.filter(|project| !project.is_empty())?,
                push_ticket: push_ticket.flatten(),
            })
        };
        Ok(event())
    }
}

fn once<T, E: serde::de::Error>(place: &mut Option<T>, value: T) -> Result<(), E> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::custom("a field occurs twice")),
    }
}

/// The payload of an event of this kind.
struct OfKind(EventKind);

impl<'de> DeserializeSeed<'de> for OfKind {
    type Value = Payload;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Payload, D::Error> {
        // serde would also read a struct from an array, field by field.
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OfKind {
    type Value = Payload;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a payload")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Payload, A::Error> {
        let map = MapAccessDeserializer::new(map);
        Ok(match self.0 {
            EventKind::Pageview => Payload::Pageview(Box::deserialize(map)?),
            EventKind::Event => Payload::Event(Deserialize::deserialize(map)?),
            EventKind::SessionEnd => Payload::SessionEnd(Deserialize::deserialize(map)?),
        })
    }
}

/// Enough bytes for most events, so that the text need not grow.
const USUAL_SIZE: usize = 1024;

impl QueuedEvent {
    /// A new id: `evt_` plus a UUID v7, so that ids sort by creation time.
    pub fn new_id() -> String {
        let mut id = String::with_capacity("evt_".len() + Simple::LENGTH);
        id.push_str("evt_");
        id.push_str(uuid::Uuid::now_v7().simple().encode_lower(&mut [0; Simple::LENGTH]));
        id
    }

    /// When the event happened: the sender's time, else when it was queued.
    pub fn timestamp(&self) -> UtcMillis {
        self.payload.timestamp().unwrap_or(self.queued_at)
    }

    /// The wire form. Bklit's worker reads project and time only in the payload.
    pub fn to_json(&self) -> String {
        let mut json = String::with_capacity(USUAL_SIZE);
        json.push_str("{\"id\":");
        push_quoted(&mut json, &self.id);
        json.push_str(",\"type\":\"");
        json.push_str(self.payload.kind().as_str());
        json.push_str("\",\"payload\":{\"projectId\":");
        push_quoted(&mut json, &self.project_id);
        if self.payload.timestamp().is_none() {
            fields::time(&mut json, name!("timestamp"), self.queued_at);
        }
        self.payload.push_fields(&mut json);
        json.push('}');
        fields::time(&mut json, name!("queuedAt"), self.queued_at);
        fields::text(&mut json, name!("projectId"), &self.project_id);
        fields::optional(&mut json, name!("pushTicket"), self.push_ticket.as_deref());
        json.push('}');
        json
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
    /// Accepts strings given as numbers and the like, dates in other formats, a custom event
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
        let mut json = serde_json::Deserializer::from_str(json);
        let event = json.deserialize_map(Exact).ok()??;
        json.end().ok()?;
        Some(event)
    }
}
