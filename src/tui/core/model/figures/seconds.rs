//! What was counted in each second of the last minute, as points of a graph.

use std::borrow::Cow;

use super::{Figures, SECONDS};
use crate::model::history::Series;
use bklit_wire::history::Totals;

impl Figures {
    /// What processes counted in each second of the minute from a time on.
    pub fn seconds_of(&self, from: i64) -> Series<'static> {
        let first = from.div_euclid(1_000);
        let mut points = vec![None; SECONDS];
        for second in &self.seconds {
            let place = usize::try_from(second.at - first).ok();
            let Some(place) = place.filter(|&place| place < SECONDS) else { continue };
            if second.gauges.is_empty() {
                continue;
            }
            let mut totals = Totals::default();
            second.gauges.iter().for_each(|gauges| totals.add_second(gauges));
            points[place] = Some(Cow::Owned(totals));
        }
        Series { from: first * 1_000, step: 1_000, points }
    }
}
