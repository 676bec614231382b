//! Timestamps on the wire: UTC with milliseconds, as in all other parts of Bklit.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::js_date;

/// A timestamp in UTC with millisecond precision, `2026-01-31T12:00:00.000Z` on the wire.
///
/// Parses any RFC 3339 date-time with an offset. In JSON, it may also be a number of milliseconds
/// since the epoch, or a date in another format that JavaScript reads, such as that of RFC 2822.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcMillis(i64);

/// The text is not a date-time that [`UtcMillis`] can represent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an ISO 8601 date-time in UTC, such as 2026-01-31T12:00:00.000Z")]
pub struct InvalidTime;

impl UtcMillis {
    /// The earliest time a ClickHouse `DateTime` can represent: 1970-01-01.
    pub const MIN: Self = Self(0);
    /// The latest time a ClickHouse `DateTime` can represent: 2106-02-07.
    pub const MAX: Self = Self(u32::MAX as i64 * 1000 + 999);

    /// The system clock's current time.
    pub fn now() -> Self {
        Self(Timestamp::now().as_millisecond())
    }

    /// The time in a UUID of version 7; `None` for other text.
    pub fn of_uuid(uuid: &str) -> Option<Self> {
        let (seconds, nanos) = uuid::Uuid::parse_str(uuid).ok()?.get_timestamp()?.to_unix();
        Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanos).ok()?)
            .ok()
            .and_then(Self::in_range)
    }

    /// From milliseconds since the Unix epoch, clamped to the range of ClickHouse's `DateTime`.
    pub fn from_epoch_millis(millis: i64) -> Self {
        Self(millis.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// The time, unless a ClickHouse `DateTime` cannot represent it.
    fn in_range(moment: Timestamp) -> Option<Self> {
        let moment = Self(moment.as_millisecond());
        (Self::MIN..=Self::MAX).contains(&moment).then_some(moment)
    }

    /// Milliseconds since the Unix epoch.
    pub fn epoch_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch: the precision of the tables.
    pub fn epoch_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// `YYYY-MM-DD HH:MM:SS`, as ClickHouse prints a `DateTime`.
    pub fn to_date_time(self) -> String {
        self.timestamp().strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// The same time as a [`jiff::Timestamp`].
    pub fn timestamp(self) -> Timestamp {
        Timestamp::from_millisecond(self.0).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

impl fmt::Display for UtcMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.timestamp())
    }
}

impl FromStr for UtcMillis {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().ok().and_then(Self::in_range).ok_or(InvalidTime)
    }
}

impl Serialize for UtcMillis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UtcMillis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = UtcMillis;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an ISO 8601 date-time or milliseconds since the epoch")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<UtcMillis, E> {
                let read = text.parse().or_else(|error| {
                    js_date::parse(text).and_then(UtcMillis::in_range).ok_or(error)
                });
                read.map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, millis: i64) -> Result<UtcMillis, E> {
                let moment = UtcMillis::from_epoch_millis(millis);
                if moment.0 == millis { Ok(moment) } else { Err(E::custom(InvalidTime)) }
            }

            fn visit_u64<E: de::Error>(self, millis: u64) -> Result<UtcMillis, E> {
                i64::try_from(millis).map_err(E::custom).and_then(|m| self.visit_i64(m))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_milliseconds_in_utc() {
        let moment: UtcMillis = "2026-01-31T14:00:00.5+02:00".parse().unwrap();
        assert_eq!(moment.to_string(), "2026-01-31T12:00:00.500Z");
        assert_eq!(moment.to_date_time(), "2026-01-31 12:00:00");
        assert_eq!(serde_json::to_string(&moment).unwrap(), "\"2026-01-31T12:00:00.500Z\"");
    }

    #[test]
    fn reads_the_time_of_a_uuid() {
        let before = UtcMillis::now();
        let uuid = uuid::Uuid::now_v7().simple().to_string();
        let moment = UtcMillis::of_uuid(&uuid).unwrap();
        assert!((before..=UtcMillis::now()).contains(&moment));
        assert_eq!(UtcMillis::of_uuid("batch-1"), None);
    }

    #[test]
    fn rejects_what_a_date_time_column_cannot_hold() {
        for text in ["1969-12-31T23:59:59Z", "2200-01-01T00:00:00Z", "yesterday", "2026-01-31", ""]
        {
            assert_eq!(text.parse::<UtcMillis>(), Err(InvalidTime), "{text}");
        }
        assert!(serde_json::from_str::<UtcMillis>("-1").is_err());
        for json in ["\"1969-12-31\"", "\"Sat, 31 Jan 2200 12:00:00 GMT\"", "\"noon\""] {
            assert!(serde_json::from_str::<UtcMillis>(json).is_err(), "{json}");
        }
        let rfc: UtcMillis = serde_json::from_str("\"Sat, 31 Jan 2026 12:00:00 GMT\"").unwrap();
        let millis: UtcMillis = serde_json::from_str("1769860800000").unwrap();
        assert_eq!(rfc, millis);
        assert_eq!(millis.to_string(), "2026-01-31T12:00:00.000Z");
    }
}
