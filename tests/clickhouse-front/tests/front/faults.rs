//! The effect of each fault on the official client.

use std::time::Duration;

use clickhouse::Client;
use tokio::time::timeout;

use crate::server::{CREATE, Event, PATIENCE, Server, ids, insert};

const TOKEN: &str = "b1:event:202311";
/// Long enough for any response that arrives.
const SHORT: Duration = Duration::from_millis(500);

async fn prepared(fault: &str) -> (Server, Client) {
    let server = Server::start();
    let client = server.client();
    client.query(CREATE).execute().await.unwrap();
    server.fault(fault).await;
    (server, client)
}

async fn attempt(client: &Client, id: &str) -> clickhouse::error::Result<()> {
    insert(client, TOKEN, &[Event::new(id)]).await
}

#[tokio::test]
async fn an_error_is_not_run() {
    let fault = r#"{"match": "INSERT INTO event", "kind": "error", "times": 1, "code": 241,
        "message": "Memory limit exceeded. (MEMORY_LIMIT_EXCEEDED)"}"#;
    let (_server, client) = prepared(fault).await;
    let error = attempt(&client, "a").await.unwrap_err().to_string();
    assert!(error.contains("Code: 241. DB::Exception: Memory limit"), "{error}");
    assert!(ids(&client).await.is_empty());
    attempt(&client, "a").await.unwrap();
    assert_eq!(ids(&client).await, ["a"]);
}

#[tokio::test]
async fn an_answer_lost_after_the_commit_is_settled_by_the_token() {
    for kind in ["drop_after_commit", "error_after_commit"] {
        let fault = format!(r#"{{"match": "INSERT INTO event", "kind": "{kind}", "times": 1}}"#);
        let (server, client) = prepared(&fault).await;
        assert!(attempt(&client, "a").await.is_err(), "{kind}");
        assert_eq!(ids(&client).await, ["a"], "{kind}");
        attempt(&client, "a").await.unwrap();
        assert_eq!(ids(&client).await, ["a"], "{kind}");
        let log = server.send("GET", "/log", &[], b"").await.1;
        assert_eq!(log.matches(TOKEN).count(), 2, "{log}");
    }
}

#[tokio::test]
async fn a_connection_cut_before_is_not_run() {
    let (_server, client) =
        prepared(r#"{"match": "INSERT", "kind": "drop_before", "times": 1}"#).await;
    assert!(attempt(&client, "a").await.is_err());
    assert!(ids(&client).await.is_empty());
}

#[tokio::test]
async fn hanging_requests_are_cut_off_when_faults_are_removed() {
    for (kind, stored) in [("hang", 0), ("hang_after_commit", 1)] {
        let fault = format!(r#"{{"match": "INSERT", "kind": "{kind}"}}"#);
        let (server, client) = prepared(&fault).await;
        let hanging = tokio::spawn({
            let client = client.clone();
            async move { attempt(&client, "a").await }
        });
        // Once it is counted, the fault has been applied.
        let met = async {
            while !server.send("GET", "/fault", &[], b"").await.1.contains("\"hits\":1") {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, met).await.unwrap();
        assert!(!hanging.is_finished(), "{kind}");
        let committed = async {
            while ids(&client).await.len() != stored {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, committed).await.unwrap();
        assert_eq!(server.send("DELETE", "/fault", &[], b"").await, (200, "[]".into()));
        assert!(timeout(PATIENCE, hanging).await.unwrap().unwrap().is_err(), "{kind}");
        assert_eq!(ids(&client).await.len(), stored, "{kind}");
        attempt(&client, "a").await.unwrap();
        assert_eq!(ids(&client).await, ["a"], "{kind}");
    }
}

#[tokio::test]
async fn a_slow_insert_commits_after_its_client_has_gone() {
    let fault = r#"{"match": "INSERT", "kind": "slow", "delay_ms": 3000, "times": 1}"#;
    let (_server, client) = prepared(fault).await;
    assert!(timeout(SHORT, attempt(&client, "late")).await.is_err(), "it is slow");
    assert!(ids(&client).await.is_empty());
    let late = async {
        while ids(&client).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, late).await.expect("the insert that nobody waits for is stored");
}

#[tokio::test]
async fn a_burnt_token_reports_success_and_stores_nothing() {
    let fault = r#"{"match": "INSERT", "token": "b1:", "kind": "burn_token", "times": 1}"#;
    let (server, client) = prepared(fault).await;
    for _ in 0..3 {
        attempt(&client, "a").await.unwrap();
        assert!(ids(&client).await.is_empty());
    }
    server.send("DELETE", "/fault", &[], b"").await;
    attempt(&client, "a").await.unwrap();
    assert!(ids(&client).await.is_empty(), "burnt for good");
    insert(&client, "b1:event:202311:2", &[Event::new("a")]).await.unwrap();
    assert_eq!(ids(&client).await, ["a"], "a new generation of the token stores");
}

#[tokio::test]
async fn a_misspelt_fault_is_refused() {
    let server = Server::start();
    let (status, body) = server.send("POST", "/fault", &[], br#"{"kind": "explode"}"#).await;
    assert_eq!(status, 400);
    assert!(body.contains("unknown variant `explode`"), "{body}");
}

#[tokio::test]
async fn a_statement_can_be_rewritten() {
    let fault = r#"{"match": "FROM numbers", "kind": "rewrite", "from": "numbers(3)",
        "to": "numbers(5)"}"#;
    let (_server, client) = prepared(fault).await;
    let count: u64 = client.query("SELECT count() FROM numbers(3)").fetch_one().await.unwrap();
    assert_eq!(count, 5);
}

#[tokio::test]
async fn a_statement_can_be_run_by_another_server() {
    let (other, others_client) = prepared(r#"{"match": "nothing", "kind": "error"}"#).await;
    let to = other.url().replace("http://", "");
    let fault = format!(r#"{{"match": "INSERT INTO event", "kind": "forward", "to": "{to}"}}"#);
    let (_server, client) = prepared(&fault).await;
    attempt(&client, "a").await.unwrap();
    assert!(ids(&client).await.is_empty());
    assert_eq!(ids(&others_client).await, ["a"]);
}
