//! Batches of events, through the real program to the store.

use serde_json::{Value, json};

use crate::support::{DEADLINE, Daemon, eventually};

#[test]
fn a_batch_that_is_sent_again_is_stored_once() {
    let mut daemon = Daemon::start();
    let view = |n: usize| {
        json!({"type": "pageview", "url": format!("https://a.example/{n}"),
            "projectId": "default", "eventId": format!("b-{n}")})
    };
    let mut events: Vec<_> = (0..498).map(view).collect();
    events.push(json!({"type": "event", "data": {"trackingId": "t", "eventType": "e",
        "projectId": "default", "eventId": "b-event"}}));
    events.push(json!({"type": "pageview", "projectId": "default"}));
    let batch = Value::from(events);
    for _ in 0..2 {
        for path in ["/batch", "/api/batch"] {
            let answer = daemon.post(path, &batch);
            assert_eq!(answer.status, 200, "{}", answer.text());
            let results = answer.json()["results"].as_array().unwrap().clone();
            let statuses: Vec<_> = results.iter().map(|result| &result["status"]).collect();
            assert_eq!(statuses[..499], [&json!(200); 499]);
            assert_eq!(results[499], json!({"status": 400, "error": "url: missing"}));
            assert_eq!(results[7]["eventId"], "b-7");
        }
        daemon = daemon.restart();
    }
    let count = |what: &str, table: &str| {
        let sql = format!("SELECT {what} FROM {table} WHERE project_id = 'default'");
        daemon.scalar(&sql)
    };
    eventually(DEADLINE, "all are stored", || {
        let views = count("count(DISTINCT id)", "page_view_event");
        views == 498 && count("count(*)", "tracked_event") == 1
    });
    let queue = daemon.queue();
    assert_eq!((&queue["waiting"], &queue["failed"]), (&json!(0), &json!(0)), "{queue}");
    assert_eq!(count("count(*)", "page_view_event"), 498);
}
