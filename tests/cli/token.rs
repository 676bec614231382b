//! `token create`, `list` and `revoke`.

use serde_json::{Value, json};

use crate::support::{Cli, DEADLINE, Daemon, eventually, request};

fn is_token(text: &str) -> bool {
    let digits = text.strip_prefix("bk_live_").unwrap_or_default();
    digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn list(cli: &Cli) -> Vec<Value> {
    let lines = cli.run(&["token", "list", "--json"]).ok();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn quiet_prints_the_token_alone() {
    let output = Cli::new().run(&["token", "create", "--project", "p1", "--quiet"]);
    let token = output.ok();
    assert!(token.ends_with('\n') && is_token(token.trim_end()), "{token:?}");
}

#[test]
fn a_token_is_shown_once_and_only_its_hash_is_kept() {
    let cli = Cli::new();
    let shown = cli.run(&["token", "create", "--project", "p1", "--name", "shop"]).ok();
    let secret = shown.split_whitespace().find(|word| is_token(word));
    let secret = secret.unwrap_or_else(|| panic!("no token in {shown:?}"));
    let listed = cli.run(&["token", "list"]).ok();
    for part in ["p1", "shop", "ingest", &secret[..12]] {
        assert!(listed.contains(part), "{part} is not in\n{listed}");
    }
    assert!(!listed.contains(secret) && !listed.contains('\x1b'), "{listed:?}");
    let mut files = 0;
    for entry in std::fs::read_dir(cli.data_dir()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            files += 1;
            let bytes = std::fs::read(&path).unwrap();
            let digits = &secret.as_bytes()[12..];
            let found = bytes.windows(digits.len()).any(|window| window == digits);
            assert!(!found, "{} holds the secret", path.display());
        }
    }
    assert!(files > 0);
}

#[test]
fn a_revoked_token_is_no_longer_listed() {
    let cli = Cli::new();
    for project in ["p1", "p2"] {
        let create =
            ["token", "create", "--project", project, "--scope", "read", "--expires", "90d"];
        cli.run(&create).ok();
    }
    let tokens = list(&cli);
    assert_eq!(tokens.len(), 2, "{tokens:?}");
    let id = tokens[0]["id"].as_str().unwrap();
    cli.run(&["token", "revoke", id]).ok();
    assert_eq!(list(&cli), tokens[1..]);
    let error = cli.run(&["token", "revoke", id]).failed();
    assert!(error.contains(id), "{error}");
}

#[test]
fn errors_name_the_argument() {
    let cli = Cli::new();
    for (arguments, part) in [
        (&["token", "create"][..], "--project"),
        (&["token", "create", "--project", "p", "--expires", "soon"], "--expires"),
        (&["token", "create", "--project", "p", "--scope", "admin"], "--scope"),
        (&["token", "create", "--project", ""], "project"),
        (&["token", "revoke", "nothing-of-that-name"], "nothing-of-that-name"),
    ] {
        let error = cli.run(arguments).failed();
        assert!(error.contains(part), "{arguments:?}: {error}");
    }
    assert_eq!(list(&cli), [] as [Value; 0]);
}

#[test]
fn a_running_daemon_applies_changes_within_seconds() {
    let daemon = Daemon::start();
    let cli = Cli::on(&daemon.data_dir());
    let token = cli.run(&["token", "create", "--project", "p1", "--quiet"]).ok();
    let status = |project: &str| {
        let authorization = format!("Bearer {}", token.trim_end());
        let headers =
            [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        let body = json!({ "url": "https://www.example.com/", "projectId": project }).to_string();
        request(daemon.addr, "POST", "/track", &headers, body.as_bytes()).unwrap().status
    };
    assert_eq!((status("p1"), status("default")), (200, 401));
    let tokens = list(&cli);
    let record = tokens.iter().find(|record| token.starts_with(record["prefix"].as_str().unwrap()));
    cli.run(&["token", "revoke", record.unwrap()["id"].as_str().unwrap()]).ok();
    eventually(DEADLINE, "the revoked token is refused", || status("p1") == 401);
}
