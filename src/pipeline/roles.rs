//! Roles: which parts of the pipeline a process runs.

use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A part of the pipeline that can run in a separate process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The HTTP routes that accept events.
    Ingestion,
    /// Claiming, storing, and ending idle sessions.
    Worker,
    /// The dashboards' WebSocket server.
    Websocket,
}

impl Role {
    /// All roles, in the direction of the events.
    pub const ALL: [Self; 3] = [Self::Ingestion, Self::Worker, Self::Websocket];

    /// Its name in settings and responses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingestion => "ingestion",
            Self::Worker => "worker",
            Self::Websocket => "websocket",
        }
    }
}

/// The roles of a process: at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles([bool; Role::ALL.len()]);

impl Roles {
    /// Everything in one process.
    pub const ALL: Self = Self([true; Role::ALL.len()]);

    /// Whether the process has `role`.
    pub fn has(self, role: Role) -> bool {
        self.0[role as usize]
    }

    /// Whether the process accepts events, over HTTP or WebSocket.
    pub fn accept_events(self) -> bool {
        self.has(Role::Ingestion) || self.has(Role::Websocket)
    }

    /// The process's roles, in order.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |&role| self.has(role))
    }

    fn of<'a>(names: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut roles = [false; Role::ALL.len()];
        for name in names.map(str::trim).filter(|name| !name.is_empty()) {
            let role = Role::ALL.into_iter().find(|role| role.as_str() == name);
            let role =
                role.ok_or_else(|| format!("unknown role {name} (ingestion, worker, websocket)"))?;
            roles[role as usize] = true;
        }
        if roles.contains(&true) {
            return Ok(Self(roles));
        }
        Err("must name at least one role (ingestion, worker, websocket)".to_owned())
    }
}

impl FromStr for Roles {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::of(text.split(','))
    }
}

impl Serialize for Roles {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Roles {
    /// A list in a file, comma-separated names elsewhere.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "must be a list such as [\"ingestion\", \"worker\"]")]
        enum Given {
            Text(String),
            List(Vec<String>),
        }
        let roles = match Given::deserialize(deserializer)? {
            Given::Text(text) => text.parse(),
            Given::List(names) => Self::of(names.iter().map(String::as_str)),
        };
        roles.map_err(D::Error::custom)
    }
}
