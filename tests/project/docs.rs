//! README and runbook against the program.

use bklit_tui::config::Settings;
use bklit_tui::tui::core::keymap;
use clap::CommandFactory;

const README: &str = include_str!("../../README.md");
const RUNBOOK: &str = include_str!("../../docs/RUNBOOK.md");

#[test]
fn the_key_table_is_the_programs() {
    let begin = "<!-- keys: made from the table in src/tui/core/keymap.rs -->\n";
    let (_, rest) = README.split_once(begin).expect("the begin of the key table");
    let (table, _) = rest.split_once("<!-- end of keys -->").expect("its end");
    assert_eq!(table.trim(), keymap::markdown().trim(), "paste the right side into README.md");
}

#[test]
fn the_consoles_commands_are_the_programs() {
    let begin =
        "<!-- commands: made from the table in src/tui/core/model/palette/commands.rs -->\n";
    let (_, rest) = README.split_once(begin).expect("the begin of the commands");
    let (table, _) = rest.split_once("<!-- end of commands -->").expect("its end");
    let made = bklit_tui::tui::core::model::palette::commands::markdown();
    assert_eq!(table.trim(), made.trim(), "paste the right side into README.md");
}

#[test]
fn every_command_is_described() {
    for command in bklit_tui::cli::Cli::command().get_subcommands() {
        let name = format!("bklit-tui {}", command.get_name());
        assert!(README.contains(&name), "README does not name `{name}`");
    }
}

#[test]
fn every_setting_and_flag_is_listed() {
    fn keys(prefix: &str, value: &serde_json::Value, found: &mut Vec<String>) {
        for (key, value) in value.as_object().unwrap() {
            match value {
                serde_json::Value::Object(_) => keys(&format!("{prefix}{key}."), value, found),
                _ => found.push(format!("{prefix}{key}")),
            }
        }
    }
    let mut found = Vec::new();
    keys("", &serde_json::to_value(Settings::default()).unwrap(), &mut found);
    assert!(found.len() > 15, "{found:?}");
    let flags = bklit_tui::cli::Cli::command();
    let flags = flags.get_arguments().filter_map(|arg| arg.get_long());
    found
        .extend(flags.filter(|flag| !["help", "version"].contains(flag)).map(|f| format!("--{f}")));
    for name in found {
        assert!(README.contains(&format!("`{name}`")), "README does not list `{name}`");
    }
}

/// What a document names in code: spans and the lines of blocks.
fn code(document: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (nth, part) in document.split("```").enumerate() {
        if nth % 2 == 1 {
            found.extend(part.lines().skip(1).map(str::to_owned));
        } else {
            found.extend(part.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " ")));
        }
    }
    found
}

/// The arguments of a command line, if it runs the program.
fn of_the_program(line: &str) -> Option<Vec<String>> {
    let line = line.trim_start_matches("sudo -u bklit-tui ");
    let mut arguments = vec![String::new()];
    let mut quote = None;
    for c in line.chars() {
        match (c, quote) {
            ('"' | '\'', None) => quote = Some(c),
            (_, Some(open)) if c == open => quote = None,
            (' ', None) => arguments.push(String::new()),
            ('|' | '&' | '#' | ';' | '>', None) => break,
            _ => arguments.last_mut()?.push(c),
        }
    }
    arguments.retain(|argument| !argument.is_empty());
    (arguments.first()? == "bklit-tui").then_some(arguments)
}

#[test]
fn the_runbooks_commands_are_the_programs() {
    let commands: Vec<_> = code(RUNBOOK).iter().filter_map(|line| of_the_program(line)).collect();
    assert!(commands.len() > 10, "{commands:?}");
    for command in commands {
        if let Err(error) = bklit_tui::cli::Cli::command().try_get_matches_from(&command) {
            panic!("{command:?}: {error}");
        }
    }
}

#[test]
fn the_runbooks_metrics_settings_and_routes_are_there() {
    let metrics = bklit_tui::pipeline::metrics::Metrics::new();
    metrics.request(200);
    let text = metrics.to_prometheus();
    let settings = serde_json::to_value(Settings::default()).unwrap();
    let mut checked = 0;
    for name in code(RUNBOOK) {
        let setting = name.split(" = ").next().unwrap_or_default();
        if name.starts_with("bklit_") {
            let is_there = text.lines().any(|line| line.starts_with(&name));
            assert!(is_there, "no metric {name}");
        } else if let Some((table, key)) = setting.split_once('.')
            && key != "db"
            && settings.get(table).is_some_and(serde_json::Value::is_object)
        {
            assert!(settings[table].get(key).is_some(), "no setting {setting}");
        } else if let Some(path) = name.strip_prefix("GET ") {
            let routes = include_str!("../../src/pipeline/http/routes.rs");
            assert!(routes.contains(&format!("\"{path}\"")), "no route {path}");
        } else {
            continue;
        }
        checked += 1;
    }
    assert!(checked > 20, "{checked}");
}

#[test]
fn the_unit_gives_a_stop_enough_time() {
    let unit = include_str!("../../contrib/systemd/bklit-tui.service");
    let seconds = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec="));
    let seconds: u64 = seconds.unwrap().trim_end_matches('s').parse().unwrap();
    let Settings { shutdown_timeout, shutdown_delay, .. } = Settings::default();
    assert!(seconds > (shutdown_timeout + shutdown_delay).as_secs());
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/"));
    let command = of_the_program(start.unwrap()).unwrap();
    bklit_tui::cli::Cli::command().try_get_matches_from(command).unwrap();
}
