//! Checks of the data dir and the settings.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use super::{assert_found, assert_no_problems, cli, examined};
use crate::support::servers::{Kind, RedisServer};
use crate::support::{Cli, DEADLINE, Daemon, eventually};

fn next_to(daemon: &Daemon) -> Cli {
    Cli::on(&daemon.data_dir()).env("BKLIT_LISTEN", &daemon.addr.to_string())
}

#[test]
fn before_the_first_start_there_is_no_problem() {
    let cli = cli();
    let output = cli.run(&["doctor"]);
    assert_eq!(output.code, Some(0), "{output:#?}");
    assert!(output.stdout.contains("does not exist yet"), "{}", output.stdout);
    // There is no location database yet.
    assert!(output.stdout.ends_with("0 problems, 1 warning.\n"), "{}", output.stdout);
    assert!(!cli.data_dir().exists(), "it changes nothing");
}

#[test]
fn a_running_pipeline_is_recognised() {
    let mut daemon = Daemon::start();
    daemon.track("https://a.example/");
    let cli = next_to(&daemon);
    assert_no_problems(&cli, "data dir");
    assert_no_problems(&cli, "settings");
    let process = daemon.pid().as_raw_nonzero();
    assert_found(&cli, "data dir", "ok", &format!("process {process} runs on"));
    assert_found(&cli, "settings", "ok", &format!("process {process} of this data dir"));
    let other = super::cli().env("BKLIT_LISTEN", &daemon.addr.to_string());
    assert_found(&other, "settings", "problem", "another process listens on");
    daemon.kill9();
    assert_found(&cli, "data dir", "ok", "no pipeline runs on");
    assert_found(&cli, "settings", "ok", "is free to listen on");
}

/// The daemon got its address from a flag that `doctor` does not know.
#[test]
fn a_running_pipeline_is_recognised_at_its_own_address() {
    let daemon = Daemon::start();
    let cli = Cli::on(&daemon.data_dir());
    let process = daemon.pid().as_raw_nonzero();
    for address in [daemon.addr, daemon.websocket_addr()] {
        let listens = format!("process {process} of this data dir listens on {address}");
        assert_found(&cli, "settings", "ok", &listens);
    }
    let (findings, _) = examined(&cli, &[]);
    assert!(!findings.iter().any(|found| found[2].contains("is free")), "{findings:#?}");
}

#[test]
fn damage_and_open_permissions_are_reported() {
    let mut daemon = Daemon::start();
    daemon.track("https://a.example/");
    daemon.signal(rustix::process::Signal::TERM);
    assert!(daemon.wait_exit(DEADLINE).success());
    let cli = next_to(&daemon);
    let dir = daemon.data_dir();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_found(&cli, "data dir", "warning", "(mode 755)");
    let (_, code) = examined(&cli, &[]);
    assert_eq!(code, 0, "a warning is not a failure");
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700)).unwrap();
    assert_no_problems(&cli, "data dir");
    std::fs::write(dir.join("store.db"), "no database ".repeat(10_000)).unwrap();
    assert_found(&cli, "data dir", "problem", "store.db cannot be read");
    // A reader of SQLite creates `-wal` and `-shm`, and only the last of several may remove them.
    let files = || -> BTreeSet<_> {
        let entries = std::fs::read_dir(&dir).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.ends_with("-wal") && !name.ends_with("-shm")).collect()
    };
    let before = files();
    let output = cli.run(&["doctor"]);
    assert_eq!(output.code, Some(1), "{output:#?}");
    assert!(
        output.stdout.contains("PROBLEM") && output.stdout.ends_with("1 problem, 1 warning.\n")
    );
    assert_eq!(files(), before, "it leaves nothing behind");
}

#[test]
fn events_in_the_data_dir_are_counted() {
    let mut redis = RedisServer::start(Kind::Valkey, &[]);
    let mut daemon = Daemon::with_settings(&format!("redis_url = '{}'", redis.url()));
    daemon.track("https://a.example/");
    redis.kill9();
    daemon.track("https://a.example/");
    eventually(DEADLINE, "it is spooled", || daemon.get("/health").json()["spooled"] == 1);
    daemon.kill9();
    let cli = next_to(&daemon).env("REDIS_URL", &redis.url());
    assert_found(&cli, "data dir", "warning", "waiting in the data dir for Redis: 1");
    let spool = rusqlite::Connection::open(daemon.data_dir().join("queue.db")).unwrap();
    let reject = "INSERT INTO failed_item (body, reason, failed_at) VALUES ('x', 'bad', 0)";
    spool.execute(reject, ()).unwrap();
    assert_found(&cli, "data dir", "warning", "failed before they reached Redis, in queue.db: 1");
}

#[test]
fn dangerous_settings_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("bklit.toml");
    std::fs::write(
        &config,
        "[http]\ntrusted_proxies = ['0.0.0.0/0']\nmax_connections = 900000\n[queue]\nmax_depth = 10",
    )
    .unwrap();
    let cli =
        Cli::new().env("BKLIT_LISTEN", "0.0.0.0:0").env("BKLIT_CONFIG", config.to_str().unwrap());
    assert_found(&cli, "settings", "warning", "can forge a visitor's address");
    let header = Cli::new().env("BKLIT_CLIENT_IP_HEADER", "x-real-ip");
    assert_found(&header, "settings", "warning", "has no effect without http.trusted_proxies");
    assert_found(&cli, "settings", "warning", "there will be no alarm");
    // Unless this machine allows a million files.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    if limit.is_some_and(|limit| limit < 900_100) {
        assert_found(&cli, "settings", "warning", "too few for 901024 connections");
    }
}

#[test]
fn domains_that_never_match_or_match_too_much_are_reported() {
    let daemon = Daemon::start();
    let cli = next_to(&daemon);
    assert_found(&cli, "tokens", "ok", "tokens: 1, limited to certain domains: 0");
    let create = ["token", "create", "--project", "shop", "--quiet", "--domain"];
    let created = cli.run(&[create.as_slice(), &["co.uk"]].concat());
    assert!(created.stderr.contains("allows the sites of strangers"), "{created:#?}");
    let listed = cli.run(&["token", "list"]);
    assert!(listed.stderr.contains("`co.uk` allows the sites"), "{listed:#?}");
    assert_found(&cli, "tokens", "warning", "anyone can register names below `co.uk`");
    // As another program may have stored it.
    let file = rusqlite::Connection::open(daemon.data_dir().join("tokens.db")).unwrap();
    file.execute("UPDATE token SET allowed_domains = '[\"a b\"]' WHERE scope = 'ingest'", ())
        .unwrap();
    assert_found(&cli, "tokens", "warning", "`a b` never matches: not a host name");
}
