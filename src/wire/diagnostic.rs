//! What `doctor` finds out about a server, a file or a setting.

use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    #[serde(rename = "ok")]
    Good,
    /// Works, and should be looked at.
    Warning,
    /// Events cannot be accepted or stored, or the promise does not hold.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What was found.
    pub what: String,
    /// What to do about it; empty when there is nothing to do.
    pub advice: String,
}

/// How far the clocks of two machines may be apart.
const SKEW_MILLIS: i64 = 2_000;

impl Diagnostic {
    /// All is well.
    pub fn good(what: impl Into<String>) -> Self {
        Self { severity: Severity::Good, what: what.into(), advice: String::new() }
    }

    /// It should be looked at.
    pub fn warning(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, what: what.into(), advice: advice.into() }
    }

    /// It must be mended.
    pub fn problem(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { severity: Severity::Problem, what: what.into(), advice: advice.into() }
    }

    /// About a server's clock, which said `now` between our `before` and `after`, in milliseconds.
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

    /// About events that wait, and events that failed.
    pub fn of_queue(waiting: u64, alarm_depth: u64, failed: u64, max_failed: u64) -> Vec<Self> {
        let depth = if waiting >= alarm_depth {
            let advice = "see that the worker runs and the store takes events: `bklit-tui attach`";
            Self::warning(format!("events that wait in the queue: {waiting}"), advice)
        } else {
            Self::good(format!("events that wait in the queue: {waiting}"))
        };
        let failed = if failed >= max_failed {
            let advice = "retry them, or export and delete them: `bklit-tui queue \
                          retry|export|delete`; until then no events are accepted";
            let what = format!(
                "the failed queue is full: {failed} events have failed, queue.max_failed is \
                 {max_failed}"
            );
            Self::problem(what, advice)
        } else if failed > 0 {
            let advice = "their reasons are kept with them; mend the cause, then retry them";
            Self::warning(format!("events in the failed queue: {failed}"), advice)
        } else {
            Self::good("the failed queue is empty")
        };
        vec![depth, failed]
    }
}
