//! Settings of the console.

use std::collections::BTreeMap;

use bklit_wire::setting::WrongSetting;
use bklit_wire::sql::query_problem;
use serde::{Deserialize, Serialize};

use crate::appearance::{Ascii, Colors, Scheme};
use crate::keymap::Bindings;
use crate::model::palette::commands::{MAX_NAME, is_name};
use crate::model::query::{Purpose, Query};
use crate::theme::Skin;

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
    /// Whether changes are disabled: failed events cannot be retried, edited or deleted, and
    /// nothing can be paused.
    #[serde(deserialize_with = "bklit_wire::setting::boolean")]
    pub read_only: bool,
    /// Whether a console starts with the layout and the filters of the last one.
    #[serde(deserialize_with = "bklit_wire::setting::boolean")]
    pub remember: bool,
    /// Whether to use only ASCII.
    pub ascii: Ascii,
    /// Whether the console handles the mouse. Selecting text in the terminal then needs Shift.
    pub mouse: bool,
    /// The name of the theme: `dark`, `light`, `mono`, or one of the skins.
    pub theme: String,
    /// The user's own themes: colours by role.
    pub skins: BTreeMap<String, BTreeMap<String, String>>,
    /// The number of colours.
    pub colors: Colors,
    /// The maximum size of a recording.
    pub record_max_bytes: u64,
    /// Saved filters: names and queries.
    pub filters: BTreeMap<String, String>,
    /// Saved queries on the store: names and SQL.
    pub queries: BTreeMap<String, String>,
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
            remember: true,
            ascii: Ascii::Auto,
            mouse: false,
            theme: Scheme::Dark.as_str().to_owned(),
            skins: BTreeMap::new(),
            colors: Colors::Auto,
            record_max_bytes: 1 << 30,
            filters: BTreeMap::new(),
            queries: BTreeMap::new(),
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

/// The skin of a name: a built-in theme or one of the user's.
///
/// # Errors
/// When there is none of this name, with the known names.
pub fn skin_of(name: &str, skins: &BTreeMap<String, Skin>) -> Result<Skin, String> {
    let built_in = name.parse::<Scheme>().ok().map(Skin::from);
    built_in.or_else(|| skins.get(name).copied()).ok_or_else(|| {
        let names = Scheme::ALL.iter().map(|scheme| scheme.as_str());
        let names: Vec<_> = names.chain(skins.keys().map(String::as_str)).collect();
        format!("unknown theme {name} ({})", names.join(", "))
    })
}

/// The valid skins among the settings.
pub fn skins(settings: &ConsoleSettings) -> BTreeMap<String, Skin> {
    let read = settings.skins.iter().map(|(name, skin)| (name.clone(), Skin::read(skin)));
    read.filter_map(|(name, skin)| Some((name, skin.ok()?))).collect()
}

fn check_skins(settings: &ConsoleSettings) -> Result<(), WrongSetting> {
    for (name, skin) in &settings.skins {
        let key = format!("console.skins.{name}");
        if name.parse::<Scheme>().is_ok() {
            let rule = "is the name of a built-in theme: choose another one".to_owned();
            return Err(WrongSetting { key, rule });
        }
        Skin::read(skin).map_err(|wrong| WrongSetting {
            key: format!("{key}.{}", wrong.key),
            rule: wrong.message,
        })?;
    }
    let theme = skin_of(&settings.theme, &skins(settings));
    theme.map(|_| ()).map_err(|error| WrongSetting {
        key: "console.theme".to_owned(),
        rule: format!("is an {error}"),
    })
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
    for (name, query) in &settings.queries {
        let rule = match (is_name(name), query_problem(query)) {
            (false, _) => format!("needs a name of letters, digits, - and _, at most {MAX_NAME}"),
            (true, Some(problem)) => problem,
            (true, None) => continue,
        };
        return Err(WrongSetting { key: format!("console.queries.{name}"), rule });
    }
    check_skins(settings)?;
    let keys = Bindings::read(&settings.keys);
    keys.map(|_| ()).map_err(|error| WrongSetting {
        key: format!("console.keys.{}", error.name),
        rule: error.message,
    })
}
