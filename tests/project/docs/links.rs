//! Links between pages, and to files.

use super::page;

/// A heading's anchor, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The text outside of code blocks.
fn prose(page: &str) -> String {
    page.split("```").step_by(2).collect()
}

fn has_anchor(page: &str, wanted: &str) -> bool {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).any(|own| own == wanted)
}

#[test]
fn links_have_targets() {
    let mut checked = 0;
    for (name, text) in page::all() {
        let prose = prose(&text);
        for rest in prose.split("](").skip(1) {
            let target = rest.split(')').next().unwrap();
            if target.contains("://") {
                continue;
            }
            checked += 1;
            let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
            let path = match file {
                "" => page::path(&name),
                file => page::path(folder).join(file),
            };
            assert!(path.exists(), "{name}: {target}");
            if !fragment.is_empty() {
                let linked = std::fs::read_to_string(&path).unwrap();
                assert!(has_anchor(&linked, fragment), "{name}: no heading for {target}");
            }
        }
    }
    assert!(checked > 50, "{checked}");
}

#[test]
fn the_index_names_every_page() {
    let index = page::read("docs/README.md");
    for (name, text) in page::all() {
        assert!(text.starts_with("# "), "{name} begins with its title");
        if let Some(file) = name.strip_prefix("docs/") {
            assert!(file == "README.md" || index.contains(&format!("]({file})")), "{file}");
        }
    }
}

#[test]
fn anchors_match_those_of_github() {
    assert_eq!(anchor("Redis, ClickHouse and Postgres"), "redis-clickhouse-and-postgres");
    assert_eq!(anchor("`track`: accepting events"), "track-accepting-events");
}
