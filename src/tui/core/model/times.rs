//! Formats times in the time zone of the console.

use jiff::ZonedDateTime;

use super::Model;
use bklit_wire::time::UtcMillis;

impl Model {
    /// The local time of a moment.
    pub(crate) fn zoned(&self, at: UtcMillis) -> ZonedDateTime {
        at.timestamp().to_zoned_datetime(self.zone.clone())
    }

    /// `14:05:30`
    pub(crate) fn time_of_day(&self, at: UtcMillis) -> String {
        self.zoned(at).strftime("%H:%M:%S").to_string()
    }

    /// `14:05:30`, or with the date if that is not today.
    pub(crate) fn moment(&self, at: UtcMillis) -> String {
        let (then, now) = (self.zoned(at), self.zoned(self.now));
        let is_today = then.date() == now.date();
        let format = if is_today { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
        then.strftime(format).to_string()
    }

    /// A moment with its date and zone.
    pub(crate) fn long_time(&self, at: UtcMillis) -> String {
        self.zoned(at).strftime("%Y-%m-%d %H:%M:%S%.3f %Z").to_string()
    }
}
