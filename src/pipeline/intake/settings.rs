//! The settings about visitors.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::visitor::IpPrivacy;

/// What is kept about visitors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivacySettings {
    /// How much of a visitor's address is stored and shown.
    pub ip: IpPrivacy,
}

/// How visitors are located.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeoSettings {
    /// The location database, an MMDB file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<PathBuf>,
}
