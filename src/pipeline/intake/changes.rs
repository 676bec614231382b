//! What was changed about an event so that it could be accepted.

use bklit_wire::time::UtcMillis;

use crate::metrics::Metrics;
use crate::telemetry::Data;

/// A change of a field's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The text was too long, and its end is missing.
    Truncated {
        /// Its length as sent, in bytes.
        bytes: usize,
    },
    /// The URL was too long: its fragment, and parts of its query or path, are missing.
    Shortened {
        /// Its length as sent, in bytes.
        bytes: usize,
    },
    /// The id was too long and was replaced by its hash.
    Hashed {
        /// Its length as sent, in bytes.
        bytes: usize,
    },
    /// The URL contained a user name or password.
    Credentials,
    /// Parameters of the URL that are not to be kept were removed.
    Parameters(usize),
    /// The value is not kept.
    Removed(&'static str),
    /// The time is implausible and was replaced by the server's.
    Replaced {
        /// The time as sent.
        sent: UtcMillis,
    },
    /// What was sent is not a time, and was replaced by the server's.
    NotATime {
        /// The beginning of what was sent.
        sent: String,
    },
    /// The client's clock is wrong, and the time was moved by the difference.
    Corrected {
        /// The time as sent.
        sent: UtcMillis,
    },
}

impl Change {
    /// The name in metrics.
    fn name(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "truncated",
            Self::Shortened { .. } => "shortened",
            Self::Hashed { .. } => "hashed",
            Self::Credentials => "credentials",
            Self::Parameters(_) => "parameters",
            Self::Removed(_) => "removed",
            Self::Replaced { .. } | Self::NotATime { .. } => "replaced",
            Self::Corrected { .. } => "corrected",
        }
    }

    /// The description in a debug line.
    fn describe(&self) -> String {
        match self {
            Self::Truncated { bytes } => format!("truncated from {bytes} bytes"),
            Self::Shortened { bytes } => format!("shortened from {bytes} bytes"),
            Self::Hashed { bytes } => format!("{bytes} bytes, replaced by their hash"),
            Self::Credentials => "user name and password removed".to_owned(),
            Self::Parameters(removed) => format!("parameters removed: {removed}"),
            Self::Removed(why) => format!("removed: {why}"),
            Self::Replaced { sent } => format!("{sent} is implausible, replaced by our time"),
            Self::NotATime { sent } => format!("{sent:?} is not a time, replaced by our time"),
            Self::Corrected { sent } => format!("{sent}, corrected by the clock in sentAt"),
        }
    }
}

/// The changes of one event, each with its field. Does not allocate while there are none.
#[derive(Debug, Default)]
pub(super) struct Changes(Vec<(&'static str, Change)>);

impl Changes {
    /// Adds a change of `field`.
    pub(super) fn add(&mut self, field: &'static str, change: Change) {
        self.0.push((field, change));
    }

    /// Adds changes, each with its field.
    pub(super) fn extend(&mut self, changes: impl IntoIterator<Item = (&'static str, Change)>) {
        self.0.extend(changes);
    }

    /// Whether a time was replaced, which deserves a warning: its sender's clock is wrong.
    pub(super) fn replaced_time(&self) -> bool {
        let is_replaced =
            |change: &Change| matches!(change, Change::Replaced { .. } | Change::NotATime { .. });
        self.0.iter().any(|(_, change)| is_replaced(change))
    }

    /// Counts them by field.
    pub(super) fn count(&self, metrics: &Metrics) {
        for (field, change) in &self.0 {
            metrics.values_changed(field, change.name(), 1);
        }
    }

    /// Adds them to the data of a debug line, as `changed`.
    pub(super) fn describe(&self, data: &mut Data) {
        if self.0.is_empty() {
            return;
        }
        let mut changed = Data::new();
        for (field, change) in &self.0 {
            let mut text = change.describe();
            if let Some(earlier) = changed.get(*field).and_then(|text| text.as_str()) {
                text = format!("{earlier}; {text}");
            }
            changed.insert((*field).to_owned(), text.into());
        }
        data.insert("changed".to_owned(), changed.into());
    }
}
