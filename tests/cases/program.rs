//! The program's environment and commands.

use serde_json::{Value, json};

use super::{case, debug_log};
use crate::support::{Cli, DEADLINE, Daemon, eventually};

#[test]
fn a_service_called_websocket() {
    let input = "WEBSOCKET_PORT=tcp://10.96.0.12:8080, as Kubernetes sets it";
    case("Spoolman 961", input, "started, with a warning", || {
        let environment = [("WEBSOCKET_PORT", "tcp://10.96.0.12:8080")];
        let daemon = Daemon::with_environment("", &environment);
        let log = daemon.stderr();
        let warned = log.contains("WARN") && log.contains("WEBSOCKET_PORT");
        format!("started, {}", if warned { "with a warning" } else { "without a warning" })
    });
}

#[test]
fn the_last_warnings() {
    let input = "logs --level warn --history 10, with 12 warnings among 60 other lines or more";
    case("found in use", input, "10 warnings", || {
        let daemon = Daemon::start();
        let late = json!({ "url": "https://shop.example/", "projectId": "default",
            "timestamp": "2099-01-01T00:00:00Z" });
        for _ in 0..12 {
            assert_eq!(daemon.post("/track", &late).status, 200);
        }
        for _ in 0..30 {
            daemon.track("https://shop.example/");
        }
        let is_warning = |line: &Value| line["level"] == "warn";
        eventually(DEADLINE, "all lines are kept", || {
            debug_log(&daemon).iter().filter(|line| !is_warning(line)).count() >= 60
        });
        let url = daemon.url("");
        let lines = daemon.cli(&["logs", &url, "--json", "--level", "warn", "--history", "10"]);
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        format!("{} warnings", lines.filter(is_warning).count())
    });
}

#[test]
fn exports_do_not_overwrite() {
    let input = "queue export FILE, where FILE exists";
    case("hostile trial", input, "refused; the file is as before", || {
        let cli = Cli::new();
        // Creates the data dir.
        cli.run(&["token", "create", "--project", "p"]).ok();
        let file = cli.data_dir().join("export.jsonl");
        std::fs::write(&file, "precious").unwrap();
        let output = cli.run(&["queue", "export", file.to_str().unwrap()]);
        let refused = if output.code == Some(0) { "accepted" } else { "refused" };
        let kept = std::fs::read_to_string(&file).unwrap() == "precious";
        format!("{refused}; the file is {}", if kept { "as before" } else { "overwritten" })
    });
}
