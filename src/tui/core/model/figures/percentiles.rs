//! Percentiles of latencies.

use std::sync::Arc;

use hdrhistogram::Histogram;

use super::SERIES;
use bklit_wire::gauges::{Gauges, Latencies};

/// The latencies of a series in the figures of a second.
pub(super) fn latencies(gauges: &Gauges, series: usize) -> &Latencies {
    match gauges.stages.get(series) {
        Some(stage) => &stage.latencies,
        None => &gauges.accept_to_stored,
    }
}

/// The p95 of each series, over all processes.
pub(super) fn p95_of(
    gauges: &[Arc<Gauges>],
    scratch: &mut Histogram<u64>,
) -> [Option<u64>; SERIES] {
    std::array::from_fn(|i| {
        scratch.reset();
        gauges.iter().for_each(|g| latencies(g, i).add_to(scratch));
        percentile(scratch, 0.95)
    })
}

pub(super) fn percentile(histogram: &Histogram<u64>, quantile: f64) -> Option<u64> {
    (!histogram.is_empty()).then(|| histogram.value_at_quantile(quantile))
}
