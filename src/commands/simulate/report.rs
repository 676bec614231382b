//! Counts the results of the requests and prints them.

use std::fmt;
use std::time::Duration;

use color_eyre::eyre::{WrapErr as _, bail};
use hdrhistogram::Histogram;

use super::sender::Outcome;
use crate::commands::print;
use bklit_wire::event::EventKind;
use bklit_wire::numbers::micros;

/// The longest latency recorded exactly, in microseconds; requests time out earlier.
const MAX_LATENCY: u64 = 600_000_000;

/// The results of a run.
pub struct Report {
    target_rate: f64,
    seed: u64,
    sent: u64,
    accepted: [u64; 3],
    refused: u64,
    wrongly_refused: u64,
    wrong: u64,
    failed: u64,
    unsent: u64,
    elapsed: Duration,
    /// From sending a request, or from when it was due, to its response; in microseconds.
    latencies: Histogram<u64>,
    first_unexpected: Option<String>,
    first_failure: Option<String>,
}

impl Report {
    /// An empty report.
    ///
    /// # Errors
    /// Never in practice: the histogram's bounds are constant.
    pub fn new(target_rate: f64, seed: u64) -> color_eyre::Result<Self> {
        Ok(Self {
            target_rate,
            seed,
            sent: 0,
            accepted: [0; 3],
            refused: 0,
            wrongly_refused: 0,
            wrong: 0,
            failed: 0,
            unsent: 0,
            elapsed: Duration::ZERO,
            latencies: Histogram::new_with_bounds(1, MAX_LATENCY, 3)
                .wrap_err("cannot count latencies")?,
            first_unexpected: None,
            first_failure: None,
        })
    }

    /// Counts a sent request.
    pub fn sent(&mut self) {
        self.sent += 1;
    }

    /// Records how long sending took, and how many due requests were not sent.
    pub fn ended(&mut self, elapsed: Duration, unsent: u64) {
        (self.elapsed, self.unsent) = (elapsed, unsent);
    }

    /// Records the outcome of a request.
    pub fn record(&mut self, outcome: Outcome, latency: Duration) {
        if let Outcome::Failed(cause) = outcome {
            self.failed += 1;
            self.first_failure.get_or_insert(cause);
            return;
        }
        let micros = u64::try_from(latency.as_micros()).unwrap_or(MAX_LATENCY);
        self.latencies.saturating_record(micros.max(1));
        match outcome {
            Outcome::Accepted { kind, .. } => self.accepted[kind as usize] += 1,
            Outcome::Refused => self.refused += 1,
            Outcome::WronglyRefused(response) => {
                self.wrongly_refused += 1;
                self.first_unexpected.get_or_insert(response);
            }
            Outcome::Wrong(response) => {
                self.wrong += 1;
                self.first_unexpected.get_or_insert(response);
            }
            Outcome::Failed(_) => {}
        }
    }

    /// One line of progress.
    pub fn progress(&self, elapsed: Duration) -> String {
        format!(
            "{:>4}s  sent {}  accepted {}  refused {}  unexpected {}  failed {}  {:.1}/s  p99 {}",
            elapsed.as_secs(),
            self.sent,
            self.accepted(),
            self.refused,
            self.unexpected(),
            self.failed,
            rate(self.sent, elapsed),
            self.latency(0.99),
        )
    }

    /// Prints the report; a closed pipe is not an error.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn print(&self) -> color_eyre::Result<()> {
        print(&self.to_string()).wrap_err("cannot print the report")?;
        Ok(())
    }

    /// Whether all responses were as expected.
    ///
    /// # Errors
    /// When a response was unexpected or missing, or no valid request was accepted.
    pub fn verdict(&self) -> color_eyre::Result<()> {
        if let Some(response) = &self.first_unexpected {
            bail!("unexpected responses: {}; the first: {response}", self.unexpected());
        }
        if let Some(cause) = &self.first_failure {
            bail!("requests without a response: {}; the first: {cause}", self.failed);
        }
        if self.accepted() == 0 && self.refused == 0 {
            bail!("nothing was sent");
        }
        if self.accepted() == 0 {
            bail!("nothing was accepted: all requests were invalid on purpose");
        }
        Ok(())
    }

    fn accepted(&self) -> u64 {
        self.accepted.iter().sum()
    }

    fn unexpected(&self) -> u64 {
        self.wrongly_refused + self.wrong
    }

    fn latency(&self, quantile: f64) -> String {
        if self.latencies.is_empty() {
            return "-".to_owned();
        }
        micros(self.latencies.value_at_quantile(quantile) as f64)
    }
}

fn rate(count: u64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() { 0.0 } else { count as f64 / elapsed.as_secs_f64() }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let achieved = rate(self.sent, self.elapsed);
        let seconds = self.elapsed.as_secs_f64();
        let target = self.target_rate;
        let kind = |kind: EventKind| self.accepted[kind as usize];
        writeln!(f, "sent      {} in {seconds:.1} s", self.sent)?;
        writeln!(
            f,
            "accepted  {} ({} page views, {} events, {} session ends)",
            self.accepted(),
            kind(EventKind::Pageview),
            kind(EventKind::Event),
            kind(EventKind::SessionEnd),
        )?;
        writeln!(
            f,
            "refused   {} ({} as expected, {} unexpected)",
            self.refused + self.wrongly_refused,
            self.refused,
            self.wrongly_refused,
        )?;
        if self.wrong > 0 {
            writeln!(f, "wrong     {} (invalid but accepted, or an invalid response)", self.wrong)?;
        }
        writeln!(f, "failed    {} (no response)", self.failed)?;
        if self.unsent > 0 {
            writeln!(f, "not sent  {} (due, but all connections were busy)", self.unsent)?;
        }
        writeln!(f, "rate      {achieved:.1}/s, target {target:.1}/s")?;
        writeln!(
            f,
            "latency   p50 {}, p90 {}, p99 {}, max {}",
            self.latency(0.5),
            self.latency(0.9),
            self.latency(0.99),
            self.latency(1.0),
        )?;
        writeln!(f, "seed      {}", self.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted() -> Outcome {
        Outcome::Accepted { kind: EventKind::Event, id: None }
    }

    fn report(outcomes: Vec<Outcome>) -> Report {
        let mut report = Report::new(10.0, 7).unwrap();
        for (n, outcome) in outcomes.into_iter().enumerate() {
            report.sent();
            report.record(outcome, Duration::from_millis(n as u64 + 1));
        }
        report.ended(Duration::from_secs(2), 0);
        report
    }

    #[test]
    fn the_report_counts_outcomes() {
        let mut outcomes = vec![accepted(); 97];
        outcomes.extend([Outcome::Refused, Outcome::Refused, Outcome::Failed("gone".to_owned())]);
        let report = report(outcomes);
        let expected = "sent      100 in 2.0 s\n\
             accepted  97 (0 page views, 97 events, 0 session ends)\n\
             refused   2 (2 as expected, 0 unexpected)\n\
             failed    1 (no response)\n\
             rate      50.0/s, target 10.0/s\n\
             latency   p50 50 ms, p90 90 ms, p99 99 ms, max 99 ms\n\
             seed      7\n";
        assert_eq!(report.to_string(), expected);
        assert_eq!(
            report.progress(Duration::from_secs(4)),
            "   4s  sent 100  accepted 97  refused 2  unexpected 0  failed 1  25.0/s  p99 99 ms"
        );
    }

    #[test]
    fn the_verdict_names_the_first_failure() {
        let wrong = |text: &str| Outcome::Wrong(text.to_owned());
        let refused = Outcome::WronglyRefused("503".to_owned());
        for (outcomes, part) in [
            (vec![], "nothing was sent"),
            (vec![Outcome::Refused], "nothing was accepted"),
            (
                vec![accepted(), wrong("one"), wrong("two")],
                "unexpected responses: 2; the first: one",
            ),
            (vec![accepted(), refused], "unexpected responses: 1; the first: 503"),
            (
                vec![accepted(), Outcome::Failed("reset".to_owned())],
                "without a response: 1; the first: reset",
            ),
        ] {
            let error = report(outcomes).verdict().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!(report(vec![accepted(), Outcome::Refused]).verdict().is_ok());
    }
}
