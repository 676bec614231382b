//! The figures of each process.

use super::{Figures, RATE_SECONDS, percentile};
use crate::model::panels::ProcessRow;
use bklit_wire::debug_log::Stage;
use bklit_wire::gauges::{Failure, Gauges, Latencies};

/// What a process does now.
#[derive(Clone, Debug)]
pub struct ProcessFigures {
    /// The seconds since it last published figures.
    pub heard: i64,
    /// Accepted events per second.
    pub accepted: f64,
    /// Stored events per second.
    pub stored: f64,
    /// The p95 of the last minute from acceptance to storage, in microseconds.
    pub p95: Option<u64>,
    /// Its parts that fail.
    pub failures: Vec<Failure>,
}

impl Figures {
    /// The processes that publish figures, in no order.
    pub fn by_process(&self) -> impl Iterator<Item = ProcessRow> {
        self.processes.iter().map(|(name, process)| {
            let seconds = || {
                self.seconds.iter().flat_map(|second| {
                    let own = second.gauges.iter().filter(|gauges| gauges.process == *name);
                    own.map(|gauges| (second.at, gauges))
                })
            };
            let rate = |count: fn(&Gauges) -> u64| {
                let first = process.second - RATE_SECONDS + 1;
                let recent = seconds().filter(|(at, _)| *at >= first);
                let (mut seconds, mut sum) = (0_u32, 0_u64);
                for (_, gauges) in recent {
                    (seconds, sum) = (seconds + 1, sum.saturating_add(count(gauges)));
                }
                sum as f64 / f64::from(seconds.max(1))
            };
            let mut latencies = Latencies::histogram();
            seconds().for_each(|(_, gauges)| gauges.accept_to_stored.add_to(&mut latencies));
            let errors = seconds().flat_map(|(_, gauges)| &gauges.stages);
            let figures = ProcessFigures {
                heard: (self.now - process.heard).max(0),
                accepted: rate(|gauges| gauges.accepted),
                stored: rate(|gauges| {
                    let store = &gauges.stages[Stage::Clickhouse.index()];
                    store.count.saturating_sub(store.errors)
                }),
                p95: percentile(&latencies, 0.95),
                failures: process.last.failures.clone(),
            };
            ProcessRow {
                process: name.clone(),
                about: process.last.about.clone().unwrap_or_default(),
                figures: Some(figures),
                last: None,
                errors: errors.fold(0, |sum, stage| sum.saturating_add(stage.errors)),
            }
        })
    }
}
