//! Alerts that nobody has taken note of yet.

use super::line::LineRef;
use super::query::Query;
use crate::format;
use bklit_alerts::AlertSettings;
use bklit_alerts::{Alert, Kind, Monitor, Reading};

/// Seconds after which lines that go on coming are told again.
const AGAIN_AFTER: i64 = 60;
/// Queries that lines are watched by at once; each is asked of every line that comes.
pub const MAX_WATCHED: usize = 8;

/// An alert on the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Banner {
    /// What was told last.
    pub alert: Alert,
    /// How often: of lines, how many came.
    pub count: u64,
    told: i64,
    /// Of lines, what they were asked for by.
    query: Option<String>,
}

/// Lines that are waited for.
#[derive(Debug)]
struct Watched {
    query: Query,
    /// Those that came in this second.
    lines: u64,
}

/// What watches, and what it has found.
#[derive(Debug, Default)]
pub struct Alerts {
    monitor: Monitor,
    watched: Vec<Watched>,
    banners: Vec<Banner>,
}

impl Alerts {
    /// Watches as the settings say.
    pub fn new(settings: AlertSettings) -> Self {
        Self { monitor: Monitor::new(settings), ..Self::default() }
    }

    /// Watches for lines as well. Returns the query's number, which is the one it has if it is
    /// watched by already; `None` when there are too many.
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

    /// Watches for lines of one query no more. Returns it; `None` when there is none of this number.
    pub fn unwatch(&mut self, number: usize) -> Option<Query> {
        let place = number.checked_sub(1).filter(|&place| place < self.watched.len())?;
        let query = self.watched.remove(place).query;
        self.banners.retain(|banner| banner.query.as_deref() != Some(query.source()));
        Some(query)
    }

    /// Watches for no lines any more. Returns how many queries there were.
    pub fn unwatch_all(&mut self) -> usize {
        self.banners.retain(|banner| banner.query.is_none());
        std::mem::take(&mut self.watched).len()
    }

    /// What lines are watched for, in the order of their numbers.
    pub fn watched(&self) -> impl Iterator<Item = &Query> {
        self.watched.iter().map(|watched| &watched.query)
    }

    /// What nobody has taken note of yet.
    pub fn banners(&self) -> &[Banner] {
        &self.banners
    }

    /// Whether what an alert is about is still so.
    pub fn is_raised(&self, kind: Kind) -> bool {
        kind == Kind::Lines || self.monitor.is_raised(kind)
    }

    /// Somebody has taken note. Returns whether there was anything.
    pub fn acknowledge(&mut self) -> bool {
        !std::mem::take(&mut self.banners).is_empty()
    }

    /// What has been seen counts no more: the display goes back in time.
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

    /// Counts a line that has come, by each query that asks for it.
    pub(crate) fn line(&mut self, line: LineRef<'_>) {
        for watched in &mut self.watched {
            watched.lines += u64::from(watched.query.matches(line));
        }
    }

    /// Takes in how things are. Returns what is to be told, and how often it was.
    pub(crate) fn tick(&mut self, second: i64, reading: &Reading) -> Vec<(Alert, u64)> {
        let mut told = Vec::new();
        for alert in self.monitor.tick(second, reading) {
            let banner = match self.banners.iter_mut().find(|b| b.alert.kind == alert.kind) {
                Some(banner) => {
                    let since = banner.alert.since;
                    banner.alert = Alert { since, ..alert };
                    banner.count += 1;
                    banner
                }
                None => add(&mut self.banners, alert, 1, None),
            };
            told.push((banner.alert.clone(), banner.count));
        }
        for watched in &mut self.watched {
            let lines = std::mem::take(&mut watched.lines);
            if lines > 0 {
                told.extend(tell_lines(&mut self.banners, &watched.query, lines, second));
            }
        }
        told
    }
}

fn add(banners: &mut Vec<Banner>, alert: Alert, count: u64, query: Option<String>) -> &mut Banner {
    let told = alert.since;
    banners.push(Banner { alert, count, told, query });
    let last = banners.len() - 1;
    &mut banners[last]
}

/// Counts lines of a query in its banner; `None` while that was told not long ago.
fn tell_lines(
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
    let noun = if banner.count == 1 { "line" } else { "lines" };
    banner.alert.message = format!("{} {noun} for “{source}”", format::count(banner.count));
    banner.alert.value = banner.count;
    if !is_new && (second - banner.told).abs() < AGAIN_AFTER {
        return None;
    }
    banner.told = second;
    Some((banner.alert.clone(), banner.count))
}
