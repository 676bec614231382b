//! Settings of the console.

use std::collections::BTreeMap;

use bklit_wire::setting::WrongSetting;
use serde::{Deserialize, Serialize};

use crate::appearance::{Ascii, Colors, Scheme};
use crate::keymap::Bindings;
use crate::model::query::{Purpose, Query};

/// The settings of the console.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsoleSettings {
    /// The most lines kept for scrolling back.
    pub max_lines: usize,
    /// The most bytes that these lines may use.
    pub max_bytes: usize,
    /// The most warnings and errors kept after other lines of their time are dropped.
    pub max_problem_lines: usize,
    /// The most bytes that these may use.
    pub max_problem_bytes: usize,
    /// The most frames per second.
    pub fps: u32,
    /// Whether to show times in UTC instead of the local zone.
    pub utc: bool,
    /// Whether changes are disabled: failed events can be neither retried nor deleted.
    #[serde(deserialize_with = "bklit_wire::setting::boolean")]
    pub read_only: bool,
    /// Whether to use only ASCII.
    pub ascii: Ascii,
    /// Whether the console handles the mouse. Selecting text in the terminal then needs Shift.
    pub mouse: bool,
    /// The colour scheme.
    pub theme: Scheme,
    /// The number of colours.
    pub colors: Colors,
    /// The maximum size of a recording.
    pub record_max_bytes: u64,
    /// Saved filters: names and queries.
    pub filters: BTreeMap<String, String>,
    /// The user's own keys, by action.
    pub keys: BTreeMap<String, KeyNames>,
}

impl Default for ConsoleSettings {
    fn default() -> Self {
        Self {
            max_lines: 100_000,
            max_bytes: 256 * 1024 * 1024,
            max_problem_lines: 20_000,
            max_problem_bytes: 32 * 1024 * 1024,
            fps: 15,
            utc: false,
            read_only: false,
            ascii: Ascii::Auto,
            mouse: false,
            theme: Scheme::Dark,
            colors: Colors::Auto,
            record_max_bytes: 1 << 30,
            filters: BTreeMap::new(),
            keys: BTreeMap::new(),
        }
    }
}

/// One key, or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum KeyNames {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl KeyNames {
    /// All of them.
    pub fn all(&self) -> &[String] {
        match self {
            Self::One(key) => std::slice::from_ref(key),
            Self::Several(keys) => keys,
        }
    }
}

/// Checks what types cannot express: saved filters must be valid, and keys must not conflict.
///
/// # Errors
/// The first invalid setting.
pub fn check(settings: &ConsoleSettings) -> Result<(), WrongSetting> {
    for (name, query) in &settings.filters {
        if let Err(mistake) = Query::parse(query, Purpose::Filter) {
            let key = format!("console.filters.{name}");
            return Err(WrongSetting { key, rule: format!("is not a valid filter: {mistake}") });
        }
    }
    let keys = Bindings::read(&settings.keys);
    keys.map(|_| ()).map_err(|error| WrongSetting {
        key: format!("console.keys.{}", error.name),
        rule: error.message,
    })
}
