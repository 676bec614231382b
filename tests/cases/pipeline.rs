//! Writes that Redis refuses.

use super::case;
use crate::support::servers::{Kind, RedisServer};
use crate::support::{DEADLINE, Daemon, eventually};

#[test]
fn a_queue_of_the_wrong_type() {
    let input = "SET analytics:queue x, 40 page views, DEL analytics:queue";
    case("hostile trial", input, "every accepted page view is stored", || {
        let redis = RedisServer::start(Kind::Redis, &[]);
        let daemon = Daemon::with_settings(&format!("redis_url = '{}'", redis.url()));
        daemon.track("https://shop.example/before");
        eventually(DEADLINE, "the queue is empty", || {
            redis.cli(&["EXISTS", "analytics:queue"]) == "0"
        });
        redis.cli(&["SET", "analytics:queue", "x"]);
        let view = serde_json::json!({ "url": "https://shop.example/", "projectId": "default" });
        let accepted = (0..40).filter(|_| daemon.post("/track", &view).status == 200).count();
        redis.cli(&["DEL", "analytics:queue"]);
        let all = accepted + 1;
        let mut stored = 0;
        eventually(DEADLINE, "all are stored", || {
            stored = daemon.scalar("SELECT count() FROM page_view_event").as_u64().unwrap();
            stored >= all as u64
        });
        match stored == all as u64 {
            true => "every accepted page view is stored".to_owned(),
            false => format!("{stored} stored of {all} accepted"),
        }
    });
}
