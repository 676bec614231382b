//! Tokens and the domains they are limited to.

use std::collections::BTreeSet;

use bklit_pipeline::auth::Secret;
use serde_json::json;

use super::{case, joined, metric, post_as};
use crate::postgres::{SCHEMA, insert_token};
use crate::support::servers::Postgres;
use crate::support::{Cli, Daemon, request};

/// The status of a page view of this project from a page with this origin.
fn from_page(daemon: &Daemon, secret: &str, project: &str, origin: &str) -> u16 {
    let body = json!({ "url": "https://shop.example/", "projectId": project }).to_string();
    let bearer = format!("Bearer {secret}");
    post_as(daemon, &bearer, "/track", &[("Origin", origin)], body.as_bytes()).status
}

fn token(daemon: &Daemon, domain: &str) -> String {
    let arguments = ["token", "create", "--project", "shop", "--domain", domain, "--quiet"];
    daemon.cli(&arguments).trim().to_owned()
}

#[test]
fn subdomains() {
    let input = "token --domain shop.example; pages of shop.example, www.shop.example, evil.shop.example, evilshop.example; the same with auth.exact_domains";
    let expected = "200, 200, 200, 403; 200, 403, 403, 403";
    case("Bklit allowedDomains", input, expected, || {
        let statuses = ["", "[auth]\nexact_domains = true"].map(|settings| {
            let daemon = Daemon::with_settings(settings);
            let secret = token(&daemon, "shop.example");
            let hosts =
                ["shop.example", "www.shop.example", "evil.shop.example", "evilshop.example"];
            joined(
                hosts.map(|host| from_page(&daemon, &secret, "shop", &format!("https://{host}"))),
            )
        });
        statuses.join("; ")
    });
}

#[test]
fn wildcards_and_public_suffixes() {
    let input = "token --domain '*.shop.example' and pages of shop.example and a.shop.example; --domain co.uk";
    let expected = "403, 200; listed as *.shop.example; co.uk: warning";
    case("Bklit allowedDomains", input, expected, || {
        let daemon = Daemon::start();
        let secret = token(&daemon, "*.shop.example");
        let statuses = joined(
            ["shop.example", "a.shop.example"]
                .map(|host| from_page(&daemon, &secret, "shop", &format!("https://{host}"))),
        );
        let list = daemon.cli(&["token", "list"]);
        let listed = if list.contains("*.shop.example") { "*.shop.example" } else { &list };
        let created =
            Cli::new().run(&["token", "create", "--project", "shop", "--domain", "co.uk"]);
        let warned = created.code == Some(0) && created.stderr.contains("warning");
        let warning = if warned { "warning" } else { "no warning" };
        format!("{statuses}; listed as {listed}; co.uk: {warning}")
    });
}

#[test]
fn domains_as_pasted() {
    let input = "allowedDomains in Postgres: {https://shop.example/}, {münchen.example}, {foo bar}";
    let expected = "200, 200, 403; doctor names foo bar";
    case("google/site-kit-wp 6435", input, expected, || {
        let postgres = Postgres::own();
        postgres.sql(SCHEMA);
        let daemon = Daemon::with_settings(&format!("database_url = '{}'", postgres.url()));
        let tokens = [
            ("https://shop.example/", "https://shop.example"),
            ("münchen.example", "https://xn--mnchen-3ya.example"),
            ("foo bar", "https://foo.example"),
        ];
        let statuses = tokens.map(|(domain, origin)| {
            let secret = Secret::generate().unwrap();
            // Not a name in any language, so that it needs no quoting.
            let id = format!("t{}", domain.len());
            postgres.sql(&insert_token(&id, "s:00", Some(&secret.hash().to_hex())));
            postgres.sql(&format!(
                "UPDATE api_token SET \"allowedDomains\" = ARRAY['{domain}'] WHERE id = '{id}'"
            ));
            from_page(&daemon, secret.expose(), "p", origin)
        });
        let cli = Cli::on(&daemon.data_dir()).env("DATABASE_URL", &postgres.url());
        let findings = cli.run(&["doctor"]).stdout;
        let names = findings.contains("foo bar") && findings.contains("never matches");
        let doctor = if names { "names foo bar" } else { "is silent" };
        format!("{}; doctor {doctor}", joined(statuses))
    });
}

#[test]
fn a_loopback_that_needs_tokens() {
    let input = "GET /api/queue on this machine: by default, with auth.loopback_needs_token";
    case("hostile trial", input, "200, 401", || {
        let settings = ["", "[auth]\nloopback_needs_token = true"];
        joined(settings.map(|toml| Daemon::with_settings(toml).get("/api/queue").status))
    });
}

#[test]
fn floods_of_wrong_tokens() {
    let input = "2,000 requests with wrong tokens, then 20 page views";
    let expected = "401 or 429; 20 of 20 accepted; below 100 lines about refusals kept";
    case("hostile trial", input, expected, || {
        let daemon = Daemon::start();
        let mut statuses = BTreeSet::new();
        for n in 0..2_000 {
            let bearer = format!("Bearer bk_live_{n:064x}");
            let headers =
                [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
            let body = br#"{"url":"https://shop.example/","projectId":"default"}"#;
            statuses.insert(request(daemon.addr, "POST", "/track", &headers, body).unwrap().status);
        }
        let unexpected: Vec<_> = statuses.iter().filter(|&&s| s != 401 && s != 429).collect();
        let refused =
            if unexpected.is_empty() { "401 or 429".to_owned() } else { joined(unexpected) };
        let view = json!({ "url": "https://shop.example/", "projectId": "default" });
        let accepted = (0..20).filter(|_| daemon.post("/track", &view).status == 200).count();
        let refusals = super::debug_log(&daemon);
        let refusals = refusals.iter().filter(|line| {
            line["message"].as_str().is_some_and(|message| message.contains("refused"))
        });
        let refusals = match refusals.count() {
            0..100 => "below 100".to_owned(),
            many => many.to_string(),
        };
        assert!(metric(&daemon, "bklit_http_connections") < 100.0);
        format!("{refused}; {accepted} of 20 accepted; {refusals} lines about refusals kept")
    });
}
