//! Event definitions in Postgres.

use bklit_adapters::postgres::definitions::PostgresDefinitions;
use bklit_pipeline::definitions::{DefinitionName, Definitions};

use super::{SCHEMA, server_at};
use crate::support::servers::Postgres;

fn name(project: &str, tracking: &str) -> DefinitionName {
    DefinitionName { project_id: project.to_owned(), tracking_id: tracking.to_owned() }
}

#[tokio::test]
async fn definitions_are_found_by_project_and_tracking_id() {
    let database = Postgres::shared();
    database.sql(SCHEMA);
    database.sql(
        "INSERT INTO \"EventDefinition\" VALUES ('d1', 'signup', 'p', 'Sign-up'),
         ('d2', 'signup', 'q', 'x'), ('d3', 'größe''; --', 'p', 'x')",
    );
    let definitions = PostgresDefinitions::new(server_at(&database.url()));
    let mut names = vec![
        name("p", "signup"),
        name("q", "signup"),
        name("p", "größe'; --"),
        name("p", "none"),
        name("r", "signup"),
        // Postgres cannot store this text.
        name("p", "nul\0"),
    ];
    // More than fit into one statement.
    names.extend((0..6_000).map(|n| name("p", &format!("other-{n}"))));
    let found = definitions.find(&names).await.unwrap();
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(found[&names[0]], "d1");
    assert_eq!(found[&names[1]], "d2");
    assert_eq!(found[&names[2]], "d3");
}

#[tokio::test]
async fn new_definitions_are_found_immediately_and_known_ones_outlast_an_outage() {
    let mut postgres = Postgres::own();
    postgres.sql(SCHEMA);
    let definitions = PostgresDefinitions::new(server_at(&postgres.url()));
    let (made, never) = ([name("p", "later")], [name("p", "never")]);
    assert!(definitions.find(&made).await.unwrap().is_empty());
    postgres.sql("INSERT INTO \"EventDefinition\" VALUES ('d1', 'later', 'p', 'x')");
    assert_eq!(definitions.find(&made).await.unwrap()[&made[0]], "d1");
    // The name is only for display; the id counts.
    postgres.sql("UPDATE \"EventDefinition\" SET \"name\" = 'y'");
    assert_eq!(definitions.find(&made).await.unwrap()[&made[0]], "d1");
    postgres.stop();
    assert_eq!(definitions.find(&made).await.unwrap()[&made[0]], "d1");
    let error = definitions.find(&never).await.unwrap_err().to_string();
    assert!(error.contains("no connection to Postgres at 127.0.0.1"), "{error}");
    assert!(definitions.find(&[made[0].clone(), never[0].clone()]).await.is_err());
}
