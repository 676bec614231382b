//! The results of `doctor`'s checks of servers, files and settings.

use serde::Serialize;

/// How serious a diagnostic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing to do.
    #[serde(rename = "ok")]
    Good,
    /// It works, but needs attention.
    Warning,
    /// Events cannot be accepted or stored, or accepted events may be lost.
    Problem,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How serious it is.
    pub severity: Severity,
    /// What was found.
    pub what: String,
    /// What to do about it; empty when there is nothing to do.
    pub advice: String,
}

/// The clock difference between two machines that is tolerated.
const SKEW_MILLIS: i64 = 2_000;

impl Diagnostic {
    /// A check that passed.
    pub fn good(what: impl Into<String>) -> Self {
        Self { severity: Severity::Good, what: what.into(), advice: String::new() }
    }

    /// Something that needs attention.
    pub fn warning(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, what: what.into(), advice: advice.into() }
    }

    /// Something that must be fixed.
    pub fn problem(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { severity: Severity::Problem, what: what.into(), advice: advice.into() }
    }

    /// Compares a server's clock with ours: it read `now` between our `before` and `after`, all in
    /// milliseconds since the epoch.
    pub fn of_clock(now: i64, before: i64, after: i64) -> Self {
        let skew = if now < before { now - before } else { (now - after).max(0) };
        if skew.abs() <= SKEW_MILLIS {
            return Self::good("its clock agrees with ours");
        }
        let direction = if skew > 0 { "ahead of" } else { "behind" };
        let seconds = skew.abs() as f64 / 1000.0;
        Self::warning(
            format!("its clock is {seconds:.1} s {direction} ours"),
            "run NTP on both machines",
        )
    }

    /// Compares the numbers of waiting and failed events with their limits.
    pub fn of_queue(waiting: u64, alarm_depth: u64, failed: u64, max_failed: u64) -> Vec<Self> {
        let depth = if waiting >= alarm_depth {
            let advice =
                "check that the worker runs and the store accepts events: `bklit-tui attach`";
            Self::warning(format!("events waiting in the queue: {waiting}"), advice)
        } else {
            Self::good(format!("events waiting in the queue: {waiting}"))
        };
        let failed = if failed >= max_failed {
            let advice = "retry them, or export and delete them: `bklit-tui queue \
                          retry|export|delete`; until then no events are accepted";
            let what = format!(
                "the failed queue is full: {failed} failed events, queue.max_failed is {max_failed}"
            );
            Self::problem(what, advice)
        } else if failed > 0 {
            let advice = "each is stored with its reason (`bklit-tui queue list`): fix the cause, then retry";
            Self::warning(format!("events in the failed queue: {failed}"), advice)
        } else {
            Self::good("the failed queue is empty")
        };
        vec![depth, failed]
    }
}
