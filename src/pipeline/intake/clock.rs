//! Corrects the time of an event whose sender's clock is wrong.

use std::time::Duration;

use bklit_wire::time::UtcMillis;

use super::changes::{Change, Changes};
use crate::time_bounds::TimeBounds;

/// Differences between the clocks up to this are ignored: they may be due to transit time.
const MIN_SKEW: Duration = Duration::from_secs(1);

/// How much later than `sentAt` an event may have happened. If it is more, the two times are not from
/// the same clock.
const MAX_AFTER_SENDING: Duration = Duration::from_secs(60);

/// Corrects `timestamp`, if there is one, for an event that arrived at `arrived` and was sent at
/// `sent_at` by the client's clock. One that is not plausible becomes `arrived`.
pub(super) fn correct(
    timestamp: &mut Option<UtcMillis>,
    sent_at: Option<UtcMillis>,
    arrived: UtcMillis,
    bounds: TimeBounds,
    changes: &mut Changes,
) {
    let Some(sent) = *timestamp else { return };
    let corrected = sent_at.and_then(|sent_at| without_skew(sent, sent_at, arrived));
    if let Some(corrected) = corrected.filter(|&moment| bounds.include(moment, arrived)) {
        *timestamp = Some(corrected);
        changes.add("timestamp", Change::Corrected { sent });
    } else if !bounds.include(sent, arrived) {
        *timestamp = Some(arrived);
        changes.add("timestamp", Change::Replaced { sent });
    }
}

/// `moment` by our clock, in an event that arrived at `arrived` and was sent at `sent_at` by its
/// client's clock; `None` if the clocks agree, or the times are contradictory.
pub fn without_skew(
    moment: UtcMillis,
    sent_at: UtcMillis,
    arrived: UtcMillis,
) -> Option<UtcMillis> {
    let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let skew = arrived.epoch_millis() - sent_at.epoch_millis();
    let after = moment.epoch_millis() - sent_at.epoch_millis();
    (skew.abs() > millis(MIN_SKEW) && after <= millis(MAX_AFTER_SENDING))
        .then(|| UtcMillis::from_epoch_millis(moment.epoch_millis() + skew))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;
    const HOUR: i64 = 3_600_000;
    const DAY: i64 = 24 * HOUR;

    /// The result in milliseconds after [`NOW`], and whether it was corrected or replaced.
    fn corrected(timestamp: i64, sent_at: Option<i64>) -> (i64, &'static str) {
        let at = |offset: i64| UtcMillis::from_epoch_millis(NOW.saturating_add(offset));
        let day = Duration::from_secs(24 * 3600);
        let (bounds, mut changes) = (TimeBounds::new(day, 400 * day), Changes::default());
        let mut moment = Some(at(timestamp));
        correct(&mut moment, sent_at.map(at), at(0), bounds, &mut changes);
        let mut data = crate::telemetry::Data::new();
        changes.describe(&mut data);
        let changed = data.get("changed").map_or(String::new(), ToString::to_string);
        let how = match changed.as_str() {
            "" => "as sent",
            changed if changed.contains("corrected") => "corrected",
            _ => "replaced",
        };
        (moment.unwrap().epoch_millis() - NOW, how)
    }

    #[test]
    fn an_implausible_time_is_replaced() {
        for (timestamp, result) in [
            (0, (0, "as sent")),
            (DAY, (DAY, "as sent")),
            (DAY + 1, (0, "replaced")),
            (-400 * DAY, (-400 * DAY, "as sent")),
            (-400 * DAY - 1, (0, "replaced")),
            (i64::MIN / 2, (0, "replaced")),
            (i64::MAX / 2, (0, "replaced")),
        ] {
            assert_eq!(corrected(timestamp, None), result, "{timestamp}");
        }
    }

    #[test]
    fn a_wrong_clock_is_corrected() {
        for (timestamp, sent_at, result) in [
            // Two hours fast, ten years slow, never set; 5 s from the event to its sending.
            (2 * HOUR - 5_000, 2 * HOUR, (-5_000, "corrected")),
            (-3650 * DAY - 5_000, -3650 * DAY, (-5_000, "corrected")),
            (-NOW, -NOW + 5_000, (-5_000, "corrected")),
            // Kept offline for a week.
            (-7 * DAY, 0, (-7 * DAY, "as sent")),
            (-7 * DAY + HOUR, HOUR, (-7 * DAY, "corrected")),
            // On its way.
            (-1_000, -900, (-1_000, "as sent")),
            // Not from the same clock.
            (0, -300 * DAY, (0, "as sent")),
            (0, -NOW, (0, "as sent")),
            (0, 500 * DAY, (0, "as sent")),
            (500 * DAY, 0, (0, "replaced")),
            (-500 * DAY, 0, (0, "replaced")),
        ] {
            assert_eq!(corrected(timestamp, Some(sent_at)), result, "{timestamp} {sent_at}");
        }
    }
}
