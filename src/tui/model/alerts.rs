//! Alerts that nobody has taken note of yet.

use super::query::Query;
use crate::alerts::{Alert, Kind, Monitor, Reading};
use crate::config::AlertSettings;

/// Seconds after which lines that go on coming are told again.
const AGAIN_AFTER: i64 = 60;

/// An alert on the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Banner {
    /// What was told last.
    pub alert: Alert,
    /// How often: of lines, how many came.
    pub count: u64,
    told: i64,
}

/// What watches, and what it has found.
#[derive(Debug, Default)]
pub struct Alerts {
    monitor: Monitor,
    watched: Option<Query>,
    banners: Vec<Banner>,
    /// Lines that came and were asked for, in this second.
    lines: u64,
}

impl Alerts {
    /// Watches as the settings say.
    pub fn new(settings: AlertSettings) -> Self {
        Self { monitor: Monitor::new(settings), ..Self::default() }
    }

    /// Watches for lines as well.
    pub fn watch(&mut self, query: Option<Query>) {
        self.watched = query;
        self.banners.retain(|banner| banner.alert.kind != Kind::Lines);
    }

    /// What lines are watched for.
    pub fn watched(&self) -> Option<&Query> {
        self.watched.as_ref()
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
        self.lines = 0;
    }

    pub(in crate::tui) fn error(&mut self) {
        self.monitor.error();
    }

    pub(in crate::tui) fn accepted(&mut self) {
        self.monitor.accepted();
    }

    pub(in crate::tui) fn line(&mut self) {
        self.lines += 1;
    }

    /// Takes in how things are. Returns what is to be told, and how often it was.
    pub(in crate::tui) fn tick(&mut self, second: i64, reading: &Reading) -> Vec<(Alert, u64)> {
        let mut told = Vec::new();
        for alert in self.monitor.tick(second, reading) {
            let banner = match self.banners.iter_mut().find(|b| b.alert.kind == alert.kind) {
                Some(banner) => {
                    let since = banner.alert.since;
                    banner.alert = Alert { since, ..alert };
                    banner.count += 1;
                    banner
                }
                None => self.add(alert, 1),
            };
            told.push((banner.alert.clone(), banner.count));
        }
        told.extend(self.tell_lines(second));
        told
    }

    fn add(&mut self, alert: Alert, count: u64) -> &mut Banner {
        let told = alert.since;
        self.banners.push(Banner { alert, count, told });
        let last = self.banners.len() - 1;
        &mut self.banners[last]
    }

    fn tell_lines(&mut self, second: i64) -> Option<(Alert, u64)> {
        let lines = std::mem::take(&mut self.lines);
        let source = self.watched.as_ref().filter(|_| lines > 0)?.source().to_owned();
        let known = self.banners.iter_mut().find(|banner| banner.alert.kind == Kind::Lines);
        let (banner, is_new) = match known {
            Some(banner) => {
                banner.count += lines;
                (banner, false)
            }
            None => {
                let message = String::new();
                let alert = Alert { kind: Kind::Lines, value: 0, limit: 0, message, since: second };
                (self.add(alert, lines), true)
            }
        };
        let noun = if banner.count == 1 { "line" } else { "lines" };
        banner.alert.message = format!("{} {noun} for “{source}”", banner.count);
        banner.alert.value = banner.count;
        if !is_new && (second - banner.told).abs() < AGAIN_AFTER {
            return None;
        }
        banner.told = second;
        Some((banner.alert.clone(), banner.count))
    }
}
