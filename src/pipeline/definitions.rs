//! The port `Definitions`: looks up the ids of custom events' definitions.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;

use bklit_wire::event::{Payload, QueuedEvent};

/// The key of a definition: its project and the tracking id that senders use.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DefinitionName {
    /// The project.
    pub project_id: String,
    /// The id that senders use.
    pub tracking_id: String,
}

impl DefinitionName {
    /// The definition that a custom event refers to; `None` for other events.
    pub fn of(event: &QueuedEvent) -> Option<Self> {
        let Payload::Event(custom) = &event.payload else { return None };
        let (project_id, tracking_id) = (event.project_id.clone(), custom.tracking_id.clone());
        Some(Self { project_id, tracking_id })
    }

    /// The definitions that `events` refer to, each once.
    pub fn all<'a>(events: impl Iterator<Item = &'a QueuedEvent>) -> Vec<Self> {
        events.filter_map(Self::of).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// Definitions cannot be looked up now.
#[derive(Debug, thiserror::Error)]
#[error("event definitions are unavailable: {0}")]
pub struct DefinitionsError(pub String);

/// Where custom events are defined.
#[async_trait]
pub trait Definitions: Send + Sync {
    /// The ids of the definitions among `names` that exist.
    ///
    /// # Errors
    /// When they cannot be looked up now.
    async fn find(
        &self,
        names: &[DefinitionName],
    ) -> Result<HashMap<DefinitionName, String>, DefinitionsError>;
}
