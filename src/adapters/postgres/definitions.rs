//! Event definitions in Bklit's Postgres: the table `EventDefinition`.
//!
//! Existing definitions are cached for [`TTL`], and for [`GRACE`] while Postgres is unavailable. A
//! missing definition is queried again for each batch, because it may have been created in the
//! meantime.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use moka::sync::Cache;
use tokio_postgres::types::Type;

use crate::postgres::{Link, PostgresServer};
use bklit_pipeline::definitions::{DefinitionName, Definitions, DefinitionsError};

/// How long a cached definition is used without another query, although it may have been changed or
/// removed.
pub const TTL: Duration = Duration::from_secs(30);

/// How long a cached definition is used while Postgres is unavailable.
pub const GRACE: Duration = Duration::from_secs(60 * 60);

/// Maximum cached definitions.
const CAPACITY: u64 = 100_000;

/// Names in one statement; a batch with more needs several.
const NAMES_AT_ONCE: usize = 5_000;

/// Read-only [`Definitions`] in Postgres.
pub struct PostgresDefinitions {
    link: Link,
    statement: String,
    known: Cache<DefinitionName, Known>,
}

#[derive(Clone)]
struct Known {
    id: String,
    since: Instant,
}

impl PostgresDefinitions {
    /// Creates the adapter; it connects when it is first used.
    pub fn new(server: PostgresServer) -> Self {
        let statement = format!(
            "SELECT \"projectId\", \"trackingId\", \"id\" FROM {} \
             WHERE (\"projectId\", \"trackingId\") IN (SELECT * FROM unnest($1, $2)) \
             ORDER BY \"id\" DESC",
            server.table("EventDefinition")
        );
        let known = Cache::builder().max_capacity(CAPACITY).time_to_live(GRACE).build();
        Self { link: Link::new(server), statement, known }
    }

    async fn fetch(
        &self,
        names: &[&DefinitionName],
    ) -> Result<HashMap<DefinitionName, String>, DefinitionsError> {
        let unavailable = |error: &dyn std::fmt::Display| DefinitionsError(error.to_string());
        let mut found = HashMap::new();
        for some in names.chunks(NAMES_AT_ONCE) {
            let projects: Vec<_> = some.iter().map(|name| name.project_id.as_str()).collect();
            let tracking: Vec<_> = some.iter().map(|name| name.tracking_id.as_str()).collect();
            let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
                [(&projects, Type::TEXT_ARRAY), (&tracking, Type::TEXT_ARRAY)];
            let rows = self.link.query(&self.statement, &parameters).await;
            for row in rows.map_err(|error| unavailable(&error))? {
                let text = |column| row.try_get::<_, String>(column).map_err(|e| unavailable(&e));
                let name = DefinitionName { project_id: text(0)?, tracking_id: text(1)? };
                // If several have the same name, the one with the smallest id counts.
                found.insert(name, text(2)?);
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl Definitions for PostgresDefinitions {
    async fn find(
        &self,
        names: &[DefinitionName],
    ) -> Result<HashMap<DefinitionName, String>, DefinitionsError> {
        let mut found = HashMap::new();
        let mut missing = HashSet::new();
        for name in names.iter().filter(|name| can_exist(name)) {
            match self.known.get(name).filter(|known| known.since.elapsed() < TTL) {
                Some(known) => {
                    found.insert(name.clone(), known.id);
                }
                None => {
                    missing.insert(name);
                }
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let missing: Vec<_> = missing.into_iter().collect();
        match self.fetch(&missing).await {
            Ok(fetched) => {
                for name in missing {
                    match fetched.get(name) {
                        Some(id) => {
                            let known = Known { id: id.clone(), since: Instant::now() };
                            self.known.insert(name.clone(), known);
                        }
                        None => self.known.invalidate(name),
                    }
                }
                found.extend(fetched);
            }
            // All or none: an unknown definition may exist.
            Err(error) => {
                for name in missing {
                    match self.known.get(name) {
                        Some(known) => found.insert(name.clone(), known.id),
                        None => return Err(error),
                    };
                }
            }
        }
        Ok(found)
    }
}

/// Postgres cannot store NUL in a text and rejects queries with it.
fn can_exist(name: &DefinitionName) -> bool {
    !name.project_id.contains('\0') && !name.tracking_id.contains('\0')
}
