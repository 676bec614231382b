//! The port `Definitions`: what a custom event's definition is called in the store.

pub mod postgres;

use std::collections::HashMap;

use async_trait::async_trait;

/// Names a definition: its project and the tracking id that senders know.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DefinitionName {
    /// The project.
    pub project_id: String,
    /// What senders call it.
    pub tracking_id: String,
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

/// Without a database of definitions: every tracking id is its own definition.
pub struct TrackingIdIsDefinition;

#[async_trait]
impl Definitions for TrackingIdIsDefinition {
    async fn find(
        &self,
        names: &[DefinitionName],
    ) -> Result<HashMap<DefinitionName, String>, DefinitionsError> {
        Ok(names.iter().map(|name| (name.clone(), name.tracking_id.clone())).collect())
    }
}
