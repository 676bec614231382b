//! A debug line: what a stage did with an event, as sent over the channel `debug-logs`.

use std::borrow::Cow;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::numbers::grouped;
use super::time::UtcMillis;

/// Defines the stages once, so that none can be missing from [`Stage::ALL`].
macro_rules! stages {
    ($($(#[$doc:meta])* $stage:ident = $name:literal,)+) => {
        /// A stage of the pipeline, in the order in which an event passes them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Stage {
            $($(#[$doc])* #[serde(rename = $name)] $stage,)+
        }

        impl Stage {
            /// All stages in pipeline order.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$stage),+];

            /// The name on the wire.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$stage => $name,)+
                }
            }
        }
    };
}

// A new one is appended: figures are read by position.
stages! {
    /// The HTTP request.
    Ingestion = "ingestion",
    /// The queue.
    Queue = "queue",
    /// The batch worker.
    Worker = "worker",
    /// The store; the name is the same with every store.
    Clickhouse = "clickhouse",
    /// Publishing to dashboards.
    Pubsub = "pubsub",
    /// Streams and sockets of dashboards and browsers.
    Websocket = "websocket",
}

impl Stage {
    /// Its position in [`Stage::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

/// How important a line is. Ordered, so `level >= Level::Warn` works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Normal operation.
    Info,
    /// Worth attention.
    Warn,
    /// Something failed.
    Error,
}

impl Level {
    /// All levels, least important first.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warn, Self::Error];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// A name that is not a stage or level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} `{name}`; one of: {known}")]
pub struct UnknownName {
    what: &'static str,
    name: String,
    known: String,
}

impl FromStr for Stage {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == name).ok_or_else(|| UnknownName {
            what: "stage",
            name: name.to_owned(),
            known: Self::ALL.map(Self::as_str).join(", "),
        })
    }
}

impl FromStr for Level {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|level| level.as_str() == name).ok_or_else(|| UnknownName {
            what: "level",
            name: name.to_owned(),
            known: Self::ALL.map(Self::as_str).join(", "),
        })
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One message of the channel `debug-logs`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DebugLog {
    /// When the step ended.
    pub timestamp: UtcMillis,
    /// The stage that took it.
    pub stage: Stage,
    /// How important it is.
    pub level: Level,
    /// What happened, for people.
    pub message: Cow<'static, str>,
    /// Details.
    #[serde(default)]
    pub data: Map<String, Value>,
    /// The event it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// The project it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<String>,
    /// How long the step took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<f64>,
    /// The process that logged it, as in its [`Gauges`](super::gauges::Gauges); `None` in lines of other
    /// programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
}

impl DebugLog {
    /// A line of `stage` with the current time and no details.
    pub fn new(stage: Stage, level: Level, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            timestamp: UtcMillis::now(),
            stage,
            level,
            message: message.into(),
            data: Map::new(),
            event_id: None,
            project_id: None,
            duration: None,
            process: None,
        }
    }

    /// A hash of the line: unchanged by serialisation, and almost certainly different for
    /// different lines.
    pub fn identity(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let at = self.timestamp.epoch_millis();
        (at, self.stage, self.level, &self.message).hash(&mut hasher);
        (&self.event_id, &self.project_id, self.duration.map(f64::to_bits)).hash(&mut hasher);
        for (name, value) in &self.data {
            (name, value.to_string()).hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// The end of the message of a line that stands for several.
const MORE: &str = " more like this";

/// The message of a line that stands for `lines` others.
pub fn folded(message: &str, lines: u64) -> String {
    format!("{message}: {}{MORE}", grouped(lines))
}

/// The message of the lines that a line stands for, and their number; of any other line, its own
/// message and 1.
pub fn unfolded(message: &str) -> (&str, u64) {
    let several = || {
        let (message, lines) = message.strip_suffix(MORE)?.rsplit_once(": ")?;
        Some((message, lines.replace(',', "").parse().ok()?))
    };
    several().unwrap_or((message, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folded_line_says_how_many_it_stands_for() {
        assert_eq!(folded("Request refused", 9_990), "Request refused: 9,990 more like this");
        assert_eq!(unfolded(&folded("a: b", 12_345)), ("a: b", 12_345));
        for message in ["", "x", "x: many more like this", "more like this", "7 more like this"] {
            assert_eq!(unfolded(message), (message, 1));
        }
    }

    #[test]
    fn is_the_contracts_json() {
        let mut log = DebugLog::new(Stage::Clickhouse, Level::Warn, "slow");
        log.timestamp = UtcMillis::from_epoch_millis(0);
        log.event_id = Some("evt_1".into());
        log.duration = Some(1.5);
        let json = r#"{"timestamp":"1970-01-01T00:00:00.000Z","stage":"clickhouse","level":"warn","message":"slow","data":{},"eventId":"evt_1","duration":1.5}"#;
        assert_eq!(serde_json::to_string(&log).unwrap(), json);
        assert_eq!(serde_json::from_str::<DebugLog>(json).unwrap(), log);
    }

    #[test]
    fn names_survive_the_round_trip() {
        for stage in Stage::ALL {
            assert_eq!(stage.as_str().parse(), Ok(stage));
            assert_eq!(Stage::ALL[stage.index()], stage);
        }
        for level in Level::ALL {
            assert_eq!(level.as_str().parse(), Ok(level));
        }
        assert!("http".parse::<Stage>().unwrap_err().to_string().contains("one of: ingestion"));
    }
}
