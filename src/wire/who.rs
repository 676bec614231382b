//! The JSON of `GET /api/who`: which projects, tokens, addresses, pages, types, referrers and countries
//! events come from.

use serde::{Deserialize, Serialize};

use crate::time::UtcMillis;

/// The most rows of an answer.
pub const MAX_ROWS: usize = 500;
/// The longest value, in bytes; longer ones are cut.
pub const MAX_VALUE: usize = 200;

/// Defines an enum whose variants have the same names in Rust, JSON and queries.
macro_rules! named {
    (
        $(#[$about:meta])* $name:ident, $what:literal;
        $($(#[$doc:meta])* $variant:ident = $text:literal,)+
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$variant),+];

            /// Its name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The next one, or the previous one; after the last follows the first.
            #[must_use]
            pub fn cycle(self, forward: bool) -> Self {
                let step = if forward { 1 } else { Self::ALL.len() - 1 };
                Self::ALL[(self as usize + step) % Self::ALL.len()]
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let named = Self::ALL.into_iter().find(|known| known.as_str() == text);
                named.ok_or_else(|| {
                    let all = Self::ALL.map(Self::as_str).join(", ");
                    format!(concat!("unknown ", $what, " `{}` ({})"), text, all)
                })
            }
        }
    };
}

named! {
    /// What events are counted by.
    Dimension, "dimension";
    /// The project.
    #[default]
    Project = "project",
    /// The id of the token; of an unknown one, its first characters.
    Token = "token",
    /// The client's address, as far as it may be shown.
    Address = "address",
    /// The page, without query and fragment.
    Page = "page",
    /// `pageview`, `session_end`, or `event` and the type of a custom event: `event click`.
    Type = "type",
    /// The host of the page that led to this one.
    Referrer = "referrer",
    /// The code of the country.
    Country = "country",
}

named! {
    /// The time span over which events are counted.
    WhoSpan, "span";
    /// The last minute.
    #[default]
    Minute = "1m",
    /// The last ten minutes.
    TenMinutes = "10m",
    /// The last hour.
    Hour = "1h",
}

named! {
    /// The order of the rows.
    WhoSort, "order";
    /// The most accepted events first.
    #[default]
    Rate = "rate",
    /// The largest difference from an hour earlier first.
    Change = "change",
    /// The most refused events first.
    Refused = "refused",
    /// The most failed events first.
    Failed = "failed",
}

/// What to return.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WhoQuery {
    /// What events are counted by.
    pub by: Dimension,
    /// The time span.
    pub span: WhoSpan,
    /// The order of the rows.
    pub sort: WhoSort,
}

/// Event counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WhoCounts {
    /// Accepted by this process.
    pub accepted: u64,
    /// Refused by this process.
    pub refused: u64,
    /// Moved to the failed queue by this process.
    pub failed: u64,
}

impl WhoCounts {
    /// All of them.
    pub fn sum(self) -> u64 {
        self.accepted.saturating_add(self.refused).saturating_add(self.failed)
    }
}

/// What one process has counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WhoView {
    /// What was requested.
    #[serde(flatten)]
    pub query: WhoQuery,
    /// The process.
    pub process: String,
    /// Its roles, separated by commas.
    pub roles: String,
    /// The beginning of the span, or when the process began to count.
    pub from: Option<UtcMillis>,
    /// The end of the span.
    pub to: Option<UtcMillis>,
    /// All events.
    pub total: WhoCounts,
    /// Accepted events per second an hour earlier, if that is known.
    pub before: Option<f64>,
    /// The values with the most events, at most [`MAX_ROWS`], in the requested order.
    pub rows: Vec<WhoRow>,
    /// The events that are not in the rows.
    pub others: WhoCounts,
    /// By how much each count of a row may be too low, at most.
    pub missing: WhoCounts,
    /// Whether only a sample was counted, because there were too many events.
    pub estimated: bool,
}

/// The events with one value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WhoRow {
    /// The value; empty for the events without one.
    pub value: String,
    /// What the operator calls it, if it is a token with a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How many there were.
    #[serde(flatten)]
    pub counts: WhoCounts,
    /// Accepted events per second an hour earlier, if that is known.
    pub before: Option<f64>,
}

impl WhoView {
    /// The length of the span in seconds, as far as this process has counted it.
    pub fn seconds(&self) -> f64 {
        let at = |time: Option<UtcMillis>| time.map_or(0, UtcMillis::epoch_millis);
        let millis = at(self.to).saturating_sub(at(self.from));
        (millis as f64 / 1e3).max(1.0)
    }

    /// This many events over the span, as a rate per second.
    pub fn rate(&self, events: u64) -> f64 {
        events as f64 / self.seconds()
    }
}

impl WhoSpan {
    /// Its length in milliseconds.
    pub fn millis(self) -> i64 {
        match self {
            Self::Minute => 60_000,
            Self::TenMinutes => 600_000,
            Self::Hour => 3_600_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_in_queries_and_in_json() {
        for by in Dimension::ALL {
            assert_eq!(by.as_str().parse(), Ok(by));
            assert_eq!(serde_json::to_value(by).unwrap(), by.as_str());
        }
        let unknown = "ip".parse::<Dimension>().unwrap_err();
        let all = "project, token, address, page, type, referrer, country";
        assert_eq!(unknown, format!("unknown dimension `ip` ({all})"));
        assert_eq!(WhoSpan::Hour.cycle(true), WhoSpan::Minute);
        assert_eq!(WhoSpan::Minute.cycle(false), WhoSpan::Hour);
    }

    #[test]
    fn an_answer_of_another_version_can_be_read() {
        let json = r#"{"by":"page","span":"1h","sort":"failed","future":1,
            "rows":[{"value":"https://a.example/","accepted":3,"future":{}}]}"#;
        let view: WhoView = serde_json::from_str(json).unwrap();
        assert_eq!(view.query.by, Dimension::Page);
        assert_eq!((view.rows[0].counts.accepted, view.rows[0].before), (3, None));
        let json = serde_json::to_string(&view).unwrap();
        assert_eq!(serde_json::from_str::<WhoView>(&json).unwrap(), view);
        assert!((view.rate(5) - 5.0).abs() < 1e-9, "at least a second");
    }
}
