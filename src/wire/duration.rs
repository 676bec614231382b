//! Durations in settings, flags and messages: `90s`, `1h 30m`, `500ms`. With serde:
//! `#[serde(with = "bklit_wire::duration")]`.

use std::time::Duration;

use jiff::fmt::friendly::{Designator, SpanParser, SpanPrinter};
use jiff::{Span, SpanRelativeTo};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

const DAY: u64 = 86_400;
/// A twelfth of a year.
const MONTH: u64 = YEAR / 12;
/// 365.25 days.
const YEAR: u64 = DAY * 1461 / 4;

/// Text that is not a duration, or one that is negative or too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid duration: try 90s, 10m, 2h")]
pub struct InvalidDuration;

/// Parses a duration such as `90s`, `1h 30m`, `500ms` or `2days`. A day has 24 hours, a year 365.25
/// days, a month is a twelfth of it.
///
/// # Errors
/// When the text is not a duration, or it is negative or too long.
pub fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    let text = text.trim();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    parse_span(text).ok_or(InvalidDuration)
}

fn parse_span(text: &str) -> Option<Duration> {
    let span: Span = SpanParser::new().parse_span(text).ok()?;
    let years = u64::try_from(span.get_years()).ok()?;
    let months = u64::try_from(span.get_months()).ok()?;
    let calendar = Duration::from_secs(years * YEAR + months * MONTH);
    let rest = span.try_years(0).ok()?.try_months(0).ok()?;
    let rest = rest.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(rest).ok()?.checked_add(calendar)
}

/// The duration as text that [`parse`] reads: `1m 11s`, `2d 3h`, `0s`.
pub fn format(duration: Duration) -> String {
    let days = duration.as_secs() / DAY;
    let rest = Duration::new(duration.as_secs() % DAY, duration.subsec_nanos());
    let printer = SpanPrinter::new().designator(Designator::HumanTime);
    let time = || printer.unsigned_duration_to_string(&rest);
    match days {
        0 => time(),
        days if rest.is_zero() => format!("{days}d"),
        days => format!("{days}d {}", time()),
    }
}

/// The same in whole seconds, rounded down.
pub fn seconds(duration: Duration) -> String {
    format(Duration::from_secs(duration.as_secs()))
}

/// Writes the text of [`format()`].
///
/// # Errors
/// The serializer's own.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*duration))
}

/// Reads text as [`parse`] does.
///
/// # Errors
/// When it is not text, or not a duration.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_combine_and_are_printed_the_same_everywhere() {
        for (text, millis, printed) in [
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            ("90s", 90_000, "1m 30s"),
            (" 10m ", 600_000, "10m"),
            ("1h 30m", 5_400_000, "1h 30m"),
            ("1h30m", 5_400_000, "1h 30m"),
            ("1hour 12min 5s", 4_325_000, "1h 12m 5s"),
            ("500ms", 500, "500ms"),
            ("1s 5msec", 1_005, "1s 5ms"),
            ("2days", 172_800_000, "2d"),
            ("90d", 7_776_000_000, "90d"),
            ("36h", 129_600_000, "1d 12h"),
            ("2weeks", 1_209_600_000, "14d"),
            ("1month", 2_629_800_000, "30d 10h 30m"),
            ("1year", 31_557_600_000, "365d 6h"),
        ] {
            let duration = parse(text).unwrap();
            assert_eq!(duration, Duration::from_millis(millis), "{text}");
            assert_eq!(format(duration), printed);
            assert_eq!(parse(printed), Ok(duration));
        }
        assert_eq!(format(Duration::from_micros(250)), "250us");
        assert_eq!(seconds(Duration::from_millis(71_900)), "1m 11s");
        assert!(format(Duration::MAX).starts_with("213503982334601d "));
    }

    #[test]
    fn an_error_names_examples() {
        for text in ["", "soon", "10", "-5s", "5 s ago", "1M", "5s 1h", "99999999999999999999s"] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.to_string(), "invalid duration: try 90s, 10m, 2h", "{text}");
        }
    }

    #[test]
    fn settings_are_text() {
        #[derive(serde::Serialize, Deserialize)]
        struct Setting(#[serde(with = "super")] Duration);
        let Setting(lease) = serde_json::from_str("\"1m 30s\"").unwrap();
        assert_eq!(lease, Duration::from_secs(90));
        assert_eq!(serde_json::to_string(&Setting(lease)).unwrap(), "\"1m 30s\"");
        assert!(serde_json::from_str::<Setting>("90").is_err());
    }
}
