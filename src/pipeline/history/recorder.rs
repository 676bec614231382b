//! Turns the figures of seconds into minutes of the wall clock.

use super::Minute;
use bklit_wire::gauges::{About, Gauges};
use bklit_wire::history::{MAX_PROJECTS, MINUTE, ProjectTotals, Totals};
use bklit_wire::time::UtcMillis;

/// The most projects counted in a minute; of more, those with the fewest events are left out.
const MAX_COUNTED: usize = 25 * MAX_PROJECTS;

/// Adds up seconds until the minute changes: forwards or, after the clock was set, backwards.
pub(super) struct Recorder {
    process: String,
    about: About,
    /// The number of minutes before the one in progress.
    number: u64,
    current: Option<(UtcMillis, Totals)>,
}

impl Recorder {
    pub(super) fn new(process: &str, about: About) -> Self {
        Self { process: process.to_owned(), about, number: 0, current: None }
    }

    /// Adds a second; returns the minute before it, if another one has begun.
    pub(super) fn add(&mut self, gauges: &Gauges, projects: &[ProjectTotals]) -> Option<Minute> {
        // A second that ends at the full minute belongs to the minute before.
        let end = gauges.at.unwrap_or_else(UtcMillis::now).epoch_millis();
        let minute = UtcMillis::from_epoch_millis((end - 1).div_euclid(MINUTE) * MINUTE);
        let done = match &self.current {
            Some((at, _)) if *at != minute => self.finish(),
            _ => None,
        };
        let (_, totals) = self.current.get_or_insert_with(|| (minute, Totals::default()));
        totals.add_second(gauges, projects);
        if totals.projects.len() > MAX_COUNTED {
            totals.leave_out_projects();
        }
        done
    }

    /// Ends the minute in progress.
    pub(super) fn finish(&mut self) -> Option<Minute> {
        let (at, totals) = self.current.take()?;
        let minute = self.minute(at, totals);
        self.number += 1;
        Some(minute)
    }

    /// The minute in progress.
    pub(super) fn current(&self) -> Option<Minute> {
        let (at, totals) = self.current.as_ref()?;
        Some(self.minute(*at, totals.clone()))
    }

    fn minute(&self, at: UtcMillis, mut totals: Totals) -> Minute {
        totals.leave_out_projects();
        let (process, about) = (self.process.clone(), self.about.clone());
        Minute { process, number: self.number, about, at, totals }
    }
}
