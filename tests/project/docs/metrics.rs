//! docs/operations.md against the metrics that the program has.

use std::collections::BTreeMap;

use bklit_pipeline::intake::filters::{Action, Rule, Verdict};
use bklit_pipeline::metrics::Metrics;
use bklit_pipeline::server::Reason;

use super::page;

const PAGE: &str = "docs/operations.md";

/// The metrics' types by their names, as queries name them.
fn published() -> BTreeMap<String, String> {
    let metrics = Metrics::new();
    // Families appear with their first label.
    metrics.request(200);
    metrics.socket("browser", true);
    metrics.values_changed("title", "truncated", 1);
    metrics.refusals().refused("queue", None, "full");
    metrics.connections().closed("http", Reason::Full);
    metrics.filtered(Verdict { rule: Rule::Bot, action: Action::Drop });
    let text = metrics.to_prometheus();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .map(|line| {
            let (name, kind) = line.split_once(' ').unwrap();
            let suffix = if kind == "counter" { "_total" } else { "" };
            (format!("{name}{suffix}"), kind.to_owned())
        })
        .collect()
}

#[test]
fn every_metric_is_documented_with_its_type() {
    let text = page::read(PAGE);
    let rows = page::rows(page::section(&text, "## Metrics"));
    let documented: BTreeMap<_, _> = rows
        .iter()
        .map(|row| (page::spans(&row[0]).remove(0), row[1].split(' ').next().unwrap().to_owned()))
        .collect();
    assert_eq!(documented, published(), "metrics in {PAGE}");
}

#[test]
fn metrics_named_in_the_pages_exist() {
    let published = published();
    for (page, text) in page::all() {
        for name in page::code(&text).iter().filter(|name| name.starts_with("bklit_")) {
            // The library, in a filter for the log, tables, and what the tracker keeps in browsers
            // have such names too.
            let others = ["bklit_tui", "bklit_session_"];
            let tracker = page::read("src/pipeline/http/assets/tracker.js");
            let is_other = others.iter().any(|other| name.starts_with(other))
                || tracker.contains(name.trim_end_matches('…'));
            let is_metric = published.contains_key(name) || is_other;
            assert!(is_metric, "{page}: no metric {name}");
        }
    }
}
