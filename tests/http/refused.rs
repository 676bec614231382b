//! `GET /api/refused` and `bklit-tui refused`: what was refused, grouped, with samples.

use bklit_pipeline::auth::Scope;
use serde_json::{Value, json};

use super::client::post;
use super::server::Server;
use crate::support::{DEADLINE, Daemon, eventually, request};
use crate::websocket::server::Socket;

async fn groups(server: &Server) -> Vec<Value> {
    let answer = server.get("/api/refused", &[]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["groups"].as_array().unwrap().clone()
}

#[tokio::test]
async fn fifty_invalid_events_of_five_kinds_are_grouped_with_a_sample() {
    let server = Server::start().await;
    let page = [("Referer", "https://shop.example/cart?session=1")];
    let bodies = [
        r#"{"projectId":"p","title":"no url","apiKey":"bk_live_x","ip":"198.51.100.7"}"#,
        r#"{"projectId":"p","url":"https://shop.example/cart#x","eventId":"a b"}"#,
        r#"{"projectId":"p","url":"relative"}"#,
        r#"{"projectId":"other","url":"https://shop.example/cart"}"#,
        r#"{"projectId":"p","url":"https://shop.example/cart","#,
    ];
    for _ in 0..10 {
        for body in bodies {
            let answer = server.post_with("/track", &page, body).await;
            assert!((400..402).contains(&answer.status), "{body}: {answer:?}");
        }
    }
    let groups = groups(&server).await;
    assert_eq!(groups.len(), 5, "{groups:#?}");
    for group in &groups {
        assert_eq!(
            (&group["count"], &group["page"]),
            (&json!(10), &json!("https://shop.example/cart"))
        );
        assert_eq!(group["sample"]["type"], "pageview", "{group}");
        assert!(group["token"].as_str().unwrap().starts_with("tok_"), "{group}");
        assert!(group["first"].as_str() <= group["last"].as_str(), "{group}");
    }
    let of = |project: &str| groups.iter().filter(|group| group["project"] == project).count();
    assert_eq!((of("p"), of("other")), (4, 1));
    let named = |field: &str| groups.iter().find(|group| group["field"] == field).unwrap();
    let missing = groups.iter().find(|group| group["error"] == "url: missing").unwrap();
    let expected = r#"{"projectId":"p","title":"no url","apiKey":"(removed)","ip":"(removed)"}"#;
    assert_eq!(missing["sample"]["body"], expected);
    assert_eq!(named("eventId")["reason"], "invalid event");
    assert_eq!(named("body")["sample"]["body"], bodies[4]);
    let metrics = server.get("/metrics", &[]).await.body;
    for line in [
        r#"bklit_refused_events_total{reason="invalid event",field="url"} 20"#,
        r#"bklit_refused_events_total{reason="token of another project",field=""} 10"#,
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn only_events_count_as_refused() {
    let server = Server::start().await;
    for n in 0..10 {
        assert_eq!(server.get("/favicon.ico", &[]).await.status, 404);
        assert_eq!(server.get("/track", &[]).await.status, 405);
        let scan = post(&format!("/wp-login{n}.php"), &[], "log=admin");
        assert_eq!(server.send(scan).await.status, 404);
        let admin = post("/api/queue/pause", &[("Authorization", "Bearer x")], "{}");
        assert_eq!(server.send(admin).await.status, 401);
    }
    let refused = || server.log.metrics().take_gauges().refused;
    assert_eq!((refused(), groups(&server).await.len()), (0, 0));
    let bearer = format!("Bearer {}", server.ingest);
    for path in ["/v1/track", "/track"] {
        let wrong = post(path, &[("Authorization", &*bearer)], "{}");
        assert!((400..405).contains(&server.send(wrong).await.status), "{path}");
    }
    assert_eq!(server.post("/batch", r#"[{"type":"event"},{}]"#).await.status, 400);
    assert_eq!(refused(), 4);
    let view = server.get("/api/refused", &[]).await.json();
    assert_eq!(view["total"], json!(4));
}

#[tokio::test]
async fn refusals_before_the_body_name_page_and_token() {
    let server = Server::start().await;
    let unknown = format!("bk_live_{}", "ab".repeat(32));
    let headers = [
        ("Authorization", format!("Bearer {unknown}")),
        ("Origin", "https://a.example".to_owned()),
    ];
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
    server.send(post("/track", &headers, "{}")).await;
    server.send(post("/track", &[], "{}")).await;
    let (limited, _) = server
        .tokens
        .make(Scope::Ingest, &["p"], |token| token.allowed_domains = vec!["b.example".into()])
        .await;
    let bearer = format!("Bearer {}", limited.expose());
    let headers = [("Authorization", &*bearer), ("Origin", "https://a.example")];
    let body = r#"{"projectId":"p","url":"https://a.example/"}"#;
    server.send(post("/track", &headers, body)).await;
    // Whose token is known, also without a body.
    let large = format!(r#"{{"projectId":"p","x":"{}"}}"#, "x".repeat(1 << 20));
    for path in ["/track", "/batch"] {
        let headers = [("Content-Encoding", "gzip")];
        let body = crate::support::gzip(large.repeat(20).as_bytes());
        assert_eq!(server.post_with(path, &headers, body).await.status, 413);
    }
    // Requests that are not events do not count.
    server.send(post("/api/queue/failed/retry", &[("Authorization", "Bearer x")], "{}")).await;
    let groups = groups(&server).await;
    let reasons: Vec<_> = groups.iter().map(|group| group["reason"].as_str().unwrap()).collect();
    let large = groups.iter().find(|group| group["reason"] == "body too large").unwrap();
    assert!(large["token"].as_str().unwrap().starts_with("tok_"), "{large}");
    assert_eq!((&large["count"], &large["sample"]["body"]), (&json!(2), &Value::Null));
    let reasons: Vec<_> =
        reasons.into_iter().filter(|reason| *reason != "body too large").collect();
    assert_eq!(reasons, ["token not valid", "token missing", "domain not allowed"]);
    let unknown_token = groups.iter().find(|group| group["reason"] == "token not valid").unwrap();
    assert_eq!(unknown_token["token"], "bk_live_abab");
    assert_eq!(unknown_token["page"], "https://a.example/");
    let domain = groups.iter().find(|group| group["reason"] == "domain not allowed").unwrap();
    assert_eq!((&domain["project"], &domain["status"]), (&json!("p"), &json!(403)));
    let all = server.get("/api/refused?recent=500", &[]).await.body;
    assert!(!all.contains(&unknown) && !all.contains(limited.expose()), "{all}");
}

#[tokio::test]
async fn members_of_a_batch_are_kept_each_with_its_own_json() {
    let server = Server::start().await;
    let bad = r#"{"type":"event","data":{"projectId":"p","eventType":"x"}}"#;
    let good = r#"{"type":"pageview","projectId":"p","url":"https://a.example/"}"#;
    let batch = format!("[{good},{}]", [bad; 7].join(","));
    assert_eq!(server.post("/batch", batch).await.status, 200);
    let view = server.get("/api/refused?recent=3&project=p", &[]).await.json();
    assert_eq!((&view["total"], &view["groups"][0]["count"]), (&json!(7), &json!(7)));
    let recent = view["recent"].as_array().unwrap();
    assert_eq!(recent.len(), 3);
    assert_eq!((&recent[0]["body"], &recent[0]["type"]), (&json!(bad), &json!("event")));
    assert_eq!(
        server.get("/api/refused?recent=3&project=q", &[]).await.json()["recent"],
        json!([])
    );
    assert_eq!(server.get("/api/refused?recent=501", &[]).await.status, 400);
    assert_eq!(server.get("/api/refused?id=x", &[]).await.status, 400);
}

#[tokio::test]
async fn messages_of_sockets_are_grouped_like_requests() {
    let server = crate::websocket::server::Server::start().await;
    let path = crate::websocket::server::BROWSER;
    let mut socket = Socket::open(server.address, path, &[("origin", "https://a.example")]).await;
    socket.greeted().await;
    let key = format!("bk_live_{}", "cd".repeat(32));
    socket.say(json!({ "type": "auth", "apiKey": key })).await;
    socket.hear().await;
    socket
        .say(json!({ "type": "pageview", "apiKey": server.ingest, "data": { "title": "x", "ip": "198.51.100.7" } }))
        .await;
    socket.hear().await;
    let view = server.intake.refusals().view(&bklit_pipeline::refused::Wanted {
        most: 9,
        ..bklit_pipeline::refused::Wanted::default()
    });
    assert_eq!((view.total, view.groups.len(), view.recent.len()), (2, 2, 2));
    let text = serde_json::to_string(&view).unwrap();
    assert!(!text.contains(&key) && !text.contains(&server.ingest), "{text}");
    assert!(!text.contains("198.51.100.7") && !text.contains("127.0.0.1"), "{text}");
    let [last, first] = &view.recent[..] else { panic!("{view:?}") };
    assert_eq!(
        (first.reason.as_str(), first.token.as_deref()),
        ("token not valid", Some("bk_live_cdcd"))
    );
    assert_eq!((last.error.as_str(), last.project.as_deref()), ("url: missing", Some("p")));
    assert_eq!(
        (last.page.as_deref(), last.kind.as_deref()),
        (Some("https://a.example/"), Some("pageview"))
    );
}

#[test]
fn a_refused_event_is_sent_again_and_stored_once() {
    let daemon = Daemon::with_settings("[intake]\nurl_schemes = ['https']");
    let body = json!({ "url": "app://x/y", "projectId": "default" });
    assert_eq!(daemon.post("/track", &body).status, 400);
    let list = daemon.cli(&["refused", "list"]);
    assert!(list.contains("app://x/y") && list.contains("1 refused since"), "{list}");
    let shown: Value = serde_json::from_str(&daemon.cli(&["refused", "show", "1"])).unwrap();
    assert_eq!(shown["body"], body.to_string());
    let config = daemon.scratch().join("bklit.toml");
    let run = |arguments: &[&str]| {
        let settings = ["--config", config.to_str().unwrap()];
        crate::support::Cli::on(&daemon.data_dir()).run(&[arguments, &settings].concat())
    };
    let again = run(&["refused", "resend", "1"]);
    assert_eq!(again.code, Some(1));
    assert!(again.stdout.contains("1: refused: url: "), "{again:?}");
    assert!(run(&["refused", "show", "77"]).failed().contains("no refused event 77"));
    let some = run(&["refused", "resend", "77", "1"]);
    assert_eq!(some.code, Some(1));
    for line in ["77: not sent: no refused event 77", "\n1: refused: url: "] {
        assert!(some.stdout.contains(line), "{some:?}");
    }
    // Refused because of its domain; sent again with another token.
    let limited = daemon.cli(&["token", "create", "--project", "shop", "--domain", "b.example"]);
    let secret = |text: &str| {
        text.split_whitespace()
            .find(|word| word.starts_with("bk_live_") && word.len() == 72)
            .unwrap()
            .to_owned()
    };
    let bearer = format!("Bearer {}", secret(&limited));
    let headers = [
        ("Authorization", &*bearer),
        ("Content-Type", "application/json"),
        ("Origin", "https://a.example"),
    ];
    let body = json!({ "url": "https://a.example/z", "projectId": "shop" }).to_string();
    let mut status = 0;
    eventually(DEADLINE, "the token is known", || {
        status = request(daemon.addr, "POST", "/track", &headers, body.as_bytes()).unwrap().status;
        status == 403
    });
    let groups = daemon.get("/api/refused?project=shop").json()["groups"].clone();
    let id = groups[0]["sample"]["id"].to_string();
    let open = secret(&daemon.cli(&["token", "create", "--project", "shop"]));
    for _ in 0..2 {
        let sent = run(&["refused", "resend", &id, "--ingest-token", &open]).ok();
        assert!(sent.contains(": accepted as refused-"), "{sent}");
    }
    let views = "SELECT count() FROM page_view_event";
    let views = views.replace("count()", "count(*)");
    eventually(DEADLINE, "it is stored", || daemon.scalar(&views) == json!(1));
}
