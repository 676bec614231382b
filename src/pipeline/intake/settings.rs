//! The settings of the intake.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::globs::Globs;
use super::visitor::IpPrivacy;
use crate::time_bounds::TimeBounds;

/// Accepts every scheme except [`IntakeSettings::NEVER_ACCEPTED`].
pub const ANY_SCHEME: &str = "*";

/// Which events are accepted, whichever server they arrive at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntakeSettings {
    /// Schemes of pages' addresses, in lower case; [`ANY_SCHEME`] for all that an address of a page
    /// can have.
    #[serde(deserialize_with = "bklit_wire::setting::list")]
    pub url_schemes: Vec<String>,
    /// How far a timestamp may be ahead of the server's clock before it is replaced.
    #[serde(with = "bklit_wire::duration")]
    pub max_ahead: Duration,
    /// How old a timestamp may be before it is replaced.
    #[serde(with = "bklit_wire::duration")]
    pub max_age: Duration,
}

impl IntakeSettings {
    /// Schemes of scripts and of data, which are not the address of a page.
    pub const NEVER_ACCEPTED: [&str; 5] = ["javascript", "data", "vbscript", "blob", "about"];

    /// Whether a page's address may have this scheme, in lower case.
    pub fn accepts_scheme(&self, scheme: &str) -> bool {
        let listed = |listed: &String| listed == scheme || listed == ANY_SCHEME;
        self.url_schemes.iter().any(listed) && !Self::NEVER_ACCEPTED.contains(&scheme)
    }

    /// Which timestamps are plausible.
    pub fn time_bounds(&self) -> TimeBounds {
        TimeBounds::new(self.max_ahead, self.max_age)
    }
}

impl Default for IntakeSettings {
    fn default() -> Self {
        // The web, and what apps and browser extensions load their pages from.
        let schemes = [
            "http",
            "https",
            "app",
            "capacitor",
            "chrome-extension",
            "electron",
            "file",
            "ionic",
            "moz-extension",
            "safari-web-extension",
            "tauri",
        ];
        Self {
            url_schemes: schemes.map(str::to_owned).to_vec(),
            max_ahead: Duration::from_secs(24 * 3600),
            max_age: Duration::from_secs(400 * 24 * 3600),
        }
    }
}

/// What is kept about visitors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivacySettings {
    /// How much of a visitor's address is stored and shown.
    pub ip: IpPrivacy,
    /// Drop the events of visitors who send Do Not Track.
    #[serde(deserialize_with = "bklit_wire::setting::boolean")]
    pub do_not_track: bool,
    /// Drop the events of visitors who send Global Privacy Control.
    #[serde(deserialize_with = "bklit_wire::setting::boolean")]
    pub global_privacy_control: bool,
    /// Names of parameters that are removed from all addresses.
    pub strip_query: Globs,
}

/// How visitors are located.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeoSettings {
    /// The location database, an MMDB file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_are_accepted_as_listed() {
        let accepting = |schemes: &[&str]| IntakeSettings {
            url_schemes: schemes.iter().map(|&scheme| scheme.to_owned()).collect(),
            ..IntakeSettings::default()
        };
        let one = accepting(&["https"]);
        assert!(one.accepts_scheme("https") && !one.accepts_scheme("http"));
        let all = accepting(&[ANY_SCHEME]);
        assert!(all.accepts_scheme("http") && all.accepts_scheme("my-app"));
        for scheme in IntakeSettings::NEVER_ACCEPTED {
            assert!(!all.accepts_scheme(scheme) && !accepting(&[scheme]).accepts_scheme(scheme));
        }
    }
}
