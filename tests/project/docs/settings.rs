//! docs/settings.md against the settings: keys, defaults, environment variables and flags.

use std::collections::{BTreeMap, BTreeSet};

use bklit_tui::cli::Cli;
use bklit_tui::config::{CONFIG_VARIABLE, Environment, Settings, variables};
use clap::{CommandFactory, Parser};
use serde_json::Value;

use super::page;

const PAGE: &str = "docs/settings.md";

struct Row {
    default: String,
    variables: Vec<String>,
    flags: Vec<String>,
}

/// The rows of the page by their setting.
fn documented() -> BTreeMap<String, Row> {
    let text = page::read(PAGE);
    let rows = page::rows(&text).into_iter().filter(|row| row.len() == 5);
    rows.map(|row| {
        let key = page::spans(&row[0]).remove(0);
        let (variables, flags) = (page::spans(&row[2]), page::spans(&row[3]));
        (key, Row { default: row[1].clone(), variables, flags })
    })
    .collect()
}

/// All values by their keys; tables of the user's own, within another, are values.
fn values(settings: &Settings) -> BTreeMap<String, Value> {
    fn walk(prefix: &str, value: &Value, found: &mut BTreeMap<String, Value>) {
        for (key, value) in value.as_object().unwrap() {
            match value {
                Value::Object(table) if prefix.is_empty() || !table.is_empty() => {
                    walk(&format!("{prefix}{key}."), value, found);
                }
                _ => drop(found.insert(format!("{prefix}{key}"), value.clone())),
            }
        }
    }
    let mut found = BTreeMap::new();
    walk("", &serde_json::to_value(settings).unwrap(), &mut found);
    found
}

/// What the sample file has for each setting; `None` where it is commented out.
fn sample() -> BTreeMap<String, Option<String>> {
    let (mut table, mut found) = (String::new(), BTreeMap::new());
    for line in page::read("bklit.sample.toml").lines() {
        if let Some(name) = line.strip_prefix('[') {
            table = format!("{}.", name.trim_end_matches(']'));
            continue;
        }
        let (given, line) = line.strip_prefix("# ").map_or((true, line), |line| (false, line));
        let Some((key, value)) = line.split_once(" = ") else { continue };
        let is_key = key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        let own = [
            "console.filters.",
            "console.keys.",
            "console.queries.",
            "console.skins.",
            "limits.projects.",
            "limits.tokens.",
        ];
        if is_key && !own.contains(&table.as_str()) {
            found.insert(format!("{table}{key}"), given.then(|| value.to_owned()));
        }
    }
    found
}

#[test]
fn every_setting_is_documented_with_its_default() {
    let documented = documented();
    let sample = sample();
    let mut keys: BTreeSet<_> = values(&Settings::default()).into_keys().collect();
    keys.extend(sample.keys().cloned());
    assert_eq!(documented.keys().cloned().collect::<BTreeSet<_>>(), keys, "settings in {PAGE}");
    for (key, value) in sample {
        let Row { default, .. } = &documented[&key];
        let members = |list: &str| list.replace(['[', ']', '"', ' '], "");
        match value.as_deref() {
            None if key == "data_dir" => assert_eq!(default, "`$XDG_DATA_HOME/bklit-tui`"),
            None | Some("[]") => assert_eq!(default, "none", "{key}"),
            Some(value) => assert_eq!(*default, format!("`{}`", members(value)), "{key}"),
        }
    }
}

#[test]
fn every_flag_is_documented_with_its_setting() {
    let mut line = vec!["bklit-tui".to_owned()];
    let command = Cli::command();
    for flag in command.get_arguments().filter(|argument| argument.is_global_set()) {
        line.push(format!("--{}", flag.get_long().unwrap()));
        if flag.get_action().takes_values() {
            let possible = flag.get_possible_values();
            let value = possible.first().map_or("value", |value| value.get_name());
            line.push(value.to_owned());
        }
    }
    let cli = Cli::try_parse_from(&line).unwrap();
    let mut set = BTreeMap::<_, Vec<_>>::new();
    for given in cli.global.overrides() {
        set.entry(given.key.to_owned()).or_default().push(given.source);
    }
    for (key, row) in documented() {
        assert_eq!(row.flags, set.remove(&key).unwrap_or_default(), "flags of {key}");
    }
    assert!(set.is_empty(), "not documented: {set:?}");
    let text = page::read(PAGE);
    for flag in line.iter().filter(|word| word.starts_with("--")) {
        assert!(text.contains(&format!("`{flag}`")), "{flag}");
    }
}

/// Values of which each setting accepts at least one that differs from its default.
const VALUES: [&str; 17] = [
    "127.0.0.2:9",
    "9",
    "true",
    "ingestion,worker",
    "redis://host",
    "http://host",
    "postgres://host/db",
    "always",
    "light",
    "loopback",
    "x-real-ip",
    "cloudflare",
    "full",
    "debug",
    "development",
    "public",
    "mark",
];

#[test]
fn every_environment_variable_is_documented_with_its_setting() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    // Neither is allowed without the other.
    std::fs::write(&config, "tls_cert = 'c.pem'\ntls_key = 'k.pem'\n").unwrap();
    let load = |variable: Option<(&str, &str)>| {
        let variable = variable.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Settings::load(Some(&config), &Environment::new(variable), &[])
    };
    let defaults = values(&load(None).unwrap());
    let mut set = BTreeMap::<_, Vec<_>>::new();
    for variable in variables() {
        let changed = VALUES.iter().find_map(|value| {
            let settings = load(Some((variable, value))).ok()?;
            let now = values(&settings);
            now.into_iter().find(|(key, value)| defaults.get(key) != Some(value))
        });
        let (key, _) = changed.unwrap_or_else(|| panic!("{variable} takes none of {VALUES:?}"));
        set.entry(key).or_default().push(variable.to_owned());
    }
    assert!(set.len() > 15, "{set:?}");
    for (key, row) in documented() {
        let known = set.remove(&key).unwrap_or_default();
        assert_eq!(row.variables, known, "environment variables of {key}");
    }
    assert!(set.is_empty(), "not documented: {set:?}");
    assert!(page::read(PAGE).contains(&format!("`{CONFIG_VARIABLE}`")));
}

#[test]
fn variables_of_the_alert_command_are_documented() {
    let prefix = "BKLIT_ALERT_";
    let is_word = |word: &&str| word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let is_variable =
        |word: &&str| is_word(word) && word.len() > prefix.len() && word.starts_with(prefix);
    let sources = page::sources();
    let set = sources.iter().flat_map(|text| text.split('"').filter(is_variable));
    let set: BTreeSet<_> = set.map(str::to_owned).collect();
    let text = page::read("docs/operations.md");
    let documented = page::spans(page::section(&text, "## Alerts"));
    let documented: BTreeSet<_> =
        documented.into_iter().filter(|span| span.starts_with(prefix)).collect();
    assert_eq!(documented, set, "variables of alerts.command");
}

#[test]
fn every_kind_of_alert_is_documented() {
    let page = page::read("docs/operations.md");
    let rows = page::rows(page::section(&page, "## Alerts"));
    let kinds = rows.iter().flat_map(|row| page::spans(&row[0]));
    let kinds: Vec<_> = kinds.filter(|name| !name.starts_with("BKLIT_")).collect();
    let mut known: Vec<_> = bklit_alerts::Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    known.sort_unstable();
    let mut documented: Vec<_> = kinds.iter().map(String::as_str).collect();
    documented.sort_unstable();
    assert_eq!(documented, known);
}
