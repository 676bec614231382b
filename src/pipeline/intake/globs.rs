//! Patterns of names, as in a setting: `*` stands for any characters except `/`, `**` for those as
//! well. Upper and lower case are the same.

use bklit_wire::setting;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A set of patterns.
#[derive(Clone, Debug, Default)]
pub struct Globs {
    patterns: Vec<String>,
    set: GlobSet,
}

impl Globs {
    /// Reads patterns such as `*.staging.example`, `/admin/**` and `{token,email}`.
    ///
    /// # Errors
    /// Names the pattern that is not valid.
    pub fn parse(patterns: Vec<String>) -> Result<Self, String> {
        let mut set = GlobSetBuilder::new();
        for pattern in &patterns {
            let mut glob = GlobBuilder::new(pattern);
            let glob = glob.literal_separator(true).case_insensitive(true).build();
            set.add(glob.map_err(|error| error.to_string())?);
        }
        let set = set.build().map_err(|error| error.to_string())?;
        Ok(Self { patterns, set })
    }

    /// Whether there are no patterns.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether one of the patterns matches.
    pub fn has(&self, name: &str) -> bool {
        self.set.is_match(name)
    }
}

impl PartialEq for Globs {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}

impl Serialize for Globs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.patterns.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Globs {
    /// A list in a file, comma-separated patterns elsewhere.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(setting::list(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globs(patterns: &[&str]) -> Result<Globs, String> {
        Globs::parse(patterns.iter().map(|&pattern| pattern.to_owned()).collect())
    }

    #[test]
    fn names_match_by_pattern() {
        let set =
            globs(&["*.staging.example", "/admin/**", "/p/*/edit", "{token,e*mail}"]).unwrap();
        for matching in
            ["a.STAGING.example", "/admin/x/y", "/admin/", "/p/7/edit", "Token", "e-mail", "email"]
        {
            assert!(set.has(matching), "{matching}");
        }
        for other in ["staging.example", "/admin", "/p/7/8/edit", "tokens", ""] {
            assert!(!set.has(other), "{other}");
        }
        assert!(!Globs::default().has("") && Globs::default().is_empty());
        assert!(globs(&["[a"]).unwrap_err().contains("[a"));
    }
}
