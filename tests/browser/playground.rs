//! The playground.

use serde_json::json;

use crate::support::browser::Tab;
use crate::support::{DEADLINE, Daemon, eventually};

#[test]
fn the_playground_sends_events_and_shows_the_responses() {
    let daemon = Daemon::with_settings("[http]\nplayground = \"local\"\n");
    let mut tab = Tab::open();
    tab.goto(&daemon.url("/playground"));
    let logged =
        |text: &str| format!("document.getElementById('log').innerText.includes({text:?})");
    tab.until(&logged("POST /track "));
    for (button, shown) in [
        ("#pageview", "→ 200"),
        ("#route", "/playground?page="),
        ("#event", "playground-event"),
        ("[data-bklit-event]", "playground-click"),
        ("#wrong-token", "→ 401"),
        ("#no-url", "→ 400 {\"error\":\"url: missing\"}"),
        ("#end", "beacon /session-end"),
    ] {
        tab.click(button);
        tab.until(&logged(shown));
    }
    for (sql, value) in [
        ("SELECT count() FROM page_view_event WHERE url LIKE '%/playground'", json!(2)),
        ("SELECT count() FROM page_view_event WHERE url LIKE '%?page=%'", json!(1)),
        ("SELECT count() FROM tracked_event", json!(2)),
        ("SELECT count() FROM tracked_session WHERE ended_at IS NOT NULL", json!(1)),
    ] {
        eventually(DEADLINE, sql, || daemon.scalar(sql) == value);
    }
}

#[test]
fn another_token_can_be_entered() {
    let daemon = Daemon::with_settings("[http]\nplayground = \"local\"\n");
    let token = daemon.cli(&["token", "create", "--project", "shop", "--quiet"]);
    let mut tab = Tab::open();
    tab.goto(&daemon.url("/playground"));
    tab.eval(&format!(
        "document.getElementById('project').value = 'shop';
         document.getElementById('token').value = {:?}",
        token.trim()
    ));
    tab.leave_by("document.querySelector('form button').click()");
    let stored = "SELECT count() FROM page_view_event WHERE project_id = 'shop'";
    eventually(DEADLINE, "the page view is stored", || daemon.scalar(stored) == 1);
}
