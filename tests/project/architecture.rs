//! Invariants of the code's structure, read from the code.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(under: &str) -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                // What tests do is their own matter.
                let code = text.split("#[cfg(test)]\nmod").next().unwrap().to_owned();
                found.push((path, code));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(under);
    let mut found = Vec::new();
    if root.is_file() {
        found.push((root.clone(), fs::read_to_string(&root).unwrap()));
    } else {
        walk(&root, &mut found);
    }
    assert!(!found.is_empty(), "{under} has no sources");
    found
}

fn offenders(under: &[&str], forbidden: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, code) in under.iter().flat_map(|under| sources(under)) {
        for (number, line) in code.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if let Some(word) = forbidden.iter().find(|word| code.contains(**word)) {
                found.push(format!("{}:{}: {word}", path.display(), number + 1));
            }
        }
    }
    found
}

#[test]
fn the_pipeline_does_not_know_the_console() {
    assert_eq!(offenders(&["src/pipeline"], &["crate::tui", "crate::app", "ratatui"]), [""; 0]);
}

/// The pipeline has its settings from there, and must not depend on the rest by that way.
#[test]
fn the_settings_know_neither_the_console_nor_adapters() {
    let forbidden = ["crate::tui", "crate::app", "crate::commands", "::redis", "::sqlite"];
    // Likewise its client, with which it listens to another process.
    assert_eq!(offenders(&["src/config", "src/client.rs"], &forbidden), [""; 0]);
    assert_eq!(offenders(&["src/config"], &["::clickhouse", "::postgres", "::sse"]), [""; 0]);
}

#[test]
fn the_console_knows_only_wire_types_and_ports() {
    let forbidden = [
        "pipeline::http",
        "pipeline::worker",
        "pipeline::metrics",
        "pipeline::stage_log",
        "sqlite",
        "crate::app",
    ];
    assert_eq!(offenders(&["src/tui"], &forbidden), [""; 0]);
}

#[test]
fn only_the_composition_root_names_adapters() {
    let adapters = [
        "SqliteQueue",
        "SqliteStore",
        "ClickHouseStore",
        "SqliteTokenStore",
        "LocalDebugBus",
        "RememberingDebugBus",
        "LocalLiveBus",
        "RedisQueue",
        "SpooledQueue",
        "RedisTokenStore",
        "PostgresTokenStore",
        "PostgresDefinitions",
        "TrackingIdIsDefinition",
        "RedisDebugBus",
        "RedisLiveBus",
        "RedisPresence",
    ];
    // Each port has its adapters beside it.
    let own = ["app", "pipeline/queue", "pipeline/store", "pipeline/bus", "pipeline/auth"];
    let own = own.map(|path| format!("/src/{path}/"));
    let mut found = offenders(&["src"], &adapters);
    found.retain(|one| !own.iter().any(|own| one.contains(own.as_str())));
    found.retain(|one| !one.contains("/src/pipeline/definitions/"));
    assert_eq!(found, [""; 0]);
}

/// What has no pipeline of its own is a client of another process's.
#[test]
fn only_its_clients_name_the_stream_of_another_process() {
    let clients = ["/src/commands/attach.rs", "/src/commands/logs/", "/src/pipeline/bus/"];
    let mut found = offenders(&["src"], &["SseDebugStream"]);
    found.retain(|one| !clients.iter().any(|client| one.contains(client)));
    assert_eq!(found, [""; 0]);
}

#[test]
fn the_core_of_the_console_does_no_io_and_reads_no_clock_or_environment() {
    let forbidden = [
        "std::fs",
        "std::io",
        "std::net",
        "tokio",
        "::now()",
        "TimeZone::system",
        "async fn",
        ".await",
        "std::thread",
        "std::env",
        "Mutex",
        "RefCell",
    ];
    assert_eq!(offenders(&["src/tui/core"], &forbidden), [""; 0]);
}

#[test]
fn the_core_of_the_console_depends_on_nothing_around_it() {
    let around =
        ["backend", "clipboard", "console", "display", "input", "intake", "jobs", "replay"];
    let around = around.into_iter().chain(["terminal"]);
    let forbidden: Vec<_> = around.map(|name| format!("crate::tui::{name}")).collect();
    let forbidden: Vec<_> = forbidden.iter().map(String::as_str).collect();
    assert_eq!(offenders(&["src/tui/core"], &forbidden), [""; 0]);
}

/// `model` is changed by `update` and drawn by `view`, and these do not know each other. What all
/// of them use depends on none of them.
#[test]
fn the_modules_of_the_core_have_no_cycle() {
    let core = |name: &str| format!("src/tui/core/{name}");
    for (module, forbidden) in [
        ("model", &["update", "view"][..]),
        ("update", &["view"]),
        ("view", &["update"]),
        ("msg.rs", &["model", "update", "view", "keymap", "theme"]),
        ("requests.rs", &["model", "update", "view", "keymap", "theme", "msg"]),
        ("playback.rs", &["model", "update", "view", "keymap", "theme", "msg"]),
        ("keymap.rs", &["model", "update", "view", "theme", "msg"]),
        ("keymap", &["model", "update", "view", "theme", "msg"]),
        ("theme.rs", &["model", "update", "view", "keymap", "msg"]),
        ("format.rs", &["model", "update", "view", "keymap", "theme", "msg"]),
        ("text.rs", &["model", "update", "view", "keymap", "theme", "msg"]),
    ] {
        let paths = |name: &&str| [format!("core::{name}"), format!("super::{name}::")];
        let mut forbidden: Vec<_> = forbidden.iter().flat_map(paths).collect();
        // Within the folders, `super::` is a part of the module itself.
        forbidden.retain(|path| module.ends_with(".rs") || !path.starts_with("super::"));
        let forbidden: Vec<_> = forbidden.iter().map(String::as_str).collect();
        assert_eq!(offenders(&[&core(module)], &forbidden), [""; 0]);
    }
}

/// A new screen is a variant and its implementations; no other code tells screens apart.
#[test]
fn the_screen_is_matched_in_one_place() {
    let mut found =
        offenders(&["src/tui"], &["Screen::Log", "Screen::Detail(_)", "Screen::Help(_)"]);
    found.retain(|one| !one.contains("/model/screen.rs") && !one.contains("/model/stack.rs"));
    assert_eq!(found, [""; 0]);
}

/// Proof that the search finds what it looks for.
#[test]
fn the_composition_root_itself_would_be_found() {
    assert!(!offenders(&["src/app"], &["SqliteQueue"]).is_empty());
}
