//! The tracker's script and the playground.

use std::io::Read;

use bklit_pipeline::http::Playground;

use super::client::{Answer, request};
use super::server::Server;
use crate::support::request as send;
use crate::support::{Cli, Daemon};

/// The most bytes that the script may be when it is transferred.
const BUDGET: usize = 3_000;

fn script(daemon: &Daemon, headers: &[(&str, &str)]) -> crate::support::Response {
    send(daemon.addr, "GET", "/tracker.js", headers, b"").unwrap()
}

#[test]
fn the_script_is_small_and_cached() {
    let daemon = Daemon::start();
    let plain = script(&daemon, &[]);
    assert_eq!((plain.status, plain.header("content-encoding")), (200, None));
    let gzipped = script(&daemon, &[("Accept-Encoding", "br;q=1.0, GZIP;q=0.8")]);
    assert_eq!(gzipped.header("content-encoding"), Some("gzip"));
    assert!(gzipped.body.len() < BUDGET, "{} bytes", gzipped.body.len());
    let mut text = String::new();
    flate2::read::GzDecoder::new(&gzipped.body[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text, plain.text());
    for refused in ["gzip;q=0", "gzip; q=0.0, br", "identity"] {
        let answer = script(&daemon, &[("Accept-Encoding", refused)]);
        assert_eq!(answer.header("content-encoding"), None, "{refused}");
    }
    for answer in [&plain, &gzipped] {
        for (name, value) in [
            ("cache-control", "public, max-age=3600, stale-while-revalidate=86400"),
            ("access-control-allow-origin", "*"),
            ("cross-origin-resource-policy", "cross-origin"),
            ("content-type", "text/javascript; charset=utf-8"),
            ("x-content-type-options", "nosniff"),
            ("vary", "Accept-Encoding"),
        ] {
            assert_eq!(answer.header(name), Some(value));
        }
    }
    let (tag, other) = (plain.header("etag").unwrap(), gzipped.header("etag").unwrap());
    assert_ne!(tag, other, "each encoding has its own");
    for known in [tag.to_owned(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        let answer = script(&daemon, &[("If-None-Match", &known)]);
        assert_eq!((answer.status, answer.body.len()), (304, 0), "{known}");
        assert_eq!(answer.header("etag"), Some(tag));
    }
    assert_eq!(script(&daemon, &[("If-None-Match", other)]).status, 200);
}

#[test]
fn the_script_is_served_without_comments_and_needs_no_exception_from_a_policy() {
    let daemon = Daemon::start();
    let text = script(&daemon, &[]).text();
    assert!(text.lines().all(|line| !line.starts_with("//") && line.trim() == line));
    for word in ["eval(", "Function(", "innerHTML", ".write(", "import("] {
        assert!(!text.contains(word), "{word}");
    }
}

async fn playground(server: &Server, headers: &[(&str, &str)]) -> Answer {
    server.send(request("GET", "/playground", headers)).await
}

#[tokio::test]
async fn the_playground_is_served_as_configured() {
    let proxied = [("X-Forwarded-For", "203.0.113.9")];
    for (setting, local, remote) in
        [(Playground::Off, 404, 404), (Playground::Local, 200, 404), (Playground::Public, 200, 200)]
    {
        let server = Server::start_with("127.0.0.1:0", |http| http.playground = setting).await;
        assert_eq!(playground(&server, &[]).await.status, local, "{setting:?}");
        assert_eq!(playground(&server, &proxied).await.status, remote, "{setting:?}");
        server.stop().await;
    }
}

#[test]
fn the_first_token_is_filled_in_for_this_machine_only_and_while_it_works() {
    let daemon = Daemon::with_settings("[http]\nplayground = \"public\"\n");
    let token = daemon.token();
    let page = daemon.get("/playground");
    assert!(page.text().contains(&format!("value=\"{token}\"")));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let proxied = [("X-Forwarded-For", "203.0.113.9")];
    let page = send(daemon.addr, "GET", "/playground", &proxied, b"").unwrap();
    assert!(page.status == 200 && !page.text().contains(&token), "{}", page.text());
    let list = daemon.cli(&["token", "list", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(list.lines().next().unwrap()).unwrap();
    daemon.cli(&["token", "revoke", listed["id"].as_str().unwrap()]);
    crate::support::eventually(crate::support::DEADLINE, "the token is not filled in", || {
        !daemon.get("/playground").text().contains(&token)
    });
}

#[test]
fn a_local_playground_needs_a_local_server() {
    let cli = Cli::new();
    let error = cli.run(&["--no-ui", "--playground", "--listen", "0.0.0.0:0"]).failed();
    assert!(error.contains("http.playground (from --playground) needs a loopback"), "{error}");
}
