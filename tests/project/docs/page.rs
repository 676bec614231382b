//! Reading pages.

use std::fs;
use std::path::{Path, PathBuf};

/// A file's path, from the project's root.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

pub fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// All pages that users read, by name.
pub fn all() -> Vec<(String, String)> {
    let mut names = vec!["README.md".to_owned(), "CHANGELOG.md".to_owned()];
    for folder in ["docs", "bench"] {
        for entry in fs::read_dir(path(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                names.push(format!("{folder}/{name}"));
            }
        }
    }
    names.into_iter().map(|name| (name.clone(), read(&name))).collect()
}

/// The texts of all sources.
pub fn sources() -> Vec<String> {
    fn walk(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut found = Vec::new();
    walk(&path("src"), &mut found);
    found
}

/// The section under a heading, up to the next heading of the same or a higher level.
pub fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let level = heading.split(' ').next().unwrap().len();
    let start = page.find(&format!("\n{heading}\n"));
    let start = start.unwrap_or_else(|| panic!("there is no section \"{heading}\""));
    let body = &page[start + heading.len() + 2..];
    let ends = (1..=level).filter_map(|level| body.find(&format!("\n{} ", "#".repeat(level))));
    &body[..ends.min().unwrap_or(body.len())]
}

/// The cells of all rows of tables, without heads.
pub fn rows(text: &str) -> Vec<Vec<String>> {
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let is_rule = |line: &str| line.starts_with("| ---");
    let mut found = Vec::new();
    for (nth, line) in lines.iter().enumerate() {
        let is_head = lines.get(nth + 1).is_some_and(|next| is_rule(next));
        if let Some(line) = line.strip_prefix("| ")
            && !is_head
            && !is_rule(lines[nth])
        {
            let line = line.trim_end_matches('|').replace("\\|", "\u{1}");
            let cells = line.split('|').map(|cell| cell.trim().replace('\u{1}', "|"));
            found.push(cells.collect());
        }
    }
    found
}

/// The code spans of a piece of text.
pub fn spans(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " ")).collect()
}

/// Code spans and the lines of code blocks.
pub fn code(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (nth, part) in page.split("```").enumerate() {
        if nth % 2 == 1 {
            found.extend(part.lines().skip(1).map(|line| line.trim().to_owned()));
        } else {
            found.extend(spans(part));
        }
    }
    found
}

#[test]
fn pages_are_read() {
    let page = "# A\n\n## B\n\n| x | y |\n| --- | --- |\n| `a\\|b` | 2 |\n\n### C\n\n`c`\n\n## D\n";
    let section = section(page, "## B");
    assert!(section.contains("### C") && !section.contains("## D"));
    assert_eq!(rows(section), [["`a|b`", "2"]]);
    assert_eq!(code("`a\nb` c\n```sh\nd\n```\n`e`"), ["a b", "d", "e"]);
}
