//! README against the program.

use bklit_tui::config::Settings;
use bklit_tui::tui::keymap;
use clap::CommandFactory;

const README: &str = include_str!("../../README.md");

#[test]
fn the_key_table_is_the_programs() {
    let begin = "<!-- keys: made from the table in src/tui/keymap.rs -->\n";
    let (_, rest) = README.split_once(begin).expect("the begin of the key table");
    let (table, _) = rest.split_once("<!-- end of keys -->").expect("its end");
    assert_eq!(table.trim(), keymap::markdown().trim(), "paste the right side into README.md");
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
