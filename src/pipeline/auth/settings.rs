//! The settings of authorization.

use serde::{Deserialize, Serialize};

use super::DomainRules;

/// How tokens are checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthSettings {
    /// An allowed domain matches that host only, not its subdomains.
    pub exact_domains: bool,
    /// Pages of this machine may use every token.
    #[serde(deserialize_with = "bklit_wire::setting::boolean")]
    pub allow_localhost: bool,
    /// Requests from this machine need a token, too.
    pub loopback_needs_token: bool,
}

impl AuthSettings {
    pub(super) fn domain_rules(&self) -> DomainRules {
        DomainRules { exact: self.exact_domains, allow_localhost: self.allow_localhost }
    }
}
