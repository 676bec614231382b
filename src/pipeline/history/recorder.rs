//! Turns the figures of seconds into minutes of the wall clock.

use std::collections::HashMap;

use super::Minute;
use bklit_wire::gauges::{About, Gauges};
use bklit_wire::history::{MAX_PROJECTS, MINUTE, ProjectTotals, Totals};
use bklit_wire::time::UtcMillis;

/// The most projects counted in a minute; further ones are left out.
const MAX_COUNTED: usize = 25 * MAX_PROJECTS;

/// Adds up seconds until the minute changes: forwards or, after the clock was set, backwards.
pub(super) struct Recorder {
    process: String,
    about: About,
    /// The number of minutes before the one in progress.
    number: u64,
    current: Option<Current>,
}

/// The minute in progress.
struct Current {
    at: UtcMillis,
    totals: Totals,
    projects: HashMap<String, ProjectTotals>,
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
            Some(current) if current.at != minute => self.finish(),
            _ => None,
        };
        let current = self.current.get_or_insert_with(|| Current {
            at: minute,
            totals: Totals::default(),
            projects: HashMap::new(),
        });
        current.totals.add_second(gauges);
        for counted in projects {
            if let Some(known) = current.projects.get_mut(&counted.project) {
                known.add(counted);
            } else if current.projects.len() < MAX_COUNTED {
                current.projects.insert(counted.project.clone(), counted.clone());
            }
        }
        done
    }

    /// Ends the minute in progress.
    pub(super) fn finish(&mut self) -> Option<Minute> {
        let current = self.current.take()?;
        let minute = self.minute(&current);
        self.number += 1;
        Some(minute)
    }

    /// The minute in progress.
    pub(super) fn current(&self) -> Option<Minute> {
        Some(self.minute(self.current.as_ref()?))
    }

    fn minute(&self, current: &Current) -> Minute {
        let (at, mut totals) = (current.at, current.totals.clone());
        totals.projects = current.projects.values().cloned().collect();
        totals.leave_out_projects();
        let (process, about) = (self.process.clone(), self.about.clone());
        Minute { process, number: self.number, about, at, totals }
    }
}
