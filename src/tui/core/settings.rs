//! What the console's settings must be beyond their types.

use super::keymap::Bindings;
use super::model::query::{Purpose, Query};
use crate::config::{Settings, WrongSetting};

/// Saved filters must be what can be typed, and keys must not be in each other's way.
///
/// # Errors
/// With the first setting that cannot be.
pub fn check(settings: &Settings) -> Result<(), WrongSetting> {
    for (name, query) in &settings.console.filters {
        if let Err(mistake) = Query::parse(query, Purpose::Filter) {
            let key = format!("console.filters.{name}");
            return Err(WrongSetting { key, rule: format!("is not a filter: {mistake}") });
        }
    }
    let keys = Bindings::read(&settings.console.keys);
    keys.map(|_| ()).map_err(|error| WrongSetting {
        key: format!("console.keys.{}", error.name),
        rule: error.message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_filters_are_checked_with_all_settings() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("bklit.toml");
        let load = |text: &str| {
            std::fs::write(&file, text).unwrap();
            Settings::load(Some(&file), |_| None, &[], &[check]).map_err(|error| error.to_string())
        };
        let settings = load("[console.keys]\npause = 'P'\nfollow = ['f', 'end']\n").unwrap();
        assert_eq!(settings.console.keys["follow"].all(), ["f", "end"]);
        for (text, key, told) in [
            ("[console.keys]\npause = 'p'", "console.keys.pause", "p is also the key of projects"),
            (
                "[console.keys]\npaus = 'P'",
                "console.keys.paus",
                "is not an action; the actions are",
            ),
            ("[console.filters]\nbad = 'level:loud'", "console.filters.bad", "is not a filter"),
        ] {
            let error = load(text).unwrap_err();
            let parts = [key, "bklit.toml", told];
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
    }
}
