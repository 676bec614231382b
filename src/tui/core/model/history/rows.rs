//! The rows of the list below the graphs.

use ratatui::layout::Rect;

use super::{Notable, NotableLine, PageParts, Series, Span, Topic};
use crate::model::Model;
use crate::model::panels::HistoryList;
use bklit_wire::debug_log::Stage;
use bklit_wire::history::ProjectTotals;

/// A row of the list.
#[derive(Clone, Copy, Debug)]
pub enum HistoryRow<'a> {
    /// A slow step, a warning or an error.
    Line(&'a NotableLine),
    /// A project.
    Project(&'a ProjectTotals),
}

impl Model {
    /// The slowest steps and the last failures.
    pub fn notable(&self) -> &Notable {
        &self.notable
    }

    /// The points of the selected window.
    pub fn series(&self) -> Series<'_> {
        let panel = &self.panels.history;
        let (span, from) = (panel.span(), panel.from(self.now));
        if span == Span::Minute {
            return panel.minute.borrowed();
        }
        Series::of(panel.history(None), from, span.step(), span.points())
    }

    /// Brings the seconds of the last minute up to date if they are shown: once a second, or when
    /// they are not those of the window.
    pub(crate) fn refresh_minute(&mut self, is_due: bool) {
        let panel = &mut self.panels.history;
        let from = panel.from(self.now);
        if panel.span() == Span::Minute && (is_due || panel.minute.from != from) {
            panel.minute = self.figures.seconds_of(from);
        }
    }

    /// The parts of the page of graphs.
    pub fn history_parts(&self) -> PageParts {
        PageParts::of(self.layout().map_or(Rect::ZERO, |layout| layout.overlay()))
    }

    /// The range of time, in milliseconds, that the list covers: the selected point, or the window.
    pub fn history_range(&self) -> std::ops::Range<i64> {
        let panel = &self.panels.history;
        match panel.cursor {
            Some(at) => at..at + panel.span().step(),
            None => {
                let from = panel.from(self.now);
                from..from + panel.span().millis()
            }
        }
    }

    /// The rows of the list.
    pub fn history_rows(&self) -> Vec<HistoryRow<'_>> {
        let panel = &self.panels.history;
        let topic = panel.topic();
        let stages = || Stage::ALL.into_iter().filter(move |&stage| topic.has(stage));
        let range = self.history_range();
        match panel.list {
            HistoryList::Slowest => {
                let lines = self.notable.slowest(stages(), range);
                lines.into_iter().map(HistoryRow::Line).collect()
            }
            HistoryList::Failures => {
                let lines = self.notable.failures(stages(), range);
                lines.into_iter().map(HistoryRow::Line).collect()
            }
            HistoryList::Projects if topic == Topic::Pipeline => self.project_rows(),
            HistoryList::Projects => Vec::new(),
        }
    }

    /// The projects of the selected point. Those of single seconds are not known.
    fn project_rows(&self) -> Vec<HistoryRow<'_>> {
        let Some(history) = self.panels.history.history(None) else { return Vec::new() };
        let point = match self.panels.history.cursor {
            Some(at) => history.point(at.div_euclid(history.step_ms) * history.step_ms),
            None => history.points.last(),
        };
        let projects = point.map_or(&[][..], |point| point.totals.projects.as_slice());
        projects.iter().map(HistoryRow::Project).collect()
    }
}
