//! `GET /api/who`: where events come from, over both entry points and in the console.

use std::collections::BTreeMap;

use bklit_wire::time::UtcMillis;
use bklit_wire::who::{Dimension, WhoCounts, WhoQuery, WhoSpan, WhoView};
use serde_json::{Value, json};

use super::server::Server;
use crate::support::{DEADLINE, Daemon, Response, eventually, request};
use crate::tui::attach;
use crate::websocket::server::{BROWSER, Server as WebSocketServer, Socket};

/// Behind a proxy that says where visitors are.
const BEHIND_PROXY: &str =
    "[http]\ntrusted_proxies = ['loopback']\nlocation_headers = 'cloudflare'";

fn counts(accepted: u64, refused: u64, failed: u64) -> WhoCounts {
    WhoCounts { accepted, refused, failed }
}

fn by_value(view: &WhoView) -> BTreeMap<&str, WhoCounts> {
    view.rows.iter().map(|row| (&*row.value, row.counts)).collect()
}

/// A daemon and its senders.
struct Senders {
    daemon: Daemon,
    /// Of the project `shop`, called `web shop`.
    shop: String,
    read: String,
}

impl Senders {
    fn start() -> Self {
        let daemon = Daemon::with_settings(BEHIND_PROXY);
        let make = |arguments: &[&str]| {
            let made = daemon.cli(&[&["token", "create", "--quiet"], arguments].concat());
            format!("Bearer {}", made.trim())
        };
        let shop = make(&["--project", "shop", "--name", "web shop"]);
        let read = make(&["--project", "*", "--scope", "read"]);
        Self { daemon, shop, read }
    }

    /// Sends a body as a visitor with this address; returns the status.
    fn send(&self, path: &str, token: &str, ip: &str, body: &Value) -> u16 {
        let headers = [
            ("Authorization", token),
            ("Content-Type", "application/json"),
            ("X-Forwarded-For", ip),
            ("CF-IPCountry", if ip.starts_with("203.") { "DE" } else { "FR" }),
            ("Referer", "https://shop.example/checkout?secret=1"),
        ];
        let body = body.to_string();
        request(self.daemon.addr, "POST", path, &headers, body.as_bytes()).unwrap().status
    }

    fn get(&self, query: &str) -> Response {
        let headers = [("Authorization", self.read.as_str())];
        request(self.daemon.addr, "GET", &format!("/api/who{query}"), &headers, b"").unwrap()
    }

    fn who(&self, query: &str) -> WhoView {
        let answer = self.get(query);
        assert_eq!(answer.status, 200, "{}", answer.text());
        serde_json::from_value(answer.json()).unwrap()
    }

    /// Three page views of the shop, a click elsewhere, and what is refused.
    fn send_all(&self) {
        for n in 0..3 {
            let body = json!({
                "projectId": "shop", "url": format!("https://shop.example/cart?n={n}#x"),
                "referrer": "https://news.example/today",
            });
            assert_eq!(self.send("/track", &self.shop, "203.0.113.9", &body), 200);
        }
        let own = format!("Bearer {}", self.daemon.token());
        let click = json!({ "projectId": "default", "trackingId": "t", "eventType": "click" });
        assert_eq!(self.send("/track-event", &own, "198.51.100.7", &click), 200);
        let no_url = json!({ "projectId": "shop" });
        assert_eq!(self.send("/track", &self.shop, "203.0.113.9", &no_url), 400);
        let good = json!({ "type": "session_end", "projectId": "shop", "sessionId": "s" });
        let batch = json!([good, { "type": "pageview", "projectId": "shop" }]);
        assert_eq!(self.send("/batch", &self.shop, "203.0.113.9", &batch), 200);
        let unknown = format!("Bearer bk_live_{}", "ab".repeat(32));
        assert_eq!(self.send("/track", &unknown, "198.51.100.7", &no_url), 401);
    }
}

#[test]
fn events_are_counted_by_all_that_is_known_of_them() {
    let senders = Senders::start();
    senders.send_all();
    let shop = counts(4, 2, 0);
    let [from_shop, from_others] = [("203.0.113.0", shop), ("198.51.100.0", counts(1, 1, 0))];
    for (by, expected) in [
        // Refused events count for the project that they name, whoever sent them.
        ("project", vec![("shop", counts(4, 3, 0)), ("default", counts(1, 0, 0))]),
        ("address", vec![from_shop, from_others]),
        (
            "page",
            vec![
                ("https://shop.example/cart", counts(3, 0, 0)),
                ("https://shop.example/checkout", counts(0, 3, 0)),
                ("", counts(2, 0, 0)),
            ],
        ),
        (
            "type",
            vec![
                ("pageview", counts(3, 3, 0)),
                ("event click", counts(1, 0, 0)),
                ("session_end", counts(1, 0, 0)),
            ],
        ),
        ("referrer", vec![("news.example", counts(3, 0, 0)), ("", counts(2, 3, 0))]),
        ("country", vec![("DE", counts(4, 0, 0)), ("FR", counts(1, 0, 0)), ("", counts(0, 3, 0))]),
    ] {
        let view = senders.who(&format!("?by={by}"));
        assert_eq!(by_value(&view), expected.into_iter().collect(), "{by}: {view:#?}");
        assert_eq!((view.total, view.others), (counts(5, 3, 0), counts(0, 0, 0)));
        assert_eq!((view.before, view.estimated), (None, false));
        assert_eq!(view.roles, "ingestion,worker,websocket");
        assert!(view.seconds() < 60.0);
    }
    let tokens = senders.who("?by=token&span=1h&sort=refused");
    let [first, ..] = &tokens.rows[..] else { panic!("{tokens:?}") };
    assert_eq!((first.counts, first.name.as_deref()), (shop, Some("web shop")));
    assert!(first.value.starts_with("tok_"), "{first:?}");
    assert_eq!(by_value(&tokens)["bk_live_abab"], counts(0, 1, 0));
    let secrets = [&senders.shop[..], "203.0.113.9", "198.51.100.7", "secret=1"];
    for by in Dimension::ALL {
        let text = senders.get(&format!("?by={}", by.as_str())).text();
        for secret in secrets {
            assert!(!text.contains(secret.trim_start_matches("Bearer ")), "{secret}: {text}");
        }
    }
}

#[test]
fn an_unknown_value_is_answered_with_the_known_ones() {
    let senders = Senders::start();
    for (query, field, known) in [
        ("?by=ip", "by", "project, token, address, page, type, referrer, country"),
        ("?span=2m", "span", "1m, 10m, 1h"),
        ("?sort=name", "sort", "rate, change, refused, failed"),
    ] {
        let answer = senders.get(query);
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert_eq!(answer.status, 400, "{error}");
        assert!(error.starts_with(field) && error.contains(known), "{error}");
    }
    assert_eq!(senders.daemon.get("/api/who").status, 401, "behind a proxy it needs a token");
}

/// In the console of another process: from the rate by project to the lines of a token and of an
/// address.
#[test]
fn a_console_shows_who_sends_and_leads_to_the_lines() {
    let senders = Senders::start();
    let read = senders.read.trim_start_matches("Bearer ");
    let (mut pty, _dir) = attach(&senders.daemon, &["--token", read]);
    senders.send_all();
    pty.wait_for_text("Request refused");
    pty.send("T");
    pty.wait_for("the projects", |screen| {
        let contents = screen.contents();
        ["‹project›", "shop", "default"].iter().all(|part| contents.contains(part))
    });
    pty.send("\t");
    pty.wait_for_text("web shop tok_");
    pty.send("\r");
    pty.wait_for("only its lines", |screen| {
        let contents = screen.contents();
        contents.contains("data.token:=tok_")
            && contents.contains("Request refused")
            && contents.contains("Event received")
            && !contents.contains("Event queued")
            && !contents.contains("bk_live_abab")
    });
    pty.send("T\t");
    pty.wait_for_text("203.0.113.0");
    pty.send("j\r");
    pty.wait_for("the lines of the other address", |screen| {
        let contents = screen.contents();
        contents.contains("data.peer:=198.51.100.0")
            && contents.contains("Event received")
            && !contents.contains("/cart")
    });
    pty.send("\x03");
    assert_eq!(pty.wait_for_exit(), Ok(0));
}

#[test]
fn the_figures_of_a_process_begin_with_it() {
    let daemon = Daemon::start();
    daemon.track("https://a.example/");
    let counted = |daemon: &Daemon| daemon.get("/api/who").json()["total"]["accepted"].clone();
    assert_eq!(counted(&daemon), 1);
    let daemon = daemon.restart();
    assert_eq!(counted(&daemon), 0);
    // Counts of a second that has been queried are not added again.
    daemon.track("https://a.example/");
    eventually(DEADLINE, "it is stored", || {
        daemon.get("/metrics").text().contains("bklit_batch_events_count 1")
    });
    assert_eq!(counted(&daemon), 1);
}

fn seen(server: &Server, by: Dimension) -> WhoView {
    let query = WhoQuery { by, span: WhoSpan::Minute, ..WhoQuery::default() };
    server.log.metrics().who().view(query, UtcMillis::now())
}

#[tokio::test]
async fn messages_of_sockets_count_like_requests() {
    let server = WebSocketServer::start().await;
    let page = [("referer", "https://a.example/x?y")];
    let mut socket = Socket::open(server.address, BROWSER, &page).await;
    socket.greeted().await;
    let key = format!("bk_live_{}", "cd".repeat(32));
    socket.say(json!({ "type": "auth", "apiKey": key })).await;
    socket.error().await;
    let good = json!({ "url": "https://a.example/p?q" });
    for (data, key) in [(&good, Some(&server.ingest)), (&good, None), (&json!({}), None)] {
        socket.say(json!({ "type": "pageview", "apiKey": key, "data": data })).await;
        socket.hear().await;
    }
    let tokens = seen(&server, Dimension::Token);
    let [own, unknown] = &tokens.rows[..] else { panic!("{tokens:?}") };
    assert!(own.value.starts_with("tok_"), "{own:?}");
    assert_eq!((own.counts, unknown.counts), (counts(2, 1, 0), counts(0, 1, 0)));
    assert_eq!(unknown.value, "bk_live_cdcd");
    let pages = seen(&server, Dimension::Page);
    let expected =
        [("https://a.example/p", counts(2, 0, 0)), ("https://a.example/x", counts(0, 2, 0))];
    assert_eq!(by_value(&pages), expected.into_iter().collect());
    let addresses = seen(&server, Dimension::Address);
    assert_eq!(by_value(&addresses), [("127.0.0.0", counts(2, 2, 0))].into_iter().collect());
}

#[tokio::test]
async fn with_private_addresses_none_is_counted() {
    let server = Server::with_settings("127.0.0.1:0", |settings| {
        settings.privacy.ip = bklit_pipeline::intake::visitor::IpPrivacy::None;
    })
    .await;
    server.works().await;
    server.post("/track", "{}").await;
    let addresses = seen(&server, Dimension::Address);
    assert_eq!(by_value(&addresses), [("", counts(1, 1, 0))].into_iter().collect());
}
