//! Alerts that the user has not acknowledged yet.

use super::line::LineRef;
use super::query::Query;
use crate::format;
use bklit_alerts::AlertSettings;
use bklit_alerts::{Alert, Condition, Kind, Monitor, Reading};

/// After this many seconds, continuing matches are reported again.
const AGAIN_AFTER: i64 = 60;
/// The most queries for alerts on lines; each is checked against every new line.
pub const MAX_WATCHED: usize = 8;

/// An alert on the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Banner {
    /// The last report.
    pub alert: Alert,
    /// How often it was raised; for lines, how many matched.
    pub count: u64,
    /// Its state.
    pub state: BannerState,
    reported: i64,
    /// For lines, their query.
    query: Option<String>,
}

/// The state of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BannerState {
    /// Its condition holds.
    Holds,
    /// Its condition has been normal for this many seconds, too few to end it.
    Normal(u32),
    /// It ended, in this second since the epoch.
    Ended(i64),
}

/// An alert on lines that match a query.
#[derive(Debug)]
struct Watched {
    query: Query,
    /// The number of matches in this second.
    lines: u64,
}

/// All alert conditions, and the alerts raised.
#[derive(Debug, Default)]
pub struct Alerts {
    monitor: Monitor,
    watched: Vec<Watched>,
    banners: Vec<Banner>,
}

impl Alerts {
    /// Creates the conditions from the settings.
    pub fn new(settings: AlertSettings) -> Self {
        Self { monitor: Monitor::new(settings), ..Self::default() }
    }

    /// Adds a query for lines. Returns its number, or the existing one if the query was added
    /// before; `None` if there are too many.
    pub fn watch(&mut self, query: Query) -> Option<usize> {
        let same = |watched: &Watched| watched.query.source() == query.source();
        if let Some(place) = self.watched.iter().position(same) {
            return Some(place + 1);
        }
        if self.watched.len() >= MAX_WATCHED {
            return None;
        }
        self.watched.push(Watched { query, lines: 0 });
        Some(self.watched.len())
    }

    /// Removes the query with this number. Returns it; `None` if there is none.
    pub fn unwatch(&mut self, number: usize) -> Option<Query> {
        let place = number.checked_sub(1).filter(|&place| place < self.watched.len())?;
        let query = self.watched.remove(place).query;
        self.banners.retain(|banner| banner.query.as_deref() != Some(query.source()));
        Some(query)
    }

    /// Removes all queries. Returns how many there were.
    pub fn unwatch_all(&mut self) -> usize {
        self.banners.retain(|banner| banner.query.is_none());
        std::mem::take(&mut self.watched).len()
    }

    /// The queries for lines, in the order of their numbers.
    pub fn watched(&self) -> impl Iterator<Item = &Query> {
        self.watched.iter().map(|watched| &watched.query)
    }

    /// The alerts that are not acknowledged.
    pub fn banners(&self) -> &[Banner] {
        &self.banners
    }

    /// Acknowledges all alerts. Returns whether there were any.
    pub fn acknowledge(&mut self) -> bool {
        !std::mem::take(&mut self.banners).is_empty()
    }

    /// Resets the conditions, because the display goes back in time.
    pub fn forget(&mut self, settings: AlertSettings) {
        self.monitor = Monitor::new(settings);
        self.banners.clear();
        self.watched.iter_mut().for_each(|watched| watched.lines = 0);
    }

    pub(crate) fn error(&mut self) {
        self.monitor.error();
    }

    pub(crate) fn accepted(&mut self) {
        self.monitor.accepted();
    }

    pub(crate) fn answered(&mut self, accepted: u64, refused: u64) {
        self.monitor.answered(accepted, refused);
    }

    /// Counts a new line for each query that it matches.
    pub(crate) fn line(&mut self, line: LineRef<'_>) {
        for watched in &mut self.watched {
            watched.lines += u64::from(watched.query.matches(line));
        }
    }

    /// Evaluates the conditions. Returns the alerts to report, each with its count.
    pub(crate) fn tick(&mut self, second: i64, reading: &Reading) -> Vec<(Alert, u64)> {
        let mut reported = Vec::new();
        for alert in self.monitor.tick(second, reading) {
            let banner = match self.banners.iter_mut().find(|b| b.alert.kind == alert.kind) {
                Some(banner) => {
                    banner.alert = alert;
                    banner.count += 1;
                    banner
                }
                None => add(&mut self.banners, alert, 1, None),
            };
            reported.push((banner.alert.clone(), banner.count));
        }
        for banner in self.banners.iter_mut().filter(|banner| banner.query.is_none()) {
            match (self.monitor.condition(banner.alert.kind), banner.state) {
                (Condition::Holds(alert), _) => {
                    (banner.alert, banner.state) = (alert, BannerState::Holds);
                }
                (Condition::Normal(seconds), _) => banner.state = BannerState::Normal(seconds),
                (Condition::Ended, BannerState::Ended(_)) => {}
                (Condition::Ended, _) => banner.state = BannerState::Ended(second),
            }
        }
        for watched in &mut self.watched {
            let lines = std::mem::take(&mut watched.lines);
            if lines > 0 {
                reported.extend(report_lines(&mut self.banners, &watched.query, lines, second));
            }
        }
        reported
    }
}

fn add(banners: &mut Vec<Banner>, alert: Alert, count: u64, query: Option<String>) -> &mut Banner {
    let reported = alert.since;
    banners.push(Banner { alert, count, state: BannerState::Holds, reported, query });
    let last = banners.len() - 1;
    &mut banners[last]
}

/// Adds lines of a query to its banner; `None` if it was reported recently.
fn report_lines(
    banners: &mut Vec<Banner>,
    query: &Query,
    lines: u64,
    second: i64,
) -> Option<(Alert, u64)> {
    let source = query.source().to_owned();
    let known = banners.iter_mut().find(|banner| banner.query.as_ref() == Some(&source));
    let (banner, is_new) = match known {
        Some(banner) => {
            banner.count += lines;
            (banner, false)
        }
        None => {
            let message = String::new();
            let alert = Alert { kind: Kind::Lines, value: 0, limit: 0, message, since: second };
            (add(banners, alert, lines, Some(source.clone())), true)
        }
    };
    let lines = format::lines(banner.count);
    let noun = if banner.count == 1 { "matches" } else { "match" };
    banner.alert.message = format!("{lines} {noun} “{source}”");
    banner.alert.value = banner.count;
    if !is_new && (second - banner.reported).abs() < AGAIN_AFTER {
        return None;
    }
    banner.reported = second;
    Some((banner.alert.clone(), banner.count))
}
