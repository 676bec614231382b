//! `sql` on the store of a running daemon.

use serde_json::{Value, json};

use crate::support::{Cli, DEADLINE, Daemon, eventually};

/// A daemon that has stored these page views, and the command line on its data dir.
fn stored(urls: &[&str]) -> (Daemon, Cli) {
    let daemon = Daemon::start();
    for url in urls {
        daemon.track(url);
    }
    eventually(DEADLINE, "the page views are stored", || {
        daemon.scalar("SELECT count() FROM page_view_event WHERE project_id = 'default'")
            == json!(urls.len())
    });
    let cli = Cli::on(&daemon.data_dir());
    (daemon, cli)
}

#[test]
fn results_are_printed_as_a_table_or_json() {
    let (_daemon, cli) = stored(&["https://a.example/1", "https://a.example/2"]);
    let query = "SELECT url, country, length(url) AS n FROM page_view_event ORDER BY url";
    let table = cli.run(&["sql", query]).ok();
    let lines: Vec<_> = table.lines().collect();
    assert!(["url", "country", "n"].iter().all(|name| lines[0].contains(name)), "{table}");
    assert!(table.contains("https://a.example/1") && table.contains("19"), "{table}");
    assert!(!table.contains('\x1b'), "{table:?}");
    let rows = cli.run(&["sql", "--json", query]).ok();
    let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        rows,
        [
            json!({ "url": "https://a.example/1", "country": null, "n": 19 }),
            json!({ "url": "https://a.example/2", "country": null, "n": 19 }),
        ]
    );
}

#[test]
fn reads_the_query_from_standard_input_and_limits_rows() {
    let (_daemon, cli) = stored(&["https://a.example/1", "https://a.example/2"]);
    let cli = cli.input("SELECT url FROM page_view_event ORDER BY url");
    let output = cli.run(&["sql", "-", "--json", "--limit", "1"]);
    assert!(output.stderr.contains("--limit"), "{}", output.stderr);
    assert_eq!(output.ok().lines().count(), 1);
}

#[test]
fn anything_but_a_query_is_refused_and_changes_nothing() {
    let (daemon, cli) = stored(&["https://a.example/1"]);
    for (query, part) in [
        ("SELECT nothing FROM page_view_event", "nothing"),
        ("SELEC 1", "SELEC"),
        ("SELECT * FROM no_such_table", "no_such_table"),
        ("DELETE FROM page_view_event", ""),
        ("DROP TABLE page_view_event", ""),
        ("UPDATE page_view_event SET url = ''", ""),
        ("SELECT 1; DELETE FROM page_view_event", ""),
        ("PRAGMA query_only = 0", ""),
        ("ATTACH DATABASE 'other.db' AS other", ""),
        ("", ""),
    ] {
        let output = cli.run(&["sql", query]);
        assert!(output.stdout.is_empty(), "{query}: {output:?}");
        let error = output.failed();
        assert!(!error.trim().is_empty() && error.contains(part), "{query}: {error}");
    }
    let count = daemon.scalar("SELECT count() FROM page_view_event WHERE url != ''");
    assert_eq!(count, json!(1));
}

#[test]
fn a_slow_query_times_out() {
    let (_daemon, cli) = stored(&["https://a.example/1"]);
    let query = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                 SELECT count() FROM n";
    let error = cli.run(&["sql", query, "--timeout", "200ms"]).failed();
    assert!(error.contains("200ms"), "{error}");
}
