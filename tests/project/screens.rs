//! Pictures of the console: shown, well-formed, and nothing but pictures.

#[path = "../../examples/screens/views.rs"]
mod views;

use std::collections::BTreeSet;
use std::path::PathBuf;

use views::VIEWS;

use super::docs::page;

const ELEMENTS: [&str; 7] = ["svg", "title", "style", "rect", "path", "g", "text"];
#[rustfmt::skip]
const ATTRIBUTES: [&str; 14] = [
    "xmlns", "width", "height", "viewBox", "role", "x", "y", "rx", "fill", "stroke", "d", "class",
    "transform", "textLength",
];
/// Anything that would be loaded or run, or is private.
const NEVER: [&str; 8] = ["script", "href", "url(", "@import", "<!", "bk_live_", "/home/", "/tmp/"];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/screens")
}

fn picture(name: &str) -> String {
    let path = folder().join(format!("{name}.svg"));
    std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run scripts/screens.sh", path.display()))
}

#[test]
fn views_have_files_and_pages_show_each() {
    let views: BTreeSet<_> = VIEWS.iter().map(|(name, _)| format!("{name}.svg")).collect();
    let files = std::fs::read_dir(folder()).unwrap();
    let files: BTreeSet<_> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, views, "scripts/screens.sh makes them");
    let pages = page::all();
    let shown = pages.iter().flat_map(|(_, text)| text.split("screens/").skip(1));
    let shown = shown.filter_map(|rest| rest.split_once(')')).map(|(file, _)| file.to_owned());
    let shown: BTreeSet<_> = shown.filter(|file| file.ends_with(".svg")).collect();
    assert_eq!(shown, views, "what the pages show");
}

#[test]
fn pictures_have_an_alternative_text() {
    for (name, page) in page::all() {
        for (before, _) in page.match_indices(".svg)") {
            let end = page[..before].rfind("](").expect("a picture");
            let start = page[..end].rfind("![").expect("a picture, not a link");
            let text = &page[start + 2..end];
            assert!(text.len() > 20 && !text.contains(['[', ']']), "{name}: {text:?}");
        }
    }
}

#[test]
fn pictures_are_well_formed_and_load_and_run_nothing() {
    for (name, title) in VIEWS {
        // The start of a token in the advice of an error is not a token.
        let text = picture(name).replace("bk_live_…", "");
        let most = if *name == views::FILM { 400_000 } else { 60_000 };
        assert!(text.len() <= most, "{name} has {} bytes", text.len());
        for never in NEVER {
            assert!(!text.contains(never), "{name} contains {never}");
        }
        assert!(text.contains(&format!("<title>bklit-tui: {title}</title>")), "{name}");
        if let Err(problem) = check(&text) {
            panic!("{name}: {problem}");
        }
    }
}

/// XML as far as the pictures use it: elements that are known, ended in order, in one root.
fn check(text: &str) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    let mut roots = 0;
    let mut parts = text.split('<');
    if parts.next() != Some("") {
        return Err("something before the first element".into());
    }
    for part in parts {
        let (tag, content) = part.split_once('>').ok_or_else(|| format!("no > in <{part}"))?;
        check_text(content)?;
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("</{name}> ends what did not begin"));
            }
        } else {
            let name = tag.split([' ', '/']).next().unwrap_or_default();
            if !ELEMENTS.contains(&name) {
                return Err(format!("the element <{name}>"));
            }
            roots += usize::from(open.is_empty());
            let attributes = tag[name.len()..].trim_end_matches('/');
            check_attributes(attributes)?;
            if !tag.ends_with('/') {
                open.push(name);
            }
        }
        if open.is_empty() && !content.trim().is_empty() {
            return Err(format!("text outside the root: {content}"));
        }
    }
    match (open.is_empty(), roots) {
        (true, 1) => Ok(()),
        (_, roots) => Err(format!("{roots} roots, not ended: {open:?}")),
    }
}

/// Repeated ` name="value"`, no name twice.
fn check_attributes(mut rest: &str) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    while !rest.is_empty() {
        let attribute = rest.strip_prefix(' ').and_then(|rest| rest.split_once("=\""));
        let (name, after) = attribute.ok_or_else(|| format!("attributes {rest:?}"))?;
        let (value, after) = after.split_once('"').ok_or_else(|| format!("no end: {after:?}"))?;
        if !ATTRIBUTES.contains(&name) || !seen.insert(name) {
            return Err(format!("the attribute {name}"));
        }
        if value.contains(':') && value != "http://www.w3.org/2000/svg" {
            return Err(format!("{name} is {value}"));
        }
        check_text(value)?;
        rest = after;
    }
    Ok(())
}

fn check_text(text: &str) -> Result<(), String> {
    if let Some(c) = text.chars().find(|&c| c.is_control() && c != '\n') {
        return Err(format!("the character {c:?}"));
    }
    let entities = text.split('&').skip(1);
    let is_known = |rest: &str| ["amp;", "lt;", "gt;", "quot;"].iter().any(|e| rest.starts_with(e));
    match entities.into_iter().find(|rest| !is_known(rest)) {
        Some(rest) => Err(format!("&{rest}")),
        None => Ok(()),
    }
}

#[test]
fn the_check_finds_what_is_wrong() {
    for good in ["<svg/>", "<svg width=\"1\"><g>a &lt; b</g></svg>\n"] {
        assert_eq!(check(good), Ok(()), "{good}");
    }
    for bad in [
        "",
        "text",
        "<svg>",
        "<svg></g></svg>",
        "<svg/><svg/>",
        "<svg>a & b</svg>",
        "<svg>\u{1b}</svg>",
        "<svg width=1/>",
        "<svg width=\"1\" width=\"2\"/>",
        "<svg onload=\"x\"/>",
        "<svg><image/></svg>",
        "<svg fill=\"https://example.com\"/>",
        "<svg/>text",
    ] {
        assert!(check(bad).is_err(), "{bad}");
    }
}
