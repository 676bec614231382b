//! Settings of the console.

use std::collections::BTreeMap;

use bklit_wire::setting::WrongSetting;
use serde::{Deserialize, Serialize};

use crate::appearance::{Ascii, Colors, Scheme};
use crate::keymap::Bindings;
use crate::model::query::{Purpose, Query};

/// The console.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsoleSettings {
    /// Lines kept for scrolling back.
    pub max_lines: usize,
    /// Bytes those lines may take.
    pub max_bytes: usize,
    /// Frames a second at most.
    pub fps: u32,
    /// Times in UTC instead of the local zone.
    pub utc: bool,
    /// Whether the console changes nothing: failed events are neither retried nor deleted.
    #[serde(deserialize_with = "bklit_wire::setting::boolean")]
    pub read_only: bool,
    /// Nothing but ASCII on the screen.
    pub ascii: Ascii,
    /// Whether the mouse scrolls and selects in the console; the terminal's own selecting needs
    /// Shift then.
    pub mouse: bool,
    /// Which colours go together.
    pub theme: Scheme,
    /// How many colours there are.
    pub colors: Colors,
    /// The most bytes a recording has.
    pub record_max_bytes: u64,
    /// Saved filters: names, and what they filter by.
    pub filters: BTreeMap<String, String>,
    /// Keys of the user's own, by actions.
    pub keys: BTreeMap<String, KeyNames>,
}

impl Default for ConsoleSettings {
    fn default() -> Self {
        Self {
            max_lines: 100_000,
            max_bytes: 256 * 1024 * 1024,
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

/// A key, or several.
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

/// Checks what types cannot express: saved filters must parse, and keys must not collide.
///
/// # Errors
/// The first setting that is wrong.
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
