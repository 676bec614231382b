//! Dual write with the definitions of Bklit's Postgres.

use bklit_pipeline::auth::Secret;
use serde_json::json;

use super::{ALL, VERIFY, run};
use crate::postgres::{SCHEMA, insert_token};
use crate::support::servers::Postgres;
use crate::support::{DEADLINE, Daemon, eventually, request};

fn send(daemon: &Daemon, secret: &Secret, tracking: &str) -> String {
    let bearer = format!("Bearer {}", secret.expose());
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let body = json!({ "projectId": "p", "trackingId": tracking, "eventType": "click" });
    let body = body.to_string();
    let answer = request(daemon.addr, "POST", "/track-event", &headers, body.as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["eventId"].as_str().unwrap().to_owned()
}

#[test]
fn both_ways_store_the_definitions_id_and_what_has_none_is_missing_with_its_reason() {
    let postgres = Postgres::shared();
    postgres.sql(SCHEMA);
    let secret = Secret::generate().unwrap();
    postgres.sql(&insert_token("t", "s:00", Some(&secret.hash().to_hex())));
    postgres.sql("INSERT INTO \"EventDefinition\" VALUES ('def-1', 'signup', 'p', 'n')");
    let daemon = Daemon::with_settings(&format!("database_url = '{}'\n{VERIFY}", postgres.url()));
    for _ in 0..5 {
        send(&daemon, &secret, "signup");
    }
    eventually(DEADLINE, "all are stored both ways, and settled", || {
        run(&daemon, &ALL).summary["matched"] == json!(5)
    });
    let said = run(&daemon, &ALL);
    assert_eq!(said.code, 0, "{:?}", said.mismatches);
    let ids = "SELECT count(DISTINCT event_definition_id) || max(event_definition_id)";
    for table in ["tracked_event", "tracked_event_baseline"] {
        assert_eq!(daemon.scalar(&format!("{ids} FROM {table}")), json!("1def-1"), "{table}");
    }

    let id = send(&daemon, &secret, "unknown");
    eventually(DEADLINE, "one is missing, and why is known", || {
        run(&daemon, &ALL).mismatches.iter().any(|missing| missing["reason"].is_string())
    });
    let said = run(&daemon, &ALL);
    assert_eq!(said.mismatches.len(), 1, "{:?}", said.mismatches);
    let missing = &said.mismatches[0];
    assert_eq!((&missing["eventId"], &missing["projectId"]), (&json!(id), &json!("p")));
    assert_eq!(missing["problem"], "missing in the queue path");
    let reason = "no event definition \"unknown\" in project \"p\"; create it in Bklit and retry";
    assert_eq!(missing["reason"], reason);

    // Once the definition exists, a retry stores the event; the baseline has kept the tracking id.
    postgres.sql("INSERT INTO \"EventDefinition\" VALUES ('def-2', 'unknown', 'p', 'n')");
    daemon.cli(&["queue", "retry", "--all"]);
    eventually(DEADLINE, "it is stored", || {
        daemon.scalar("SELECT count() FROM tracked_event") == json!(6)
    });
    let said = run(&daemon, &ALL);
    assert_eq!(said.code, 1, "{}", said.summary);
    let field =
        json!([{ "field": "event_definition_id", "queue": "def-2", "baseline": "unknown" }]);
    assert_eq!(said.mismatches[0]["fields"], field);
}
