//! Servers over TLS, with custom root certificates (`tls_ca_file`).

use serde_json::json;
use url::Url;

use crate::postgres::SCHEMA;
use crate::support::servers::{ClickHouse, Kind, Postgres, RedisServer};
use crate::support::tls::{self, Handshake};
use crate::support::{Cli, DEADLINE, Daemon, eventually};

/// A Redis that also serves TLS, on that port.
fn redis_with_tls() -> (RedisServer, u16) {
    // If another process takes the port meanwhile, the start and so the test fails.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let path = |name: &str| tls::file(name).display().to_string();
    let server = RedisServer::start(
        Kind::Redis,
        &[
            ("tls-port", &port.to_string()),
            ("tls-cert-file", &path("server.pem")),
            ("tls-key-file", &path("server.key")),
            ("tls-ca-cert-file", &path("ca.pem")),
            ("tls-auth-clients", "no"),
        ],
    );
    (server, port)
}

fn port_of(url: &str) -> u16 {
    Url::parse(url).unwrap().port().unwrap()
}

/// The URL of a Postgres on another port, with this `sslmode`.
fn postgres_at(url: &str, port: u16, sslmode: &str) -> String {
    let mut url = Url::parse(url).unwrap();
    url.set_host(Some("localhost")).unwrap();
    url.set_port(Some(port)).unwrap();
    url.set_query(Some(&format!("sslmode={sslmode}")));
    url.into()
}

/// The findings of `doctor` on a part with these settings.
fn findings(arguments: &[&str], part: &str) -> Vec<serde_json::Value> {
    let output = Cli::new().run(&[&["doctor", "--json"], arguments].concat());
    let text = output.stdout;
    let all = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let found: Vec<_> = all.filter(|finding| finding["part"] == part).collect();
    assert!(!found.is_empty(), "{part}: {text}");
    found
}

#[test]
fn an_event_goes_over_tls_from_end_to_end() {
    let (_redis, redis) = redis_with_tls();
    let clickhouse = ClickHouse::own();
    let store = tls::before(port_of(&clickhouse.url()), "server", Handshake::Immediate);
    let postgres = Postgres::shared();
    postgres.sql(SCHEMA);
    postgres.sql("INSERT INTO \"EventDefinition\" VALUES ('def-1', 'signup', 'default', 'n')");
    let proxy = tls::before(port_of(&postgres.url()), "server", Handshake::Postgres);
    let database = postgres_at(&postgres.url(), proxy, "verify-full");
    let daemon = Daemon::with_environment(
        &format!(
            "redis_url = 'rediss://localhost:{redis}'\nclickhouse_url = 'https://localhost:{store}'\n\
             database_url = '{database}'"
        ),
        &[("BKLIT_TLS_CA_FILE", tls::file("ca.pem").to_str().unwrap())],
    );
    let custom = json!({ "trackingId": "signup", "projectId": "default", "eventType": "signup" });
    assert_eq!(daemon.post("/track-event", &custom).status, 200);
    let definitions = "SELECT count() FROM analytics.tracked_event \
                       WHERE event_definition_id = 'def-1'";
    eventually(DEADLINE, "it is stored under its definition", || {
        clickhouse.query("EXISTS analytics.tracked_event") == "1"
            && clickhouse.query(definitions) == "1"
    });

    // Commands reach a daemon behind TLS with the same file; without it, they report why not.
    let front = tls::before(daemon.addr.port(), "server", Handshake::Immediate);
    let url = format!("https://localhost:{front}");
    let token = daemon.token();
    let simulate =
        ["simulate", "--url", &url, "--token", &token, "--duration", "200ms", "--bad", "0"];
    let ca = tls::file("ca.pem");
    Cli::new().run(&[&simulate[..], &["--tls-ca-file", ca.to_str().unwrap()]].concat()).ok();
    for more in [&[][..], &["--tls-ca-file", tls::file("other-ca.pem").to_str().unwrap()]] {
        let error = Cli::new().run(&[&simulate[..], more].concat()).failed();
        assert!(error.contains("certificate"), "{error}");
    }
}

#[test]
fn a_server_with_another_certificate_is_refused_with_the_reason() {
    let (_redis, redis) = redis_with_tls();
    let clickhouse = ClickHouse::shared();
    let postgres = Postgres::shared();
    let behind = |certificate| {
        let store = tls::before(port_of(&clickhouse.url()), certificate, Handshake::Immediate);
        let database = tls::before(port_of(&postgres.url()), certificate, Handshake::Postgres);
        (format!("https://localhost:{store}"), database)
    };
    let redis = format!("rediss://localhost:{redis}");
    let (store, database) = behind("server");
    let database = |sslmode| postgres_at(&postgres.url(), database, sslmode);
    let (strict, lax) = (database("verify-full"), database("no-verify"));
    let (right, wrong) = (tls::file("ca.pem"), tls::file("other-ca.pem"));
    let (right, wrong) = (right.to_str().unwrap(), wrong.to_str().unwrap());
    let refused = |arguments: &[&str], part: &str, ca: &[&str], reason: &str| {
        let found = findings(&[arguments, ca].concat(), part);
        let text = found[0]["what"].to_string();
        assert!(text.contains(reason), "{part} {ca:?}: {found:?}");
        assert!(!text.contains("s3cret"), "{text}");
    };
    for (flag, url, part) in [
        ("--redis-url", redis.as_str(), "redis"),
        ("--clickhouse-url", &store, "clickhouse"),
        ("--database-url", &strict, "postgres"),
    ] {
        let found = findings(&[flag, url, "--tls-ca-file", right], part);
        let text = found[0]["what"].to_string();
        assert!(!text.contains("certificate") && !text.contains("no connection"), "{text}");
        for ca in [&[][..], &["--tls-ca-file", wrong]] {
            refused(&[flag, url], part, ca, "certificate");
        }
    }
    let found = findings(&["--database-url", &lax, "--tls-ca-file", wrong], "postgres");
    assert!(!found[0].to_string().contains("certificate"), "the URL disables the check: {found:?}");

    let (store, database) = behind("elsewhere");
    let strict = postgres_at(&postgres.url(), database, "verify-full");
    let ca = ["--tls-ca-file", wrong];
    refused(&["--database-url", &strict], "postgres", &ca, "elsewhere.example");
    refused(&["--clickhouse-url", &store], "clickhouse", &ca, "elsewhere.example");
}

#[test]
fn a_file_without_certificates_is_refused_at_once() {
    for (file, reason) in
        [(tls::file("server.key"), "no certificate"), (tls::file("missing.pem"), "No such file")]
    {
        let file = file.to_str().unwrap();
        let flags = ["doctor", "--redis-url", "rediss://localhost:1", "--tls-ca-file", file];
        let error = Cli::new().run(&flags).failed();
        assert!(error.contains("tls_ca_file") && error.contains(file), "{error}");
        assert!(error.contains(reason), "{error}");
    }
}
