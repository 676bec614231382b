//! Numbers formatted for people.

/// The number with thousands separators: `1,234,567`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A time in microseconds with two units at most, in at most seven columns: `340 µs`, `1.2 ms`,
/// `12 ms`, `3.4 s`, `59 s`, `1m 11s`, `2h 5m`, `3d 4h`.
pub fn micros(micros: f64) -> String {
    match micros {
        n if n < 999.5 => format!("{n:.0} µs"),
        n if n < 999_500.0 => scaled(n / 1e3, " ms"),
        n if n < 59.5e6 => scaled(n / 1e6, " s"),
        n => long((n / 1e6).round() as u64),
    }
}

/// A time of a minute or more.
fn long(seconds: u64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match hours / 24 {
        0 if hours == 0 => format!("{minutes}m {}s", seconds % 60),
        0 => format!("{hours}h {}m", minutes % 60),
        days @ 1..100 => format!("{days}d {}h", hours % 24),
        days => format!("{}d", days.min(99_999)),
    }
}

/// At least two digits: `3.4`, `34`, `340`.
pub fn scaled(n: f64, unit: &str) -> String {
    if n < 9.95 { format!("{n:.1}{unit}") } else { format!("{n:.0}{unit}") }
}

/// A size: `512 B`, `3.4 kB`, `12 MB`.
pub fn bytes(n: u64) -> String {
    match n as f64 {
        n if n < 999.5 => format!("{n:.0} B"),
        n if n < 999_500.0 => scaled(n / 1e3, " kB"),
        n if n < 999.5e6 => scaled(n / 1e6, " MB"),
        n => scaled(n / 1e9, " GB"),
    }
}

/// The space on a disk: `512 MiB`, `71 GiB`.
pub fn disk_space(bytes: u64) -> String {
    match bytes >> 30 {
        0 => format!("{} MiB", bytes >> 20),
        gib => format!("{} GiB", grouped(gib)),
    }
}

/// A number with its noun: `1 line`, `1,234 lines`.
pub fn plural(n: u64, one: &str) -> String {
    match n {
        1 => format!("1 {one}"),
        n => format!("{} {one}s", grouped(n)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::width;

    #[test]
    fn times_have_one_format() {
        let times = [0.4, 340.0, 1_234.0, 12_340.0, 999_600.0, 3.4e6, 59.4e6, 59.6e6, 71e6];
        let wanted =
            ["0 µs", "340 µs", "1.2 ms", "12 ms", "1.0 s", "3.4 s", "59 s", "1m 0s", "1m 11s"];
        assert_eq!(times.map(micros), wanted);
        let long = [3_599e6, 3_600e6, 86_399e6, 86_400e6, 1e15];
        assert_eq!(long.map(micros), ["59m 59s", "1h 0m", "23h 59m", "1d 0h", "11574d"]);
        let mut n = 1.0;
        while n < 1e20 {
            assert!(width(&micros(n)) <= 7, "{n}");
            n *= 1.3;
        }
    }

    #[test]
    fn disk_space_is_in_powers_of_two() {
        let sizes = [0, 5 << 20, (1 << 30) - 1, 71 << 30, 2_000 << 30].map(disk_space);
        assert_eq!(sizes, ["0 MiB", "5 MiB", "1023 MiB", "71 GiB", "2,000 GiB"]);
    }

    #[test]
    fn one_is_not_a_plural() {
        assert_eq!([0, 1, 1_234].map(|n| plural(n, "line")), ["0 lines", "1 line", "1,234 lines"]);
    }
}
