//! Bklit's own browser SDK, unchanged, in Node with the parts of a browser that it needs.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::servers::provided;
use crate::support::{DEADLINE, Daemon, eventually};

/// Runs the SDK through a visit: a page, another page, a click, and the tab is closed. Returns
/// what the server sent.
fn visit(address: SocketAddr, key: &str) -> Vec<Value> {
    let sdk = provided("BKLIT_TEST_SDK");
    let browser = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/websocket/browser.cjs");
    let output = Command::new("node")
        // A no-op if it exists already.
        .arg("--experimental-websocket")
        .args([browser.as_path(), &sdk])
        .args([format!("ws://{address}"), key.to_owned()])
        .stdin(Stdio::null())
        .output()
        .expect("node runs; the tests need Node 20.10 or newer");
    let (text, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}\n{errors}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_visit_with_the_real_sdk_is_stored() {
    let daemon = Daemon::start();
    let heard = visit(daemon.websocket_addr(), &daemon.token());
    let types: Vec<_> = heard.iter().map(|message| message["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["connected", "auth_success", "ack", "ack", "ack"], "{heard:?}");
    let ended = "SELECT count() FROM tracked_session WHERE ended_at IS NOT NULL";
    eventually(DEADLINE, "the session has ended", || daemon.scalar(ended) == json!(1));
    for (sql, value) in [
        ("SELECT count() FROM page_view_event", json!(2)),
        ("SELECT utm_source FROM page_view_event WHERE is_new_visitor", json!("mail")),
        ("SELECT count() FROM page_view_event WHERE mobile AND language = 'nb'", json!(2)),
        ("SELECT event_definition_id FROM tracked_event", json!("buy")),
        ("SELECT exit_page FROM tracked_session", json!("https://shop.example/cart")),
        ("SELECT did_bounce FROM tracked_session", json!(0)),
    ] {
        assert_eq!(daemon.scalar(sql), value, "{sql}");
    }
}

#[test]
fn the_real_sdk_with_a_wrong_key_is_refused() {
    let daemon = Daemon::start();
    let heard = visit(daemon.websocket_addr(), "bk_live_wrong");
    let types: Vec<_> = heard.iter().map(|message| message["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["connected", "error", "error", "error", "error"], "{heard:?}");
    // After it, so that anything it sent would already have been stored.
    daemon.track("https://a.example/");
    let count = "SELECT count() FROM page_view_event";
    eventually(DEADLINE, "the page view is stored", || daemon.scalar(count) == json!(1));
    assert_eq!(daemon.scalar("SELECT count() FROM tracked_event"), json!(0));
}
