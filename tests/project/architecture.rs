//! Invariants of the code's structure that the compiler cannot see. The rest follows from the
//! packages: what is not among a package's dependencies cannot be named in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The packages from the bottom up, each with the ones it may depend on.
const PACKAGES: &[(&str, &str, &[&str])] = &[
    ("bklit-wire", "src/wire", &[]),
    ("bklit-net", "src/net", &["bklit-wire"]),
    ("bklit-alerts", "src/alerts", &["bklit-wire"]),
    ("bklit-pipeline", "src/pipeline", &["bklit-net", "bklit-wire"]),
    ("bklit-adapters", "src/adapters", &["bklit-net", "bklit-pipeline", "bklit-wire"]),
    ("bklit-remote", "src/remote", &["bklit-net", "bklit-wire"]),
    ("bklit-console-core", "src/tui/core", &["bklit-alerts", "bklit-wire"]),
    ("bklit-console", "src/tui", &["bklit-alerts", "bklit-console-core", "bklit-wire"]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The packages of the workspace that a manifest depends on.
fn dependencies(manifest: &Path) -> Vec<String> {
    let text = fs::read_to_string(manifest).unwrap();
    let section = text.split("[dependencies]\n").nth(1).unwrap_or_default();
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.split(['.', ' ']).next());
    names.filter(|name| name.starts_with("bklit-")).map(str::to_owned).collect()
}

#[test]
fn packages_depend_only_on_those_below_them() {
    let mut below: BTreeMap<&str, &[&str]> = BTreeMap::new();
    for (name, path, allowed) in PACKAGES {
        assert!(allowed.iter().all(|allowed| below.contains_key(allowed)), "{name} looks up");
        assert_eq!(dependencies(&root().join(path).join("Cargo.toml")), *allowed, "{name}");
        below.insert(name, allowed);
    }
    let all: Vec<String> = below.keys().map(|name| (*name).to_owned()).collect();
    assert_eq!(dependencies(&root().join("Cargo.toml")), all, "the root wires all of them");
}

fn sources(under: &str) -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                // This does not apply to tests.
                let code = text.split("#[cfg(test)]\nmod").next().unwrap().to_owned();
                found.push((path, code));
            }
        }
    }
    let root = root().join(under);
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

/// The root package depends on the adapters; within it, only `app` may name them.
#[test]
fn only_the_composition_root_names_adapters() {
    let rest = [
        "src/main.rs",
        "src/lib.rs",
        "src/logging.rs",
        "src/cli.rs",
        "src/cli",
        "src/client.rs",
        "src/commands",
        "src/config",
    ];
    assert_eq!(offenders(&rest, &["bklit_adapters"]), [""; 0]);
    assert!(!offenders(&["src/app"], &["bklit_adapters"]).is_empty(), "the search finds nothing");
}

/// The package's own clippy.toml forbids the clock, the time zone, files and the environment; what
/// could wait or do I/O is not among its dependencies.
#[test]
fn the_core_of_the_console_never_awaits() {
    let manifest = fs::read_to_string(root().join("src/tui/core/Cargo.toml")).unwrap();
    for runtime in ["tokio", "futures", "rustix", "hyper"] {
        assert!(!manifest.contains(runtime), "{runtime}");
    }
    let forbidden = ["async fn", ".await", "std::fs", "std::net", "std::env", "std::thread"];
    assert_eq!(offenders(&["src/tui/core"], &forbidden), [""; 0]);
}

/// `model` is changed by `update` and drawn by `view`, and these two do not know each other. What
/// all of them use depends on none of them.
#[test]
fn the_modules_of_the_core_have_no_cycle() {
    const ALL: [&str; 6] = ["model", "update", "view", "keymap", "theme", "msg"];
    for (module, allowed) in [
        ("model", &["keymap", "theme", "msg"][..]),
        ("update", &["model", "keymap", "theme", "msg"]),
        ("view", &["model", "keymap", "theme"]),
        ("msg.rs", &[]),
        ("requests.rs", &[]),
        ("playback.rs", &[]),
        ("keymap.rs", &[]),
        ("keymap", &[]),
        ("theme.rs", &[]),
        ("format.rs", &[]),
    ] {
        let own = module.trim_end_matches(".rs");
        let forbidden = ALL.iter().filter(|name| **name != own && !allowed.contains(name));
        let forbidden: Vec<_> = forbidden.map(|name| format!("crate::{name}")).collect();
        let forbidden: Vec<_> = forbidden.iter().map(String::as_str).collect();
        assert_eq!(offenders(&[&format!("src/tui/core/{module}")], &forbidden), [""; 0]);
    }
}

/// A new screen is a variant and its implementations; no other code distinguishes screens.
#[test]
fn the_screen_is_matched_in_one_place() {
    let mut found =
        offenders(&["src/tui"], &["Screen::Log", "Screen::Detail(_)", "Screen::Help(_)"]);
    found.retain(|one| !one.contains("/model/screen.rs") && !one.contains("/model/stack.rs"));
    assert_eq!(found, [""; 0]);
}
