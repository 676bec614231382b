//! Timestamps on the wire: UTC with milliseconds, as in all other parts of Bklit.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::fmt::temporal::{DateTimePrinter, Pieces};
use jiff::tz::{Offset, TimeZone};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::js_date;

/// A timestamp in UTC with millisecond precision, `2026-01-31T12:00:00.000Z` on the wire.
///
/// Parses any RFC 3339 date-time with an offset. In JSON, it may also be a number or a numeric text
/// (the time since the epoch in seconds, milliseconds, microseconds or nanoseconds, by its magnitude),
/// or a date in another format that JavaScript reads, such as that of RFC 2822. A time that the tables
/// cannot represent becomes the nearest one that they can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcMillis(i64);

/// The text is not a date-time that [`UtcMillis`] can represent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an ISO 8601 date-time in UTC, such as 2026-01-31T12:00:00.000Z")]
pub struct InvalidTime;

/// Numbers below these are seconds, milliseconds and microseconds since the epoch; larger ones are
/// nanoseconds. Each unit reaches from 1973, or 1970 for seconds, to the year 5138.
const SECONDS_BELOW: u64 = 100_000_000_000;
const MILLIS_BELOW: u64 = SECONDS_BELOW * 1_000;
const MICROS_BELOW: u64 = MILLIS_BELOW * 1_000;

/// Digits of a second that are read; more are cut off.
const MAX_FRACTION: usize = 9;

/// Prints times as ClickHouse does.
const DATE_TIME: DateTimePrinter = DateTimePrinter::new().separator(b' ').precision(Some(0));

impl UtcMillis {
    /// The earliest time a ClickHouse `DateTime` can represent: 1970-01-01.
    pub const MIN: Self = Self(0);
    /// The latest time a ClickHouse `DateTime` can represent: 2106-02-07.
    pub const MAX: Self = Self(u32::MAX as i64 * 1000 + 999);

    /// The system clock's current time.
    pub fn now() -> Self {
        Self(Timestamp::now().as_millisecond())
    }

    /// From milliseconds since the Unix epoch, clamped to the range of ClickHouse's `DateTime`.
    pub fn from_epoch_millis(millis: i64) -> Self {
        Self(millis.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// From a number whose unit follows from its magnitude, clamped like
    /// [`UtcMillis::from_epoch_millis`].
    fn from_number(number: i64) -> Self {
        Self::from_epoch_millis(match number.unsigned_abs() {
            0..SECONDS_BELOW => number * 1_000,
            SECONDS_BELOW..MILLIS_BELOW => number,
            MILLIS_BELOW..MICROS_BELOW => number / 1_000,
            MICROS_BELOW.. => number / 1_000_000,
        })
    }

    /// The same for a number with a fraction, or one that is too large for an integer.
    fn from_fraction(number: f64) -> Self {
        let magnitude = number.abs();
        let millis = if magnitude < SECONDS_BELOW as f64 {
            number * 1e3
        } else if magnitude < MILLIS_BELOW as f64 {
            number
        } else if magnitude < MICROS_BELOW as f64 {
            number / 1e3
        } else {
            number / 1e6
        };
        // The conversion saturates.
        Self::from_epoch_millis(millis as i64)
    }

    /// From a text in JSON.
    fn from_text(text: &str) -> Result<Self, InvalidTime> {
        if let Some(moment) = date_time(text) {
            return Ok(Self::from_epoch_millis(moment.as_millisecond()));
        }
        if is_end_of_time(text) {
            return Ok(Self::MAX);
        }
        // Of the texts that Rust reads as a number, these are not one in JSON.
        let is_number = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'e'));
        match (text.parse(), text.parse()) {
            (Ok(number), _) => Ok(Self::from_number(number)),
            (_, Ok(number)) if is_number => Ok(Self::from_fraction(number)),
            _ => js_date::parse(text)
                .map(|moment| Self::from_epoch_millis(moment.as_millisecond()))
                .or_else(|| Self::in_a_distant_year(text))
                .ok_or(InvalidTime),
        }
    }

    /// From a date-time with a year of six digits and a sign, as JavaScript writes years beyond 9999
    /// and before 0.
    fn in_a_distant_year(text: &str) -> Option<Self> {
        let (sign, rest) = text.split_at_checked(1)?;
        let (year, rest) = rest.split_at_checked(6)?;
        let nearest = match sign {
            "+" => Self::MAX,
            "-" => Self::MIN,
            _ => return None,
        };
        if !year.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        // The rest must be valid in some year.
        js_date::parse(&format!("2000{rest}")).map(|_| nearest)
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
        DATE_TIME.datetime_to_string(&TimeZone::UTC.to_datetime(self.timestamp()))
    }

    /// The same time as a [`jiff::Timestamp`].
    pub fn timestamp(self) -> Timestamp {
        Timestamp::from_millisecond(self.0).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// The length of the usual text of a time, in bytes.
const TEXT: usize = "2026-01-31T12:00:00.000Z".len();

impl UtcMillis {
    /// The text of a time in a year of four digits. Each event has some, and a general formatter takes
    /// several times as long.
    fn text(self) -> Option<[u8; TEXT]> {
        let at = Offset::UTC.to_datetime(self.timestamp());
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut put = |first: usize, digits: usize, number: i32| {
            let mut rest = u32::try_from(number).unwrap_or(0);
            for digit in text.iter_mut().skip(first).take(digits).rev() {
                *digit += (rest % 10) as u8;
                rest /= 10;
            }
        };
        put(0, 4, at.year().into());
        put(5, 2, at.month().into());
        put(8, 2, at.day().into());
        put(11, 2, at.hour().into());
        put(14, 2, at.minute().into());
        put(17, 2, at.second().into());
        put(20, 3, at.subsec_nanosecond() / 1_000_000);
        (at.year() >= 0).then_some(text)
    }

    /// Calls `read` with its text.
    fn with_text<T>(self, read: impl FnOnce(&str) -> T) -> T {
        let text = self.text();
        match text.as_ref().and_then(|text| std::str::from_utf8(text).ok()) {
            Some(text) => read(text),
            None => read(&format!("{:.3}", self.timestamp())),
        }
    }

    /// Appends its text.
    pub fn push_to(self, text: &mut String) {
        self.with_text(|own| text.push_str(own));
    }
}

impl fmt::Display for UtcMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.write_str(text))
    }
}

impl FromStr for UtcMillis {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let millis = date_time(text).ok_or(InvalidTime)?.as_millisecond();
        if (Self::MIN.0..=Self::MAX.0).contains(&millis) {
            Ok(Self(millis))
        } else {
            Err(InvalidTime)
        }
    }
}

/// Reads a date-time with an offset.
fn date_time(text: &str) -> Option<Timestamp> {
    let parsed = text.parse().ok();
    parsed.or_else(|| without_excess_digits(text)?.parse().ok())
}

/// Whether this is a date-time at the end of the year 9999, which some programs use for "never" and
/// which is later than any [`Timestamp`].
fn is_end_of_time(text: &str) -> bool {
    Pieces::parse(text)
        .is_ok_and(|parsed| parsed.offset().is_some() && parsed.date().year() == 9999)
}

/// The text with fewer digits of a second; `None` if it does not have too many.
fn without_excess_digits(text: &str) -> Option<String> {
    let point = text.find(['.', ','])?;
    let (before, fraction) = text.split_at_checked(point + 1)?;
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
    let kept = fraction.get(..MAX_FRACTION).filter(|_| digits > MAX_FRACTION)?;
    Some([before, kept, fraction.get(digits..)?].concat())
}

impl Serialize for UtcMillis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.with_text(|text| serializer.serialize_str(text))
    }
}

impl<'de> Deserialize<'de> for UtcMillis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = UtcMillis;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an ISO 8601 date-time or a time since the epoch")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<UtcMillis, E> {
                UtcMillis::from_text(text).map_err(E::custom)
            }

            fn visit_i64<E>(self, number: i64) -> Result<UtcMillis, E> {
                Ok(UtcMillis::from_number(number))
            }

            fn visit_u64<E>(self, number: u64) -> Result<UtcMillis, E> {
                let small = i64::try_from(number).map(UtcMillis::from_number);
                Ok(small.unwrap_or_else(|_| UtcMillis::from_fraction(number as f64)))
            }

            fn visit_f64<E>(self, number: f64) -> Result<UtcMillis, E> {
                Ok(UtcMillis::from_fraction(number))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn writes_milliseconds_in_utc() {
        let moment: UtcMillis = "2026-01-31T14:00:00.5+02:00".parse().unwrap();
        assert_eq!(moment.to_string(), "2026-01-31T12:00:00.500Z");
        assert_eq!(moment.to_date_time(), "2026-01-31 12:00:00");
        assert_eq!(serde_json::to_string(&moment).unwrap(), "\"2026-01-31T12:00:00.500Z\"");
    }

    proptest! {
        #[test]
        fn any_time_is_written_as_the_formatter_would(
            millis in prop_oneof![UtcMillis::MIN.0..=UtcMillis::MAX.0, -377_000_000_000_000..=253_000_000_000_000_i64],
        ) {
            let moment = UtcMillis(millis);
            let expected = format!("{:.3}", moment.timestamp());
            let mut pushed = String::new();
            moment.push_to(&mut pushed);
            prop_assert_eq!(&pushed, &expected);
            prop_assert_eq!(moment.to_string(), expected.clone());
            prop_assert_eq!(serde_json::to_value(moment).unwrap(), expected);
        }
    }

    #[test]
    fn rejects_what_a_date_time_column_cannot_hold() {
        for text in ["1969-12-31T23:59:59Z", "2200-01-01T00:00:00Z", "yesterday", "2026-01-31", ""]
        {
            assert_eq!(text.parse::<UtcMillis>(), Err(InvalidTime), "{text}");
        }
    }

    #[test]
    fn the_unit_of_a_number_follows_from_its_magnitude() {
        for json in [
            "1769860800",
            "1769860800.0",
            "1769860800000",
            "1769860800000.25",
            "1769860800000000",
            "1769860800000000.5",
            "1769860800000000000",
            "1.7698608e9",
            "\"1769860800\"",
            "\"1769860800000\"",
            "\"1769860800000000000\"",
            "\"1769860800.0004\"",
            "\"2026-01-31T12:00:00Z\"",
            "\"2026-01-31T12:00:00.0009999999999999Z\"",
            "\"2026-01-31T13:00:00,0009999999999999+01:00\"",
        ] {
            let moment: UtcMillis = serde_json::from_str(json).unwrap();
            assert_eq!(moment.to_string(), "2026-01-31T12:00:00.000Z", "{json}");
        }
        let moment: UtcMillis = serde_json::from_str("1769860800.123").unwrap();
        assert_eq!(moment.to_string(), "2026-01-31T12:00:00.123Z");
        for json in [
            "\"\"",
            "\"noon\"",
            "\"inf\"",
            "\"NaN\"",
            "\"1.5.\"",
            "\"+010000-13-01\"",
            "true",
            "[]",
        ] {
            assert!(serde_json::from_str::<UtcMillis>(json).is_err(), "{json}");
        }
        for json in ["\"2026-01-31\"", "\"Sat, 31 Jan 2026 00:00:00 GMT\""] {
            let moment: UtcMillis = serde_json::from_str(json).unwrap();
            assert_eq!(moment.to_string(), "2026-01-31T00:00:00.000Z", "{json}");
        }
    }

    #[test]
    fn a_time_out_of_range_becomes_the_nearest_in_range() {
        for (json, nearest) in [
            ("-1", UtcMillis::MIN),
            ("-1e300", UtcMillis::MIN),
            ("-9223372036854775808", UtcMillis::MIN),
            ("\"0001-01-01T00:00:00Z\"", UtcMillis::MIN),
            ("\"-5\"", UtcMillis::MIN),
            ("18446744073709551615", UtcMillis::MAX),
            ("9999999999", UtcMillis::MAX),
            ("1e300", UtcMillis::MAX),
            ("\"9999-12-31T23:59:59Z\"", UtcMillis::MAX),
            ("\"+010000-01-01T00:00:00.000Z\"", UtcMillis::MAX),
            ("\"+275760-09-13\"", UtcMillis::MAX),
            ("\"-271821-04-20T00:00:00.000Z\"", UtcMillis::MIN),
            ("\"-000001-01-01T00:00:00.000Z\"", UtcMillis::MIN),
        ] {
            assert_eq!(serde_json::from_str::<UtcMillis>(json).unwrap(), nearest, "{json}");
        }
    }
}
