//! docs/development.md against the dependencies of all packages.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::page;

const PAGE: &str = "docs/development.md";

fn manifests(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            manifests(&path, found);
        } else if name == "Cargo.toml" {
            found.push(path);
        }
    }
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let mut paths = Vec::new();
    manifests(&page::path("."), &mut paths);
    let (mut packages, mut used) = (BTreeSet::new(), BTreeSet::new());
    for path in paths {
        let mut table = String::new();
        for line in fs::read_to_string(path).unwrap().lines() {
            if let Some(name) = line.strip_prefix('[') {
                table = name.trim_end_matches(']').to_owned();
            } else if let Some((name, value)) = line.split_once('=') {
                let name = name.split('.').next().unwrap().trim();
                if table == "package" && name == "name" {
                    packages.insert(value.trim().trim_matches('"').to_owned());
                } else if table.ends_with("dependencies") && !line.starts_with([' ', '#']) {
                    used.insert(name.to_owned());
                }
            }
        }
    }
    let used: BTreeSet<_> = used.difference(&packages).cloned().collect();
    assert!(used.len() > 30, "{used:?}");
    let text = page::read(PAGE);
    let rows = page::rows(page::section(&text, "## Dependencies"));
    let mut documented: Vec<_> = rows.iter().flat_map(|row| page::spans(&row[0])).collect();
    documented.sort_unstable();
    let used: Vec<_> = used.into_iter().collect();
    assert_eq!(documented, used, "dependencies in {PAGE}, each once");
}
