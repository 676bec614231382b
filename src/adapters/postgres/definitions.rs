//! Definitions in Bklit's Postgres: the table `EventDefinition`.
//!
//! What exists is remembered for [`TTL`], and while Postgres is away for [`GRACE`]. What does not
//! exist is asked for again with each batch, as it may have been made meanwhile.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use moka::sync::Cache;
use tokio_postgres::types::Type;

use crate::postgres::{Link, PostgresServer};
use bklit_pipeline::definitions::{DefinitionName, Definitions, DefinitionsError};

/// How long a definition that was changed or removed may still count.
pub const TTL: Duration = Duration::from_secs(30);

/// How long a known definition is used while Postgres is away.
pub const GRACE: Duration = Duration::from_secs(60 * 60);

/// Definitions remembered at once.
const CAPACITY: u64 = 100_000;

/// Names in one statement; a batch with more makes several.
const NAMES_AT_ONCE: usize = 5_000;

/// [`Definitions`] in Postgres, read-only.
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
    /// The definitions there. Connects when it is first used.
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

    async fn ask(
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
                // Of several with one name the one with the least id counts, every time.
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
        let mut asked = HashSet::new();
        for name in names.iter().filter(|name| can_exist(name)) {
            match self.known.get(name).filter(|known| known.since.elapsed() < TTL) {
                Some(known) => {
                    found.insert(name.clone(), known.id);
                }
                None => {
                    asked.insert(name);
                }
            }
        }
        if asked.is_empty() {
            return Ok(found);
        }
        let asked: Vec<_> = asked.into_iter().collect();
        match self.ask(&asked).await {
            Ok(answer) => {
                for name in asked {
                    match answer.get(name) {
                        Some(id) => {
                            let known = Known { id: id.clone(), since: Instant::now() };
                            self.known.insert(name.clone(), known);
                        }
                        None => self.known.invalidate(name),
                    }
                }
                found.extend(answer);
            }
            // All of them or none: what is not known may exist.
            Err(error) => {
                for name in asked {
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

/// Postgres' texts have no NUL, and refuse a question with one.
fn can_exist(name: &DefinitionName) -> bool {
    !name.project_id.contains('\0') && !name.tracking_id.contains('\0')
}
