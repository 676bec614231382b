//! Dates as JavaScript reads and writes them, beyond ISO 8601 date-times with an offset.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;
use jiff::{Timestamp, ToSpan};

/// Parses a date that `new Date(text)` accepts: dates without a time, ISO 8601 without an offset,
/// RFC 2822 and RFC 1123, and the results of `toString`, `toUTCString` and, in American English,
/// `toLocaleString`. A date without an offset is read as UTC, as on a server in UTC.
///
/// A text with words that have no meaning in a date is not a date: `None` is returned where
/// JavaScript would guess.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let mut date = Parts::default();
    let mut rest = text.trim();
    while let Some(first) = rest.chars().next() {
        rest = match first {
            '(' => after_comment(rest)?,
            '0'..='9' => date.number(rest)?,
            '+' | '-' if date.hour.is_some() => date.offset(rest)?,
            c if c.is_ascii_alphabetic() => date.word(rest)?,
            ',' | '-' | '/' | '.' | ' ' => &rest[1..],
            '\u{a0}' | '\u{202f}' => &rest[first.len_utf8()..],
            _ => return None,
        };
    }
    date.timestamp()
}

/// The last day that any month has.
const MAX_DAY: i8 = 31;

/// The parts of a date found so far.
#[derive(Default)]
struct Parts {
    /// Numbers that are not part of the time, in their order, each with its number of digits.
    numbers: Vec<(i16, usize)>,
    month: Option<i8>,
    hour: Option<i8>,
    minute: i8,
    second: i8,
    nanosecond: i32,
    afternoon: Option<bool>,
    offset: Option<Offset>,
}

/// Splits off the leading digits.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// Skips a comment such as `(Central European Standard Time)`.
fn after_comment(text: &str) -> Option<&str> {
    text.find(')').map(|end| &text[end + 1..])
}

impl Parts {
    fn number<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let (number, rest) = digits(text);
        if let Some(rest) = rest.strip_prefix(':') {
            return self.time(number, rest);
        }
        // A date has at most three: day, month and year.
        if self.numbers.len() == 3 {
            return None;
        }
        self.numbers.push((number.parse().ok()?, number.len()));
        Some(rest)
    }

    /// The rest of a time such as `12:30:00.123`, after its hour.
    fn time<'a>(&mut self, hour: &str, rest: &'a str) -> Option<&'a str> {
        if self.hour.is_some() {
            return None;
        }
        self.hour = Some(hour.parse().ok()?);
        let (minute, rest) = digits(rest);
        self.minute = minute.parse().ok()?;
        let Some(rest) = rest.strip_prefix(':') else { return Some(rest) };
        let (second, rest) = digits(rest);
        self.second = second.parse().ok()?;
        let Some(rest) = rest.strip_prefix(['.', ',']) else { return Some(rest) };
        let (fraction, rest) = digits(rest);
        let nanoseconds = format!("{fraction:0<9}");
        self.nanosecond = nanoseconds.get(..9)?.parse().ok()?;
        Some(rest)
    }

    /// `+0200`, `+02:00` or `-5`.
    fn offset<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let sign = if text.starts_with('-') { -1 } else { 1 };
        let (first, rest) = digits(&text[1..]);
        let (hours, minutes, rest) = match (first.len(), rest.strip_prefix(':')) {
            (1 | 2, Some(rest)) => (first, rest.get(..2)?, &rest[2..]),
            (1 | 2, None) => (first, "0", rest),
            (4, None) => (&first[..2], &first[2..], rest),
            _ => return None,
        };
        let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
        self.offset = Some(Offset::from_seconds(sign * (hours * 60 + minutes) * 60).ok()?);
        Some(rest)
    }

    fn word<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        const MONTHS: [&str; 12] = [
            "january",
            "february",
            "march",
            "april",
            "may",
            "june",
            "july",
            "august",
            "september",
            "october",
            "november",
            "december",
        ];
        const DAYS: [&str; 7] =
            ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
        let (word, rest) = text.split_at(text.bytes().take_while(u8::is_ascii_alphabetic).count());
        let word = word.to_ascii_lowercase();
        let is = |name: &&str| word.len() >= 3 && name.starts_with(word.as_str());
        let hours = match word.as_str() {
            "am" | "pm" => {
                self.afternoon = Some(word == "pm");
                return Some(rest);
            }
            // Between date and time.
            "t" => return Some(rest),
            "z" | "utc" | "gmt" | "ut" => 0,
            "edt" => -4,
            "est" | "cdt" => -5,
            "cst" | "mdt" => -6,
            "mst" | "pdt" => -7,
            "pst" => -8,
            _ => {
                match MONTHS.iter().zip(1..).find(|(name, _)| is(name)) {
                    Some((_, month)) => self.month = Some(month),
                    None => {
                        DAYS.iter().find(|name| is(name))?;
                    }
                }
                return Some(rest);
            }
        };
        self.offset = Some(Offset::from_hours(hours).ok()?);
        Some(rest)
    }

    fn timestamp(self) -> Option<Timestamp> {
        let hour = match (self.hour.unwrap_or(0), self.afternoon) {
            (12, Some(false)) => 0,
            (hour @ 1..=11, Some(true)) => hour + 12,
            (hour, _) => hour,
        };
        // The end of a day.
        let is_midnight = (hour, self.minute, self.second, self.nanosecond) == (24, 0, 0, 0);
        let (date, hour) = match is_midnight {
            true => (self.date()?.tomorrow().ok()?, 0),
            false => (self.date()?, hour),
        };
        let time = Time::new(hour, self.minute, self.second, self.nanosecond);
        let moment = DateTime::from_parts(date, time.ok()?);
        self.offset.unwrap_or(Offset::UTC).to_timestamp(moment).ok()
    }

    fn date(&self) -> Option<Date> {
        let part = |number: i16| i8::try_from(number).ok();
        let (year, month, day) = match (self.month, self.numbers.as_slice()) {
            (Some(month), &[(day, ..=2), year]) => (full(year)?, month, part(day)?),
            (Some(month), &[year @ (_, 4), (day, _)]) => (full(year)?, month, part(day)?),
            // ISO 8601, with the month and the day optional.
            (None, &[(year, 4)]) => (year, 1, 1),
            (None, &[(year, 4), (month, _)]) => (year, part(month)?, 1),
            (None, &[(year, 4), (month, _), (day, _)]) => (year, part(month)?, part(day)?),
            // American.
            (None, &[(month, _), (day, _), year]) => (full(year)?, part(month)?, part(day)?),
            _ => return None,
        };
        Date::new(year, month, day).ok().or_else(|| {
            // The 30th of February is two days after the 28th.
            let first = Date::new(year, month, 1).ok()?;
            let days = (29..=MAX_DAY).contains(&day).then(|| i64::from(day) - 1)?;
            first.checked_add(days.days()).ok()
        })
    }
}

/// The year in full: `26` is 2026, and `70` is 1970.
fn full((year, digits): (i16, usize)) -> Option<i16> {
    match (digits, year) {
        (4, year) => Some(year),
        (2, year @ ..50) => Some(2000 + year),
        (2, year) => Some(1900 + year),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_javascript_writes_is_read() {
        for (text, utc) in [
            ("2026-01-31", "2026-01-31T00:00:00Z"),
            ("2026-02-30", "2026-03-02T00:00:00Z"),
            ("2026-02-30T12:30:00Z", "2026-03-02T12:30:00Z"),
            ("2024-02-30T00:00:00.000+01:00", "2024-02-29T23:00:00Z"),
            ("2026-04-31", "2026-05-01T00:00:00Z"),
            ("2026-10-31T24:00:00Z", "2026-11-01T00:00:00Z"),
            ("2026-12-31T24:00", "2027-01-01T00:00:00Z"),
            ("2026-01", "2026-01-01T00:00:00Z"),
            ("2026", "2026-01-01T00:00:00Z"),
            ("2026-01-31T12:30", "2026-01-31T12:30:00Z"),
            ("2026-01-31T12:30:05.25", "2026-01-31T12:30:05.25Z"),
            ("2026-01-31 12:30:05", "2026-01-31T12:30:05Z"),
            ("2026-01-31 12:30:05.123456789012+02:00", "2026-01-31T10:30:05.123456789Z"),
            ("2026/01/31 12:30:05", "2026-01-31T12:30:05Z"),
            ("Sat, 31 Jan 2026 12:30:05 GMT", "2026-01-31T12:30:05Z"),
            ("Sat, 31 Jan 2026 12:30:05 +0200", "2026-01-31T10:30:05Z"),
            ("31 Jan 26 12:30 EST", "2026-01-31T17:30:00Z"),
            (
                "Sat Jan 31 2026 12:30:05 GMT+0100 (Central European Standard Time)",
                "2026-01-31T11:30:05Z",
            ),
            ("Sat Jan 31 2026", "2026-01-31T00:00:00Z"),
            ("January 31, 2026 12:30:05", "2026-01-31T12:30:05Z"),
            ("1/31/2026, 12:30:05 PM", "2026-01-31T12:30:05Z"),
            ("1/31/2026, 12:05:00\u{202f}AM", "2026-01-31T00:05:00Z"),
            ("1/31/2026 1:05 pm", "2026-01-31T13:05:00Z"),
        ] {
            let expected: Timestamp = utc.parse().unwrap();
            assert_eq!(parse(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn an_invalid_date_is_rejected() {
        for text in [
            "",
            "yesterday",
            "noon",
            "now",
            "12:30",
            "31",
            "2026-13-01",
            "2026-02-32",
            "2026-01-31T24:00:01Z",
            "1767225600",
            "1/2/3/4",
            "2026-01-31T25:00",
            "12:00 12:00",
            "31/1/2026",
            "Marchx 3 2026",
            "2026-01-31T12:00+99:00",
            "(",
            "Jan",
            "Jan Feb 1 2026 x",
            "٣",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_accepted_without_panicking(text in "\\PC{0,40}|[0-9:+. TZGMTJan()/-]{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn dates_of_http_are_read(second in 0_i64..4_000_000_000) {
            let moment = Timestamp::from_second(second).unwrap();
            let text = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&moment).unwrap();
            prop_assert_eq!(parse(&text), Some(moment));
        }
    }
}
