//! What an operator has paused.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::UtcMillis;

/// The most characters of a name and of a reason.
pub const MAX_TEXT: usize = 200;

/// A part of the pipeline that can be paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pausable {
    /// Accepting events: they are refused with 503.
    Intake,
    /// Storing events: they wait in the queue.
    Workers,
}

impl Pausable {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Intake, Self::Workers];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intake => "intake",
            Self::Workers => "workers",
        }
    }
}

impl std::str::FromStr for Pausable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|part| part.as_str() == text);
        named.ok_or_else(|| format!("`{text}` cannot be paused (intake, workers)"))
    }
}

/// Who has paused a part, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Who.
    pub by: String,
    /// Why, if they said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when.
    pub since: UtcMillis,
}

impl Pause {
    /// A pause from now on; texts are cut to [`MAX_TEXT`] characters.
    pub fn new(by: &str, reason: Option<&str>) -> Self {
        let cut = |text: &str| text.trim().chars().take(MAX_TEXT).collect::<String>();
        let reason = reason.map(cut).filter(|reason| !reason.is_empty());
        Self { by: cut(by), reason, since: UtcMillis::now() }
    }
}

impl Pause {
    /// Reads it as [`Pause::to_json`] writes it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(json: &str) -> Result<Self, String> {
        serde_json::from_str(json).map_err(|error| format!("not a pause: {error}"))
    }

    /// Its JSON.
    pub fn to_json(&self) -> String {
        // Texts and times always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "by {} since {}", self.by, self.since)?;
        self.reason.iter().try_for_each(|reason| write!(f, ": {reason}"))
    }
}

/// The parts that are paused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Paused {
    /// Accepting events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intake: Option<Pause>,
    /// Storing events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<Pause>,
}

impl Paused {
    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The pause of a part, to be read or changed.
    pub fn part_mut(&mut self, part: Pausable) -> &mut Option<Pause> {
        match part {
            Pausable::Intake => &mut self.intake,
            Pausable::Workers => &mut self.workers,
        }
    }

    /// The parts that are paused.
    pub fn iter(&self) -> impl Iterator<Item = (Pausable, &Pause)> {
        let parts = [(Pausable::Intake, &self.intake), (Pausable::Workers, &self.workers)];
        parts.into_iter().filter_map(|(part, pause)| Some((part, pause.as_ref()?)))
    }
}

/// The body of `POST /api/queue/pause`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseRequest {
    /// What to pause or resume.
    pub part: Pausable,
    /// Whether to pause it.
    pub paused: bool,
    /// Who requests it.
    pub by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl PauseRequest {
    /// The pause to store, beginning now; `None` to resume.
    pub fn pause(&self) -> Option<Pause> {
        self.paused.then(|| Pause::new(&self.by, self.reason.as_deref()))
    }
}
