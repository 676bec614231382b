//! Current visitors: the JSON of `GET /api/live`, and the console's live view.

use serde::{Deserialize, Serialize};

use crate::time::UtcMillis;

/// The minutes covered.
pub const MINUTES: usize = 30;
/// A session with an event within this many minutes counts as a current visitor.
pub const ACTIVE_MINUTES: i64 = 5;

/// The current visitors and what they view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LiveView {
    /// Projects with an event in the last [`MINUTES`], most visitors first.
    pub projects: Vec<LiveProject>,
    /// Pages viewed in that time, most viewed first.
    pub top_pages: Vec<TopPage>,
    /// The last events stored, newest first.
    pub last_events: Vec<LastEvent>,
    /// Whether there were more projects than are shown.
    pub truncated: bool,
}

/// A project's current activity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LiveProject {
    /// The project.
    pub project_id: String,
    /// Sessions with an event in the last [`ACTIVE_MINUTES`], or recorded as active.
    pub visitors: u64,
    /// Page views in each of the last [`MINUTES`], newest last.
    pub page_views: Vec<u64>,
    /// Custom events in the same minutes.
    pub events: Vec<u64>,
}

/// A viewed page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopPage {
    /// Its project.
    pub project_id: String,
    /// Its address.
    pub url: String,
    /// How often it was viewed.
    pub views: u64,
}

/// A stored event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LastEvent {
    /// Its id.
    pub event_id: String,
    /// When it happened, to the second.
    pub at: Option<UtcMillis>,
    /// Its project.
    pub project_id: String,
    /// `pageview` or `event`.
    pub r#type: String,
    /// The page, or the event's definition.
    pub what: String,
}
