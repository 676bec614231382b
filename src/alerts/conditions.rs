//! Conditions that depend only on the measurements of a second.

use crate::{Kind, Reading};
use bklit_wire::numbers::plural;

/// The measurement of a condition.
pub(crate) struct Found {
    pub(crate) kind: Kind,
    pub(crate) exceeded: bool,
    pub(crate) normal: bool,
    pub(crate) value: u64,
    pub(crate) limit: u64,
    pub(crate) message: String,
}

pub(crate) fn store(failure: Option<&str>) -> Found {
    failing(Kind::Store, failure, "store", "; events wait in the queue")
}

pub(crate) fn queue(failure: Option<&str>, spooled: u64) -> Found {
    let effect = match spooled {
        0 => String::new(),
        spooled => format!("; {} in the spool", plural(spooled, "event")),
    };
    failing(Kind::Queue, failure, "queue", &effect)
}

pub(crate) fn no_worker(reading: &Reading) -> Found {
    let is_missed = reading.no_worker.is_some();
    let value = reading.depth.unwrap_or(0);
    let effect = match value {
        0 => String::new(),
        1 => "; 1 event waits".to_owned(),
        value => format!("; {} wait", plural(value, "event")),
    };
    Found {
        kind: Kind::NoWorker,
        exceeded: is_missed,
        normal: !is_missed,
        value,
        limit: 0,
        message: format!("no worker{effect}"),
    }
}

fn failing(kind: Kind, failure: Option<&str>, part: &str, effect: &str) -> Found {
    let what = match failure {
        None | Some("") => format!("{part}: failing"),
        // Such as `store.db is locked`.
        Some(reason) if reason.starts_with(part) => reason.to_owned(),
        Some(reason) => format!("{part}: {reason}"),
    };
    Found {
        kind,
        exceeded: failure.is_some(),
        normal: failure.is_none(),
        value: u64::from(failure.is_some()),
        limit: 0,
        message: format!("{what}{effect}"),
    }
}
