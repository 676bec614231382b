//! The port `Definitions`: what a custom event's definition is called in the store.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;

use bklit_wire::event::{Payload, QueuedEvent};

/// Names a definition: its project and the tracking id that senders know.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DefinitionName {
    /// The project.
    pub project_id: String,
    /// What senders call it.
    pub tracking_id: String,
}

impl DefinitionName {
    /// The definition that a custom event names; others have none.
    pub fn of(event: &QueuedEvent) -> Option<Self> {
        let Payload::Event(custom) = &event.payload else { return None };
        let (project_id, tracking_id) = (event.project_id.clone(), custom.tracking_id.clone());
        Some(Self { project_id, tracking_id })
    }

    /// Those that are named among `events`, each once.
    pub fn all<'a>(events: impl Iterator<Item = &'a QueuedEvent>) -> Vec<Self> {
        events.filter_map(Self::of).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// Why definitions cannot be looked up now.
#[derive(Debug, thiserror::Error)]
#[error("event definitions are unavailable: {0}")]
pub struct DefinitionsError(pub String);

/// Where custom events are defined.
#[async_trait]
pub trait Definitions: Send + Sync {
    /// The ids of those among `names` that exist.
    ///
    /// # Errors
    /// When it cannot be found out now.
    async fn find(
        &self,
        names: &[DefinitionName],
    ) -> Result<HashMap<DefinitionName, String>, DefinitionsError>;
}
