//! The settings of the filters.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Action;
use crate::intake::globs::Globs;
use crate::intake::visitor::Networks;

/// Which events are dropped or marked, because they are not visits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterSettings {
    /// What to do with events of crawlers, automated browsers and prefetched pages.
    pub bots: Action,
    /// What to do with events of programs that are not browsers: HTTP libraries, and those without a
    /// user agent.
    pub programs: Action,
    /// What to do with the events that the lists below exclude.
    pub excluded: Action,
    /// Networks whose visitors are excluded.
    pub networks: Networks,
    /// Hosts whose pages are excluded.
    pub hosts: Globs,
    /// Paths whose pages are excluded.
    pub paths: Globs,
    /// Hosts that send spam as the referrer; each stands for its subdomains, too.
    #[serde(deserialize_with = "bklit_wire::setting::list")]
    pub referrers: Vec<String>,
    /// A file with more of these hosts, one per line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub referrers_file: Option<PathBuf>,
}

impl Default for FilterSettings {
    fn default() -> Self {
        Self {
            bots: Action::Drop,
            // Servers and scripts send events on purpose.
            programs: Action::Keep,
            excluded: Action::Drop,
            networks: Networks::default(),
            hosts: Globs::default(),
            paths: Globs::default(),
            referrers: Vec::new(),
            referrers_file: None,
        }
    }
}
