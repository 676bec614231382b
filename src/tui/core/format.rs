//! Numbers formatted for people: short, with units, of a steady width.

use bklit_wire::numbers::scaled;
pub use bklit_wire::numbers::{bytes, grouped as count, micros, plural};

/// `1 line`, `1,234 lines`.
pub fn lines(n: u64) -> String {
    plural(n, "line")
}

/// At most five columns: `9,999`, `12 k`, `3 M`.
pub fn short_count(n: u64) -> String {
    match n {
        0..10_000 => count(n),
        10_000..1_000_000 => format!("{} k", n / 1_000),
        1_000_000..1_000_000_000 => format!("{} M", n / 1_000_000),
        _ => ">1 G".to_owned(),
    }
}

/// At most four columns: `999`, `12k`, `340k`, `3M`.
pub fn tiny_count(n: u64) -> String {
    match n {
        0..1_000 => n.to_string(),
        1_000..1_000_000 => format!("{}k", n / 1_000),
        1_000_000..1_000_000_000 => format!("{}M", n / 1_000_000),
        _ => ">1G".to_owned(),
    }
}

/// A rate per second, at most seven columns: `0/s`, `0.2/s`, `340/s`, `3.4 k/s`.
pub fn rate(per_second: f64) -> String {
    match per_second {
        n if n <= 0.0 => "0/s".to_owned(),
        n if n < 0.1 => "<0.1/s".to_owned(),
        n if n < 9.95 => trimmed(n, "/s"),
        n if n < 999.5 => format!("{n:.0}/s"),
        n if n < 999_500.0 => scaled(n / 1e3, " k/s"),
        n => scaled(n / 1e6, " M/s"),
    }
}

fn trimmed(n: f64, unit: &str) -> String {
    let digits = format!("{n:.1}");
    format!("{}{unit}", digits.strip_suffix(".0").unwrap_or(&digits))
}

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The last `seconds` of a history as bars, with gaps for missing values. The highest bar is the
/// maximum, or twice the median if all values are similar, so that steady values are shown as a
/// level line at half height.
pub fn sparkline(history: &[Option<u64>], seconds: usize) -> String {
    let recent = &history[history.len().saturating_sub(seconds)..];
    let mut sorted: Vec<u64> = recent.iter().flatten().copied().collect();
    sorted.sort_unstable();
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or(0);
    let most = sorted.last().copied().unwrap_or(0).max(median.saturating_mul(2)).max(1);
    let bar = |value: u64| {
        let height = (value as f64 / most as f64 * (BARS.len() - 1) as f64).round() as usize;
        BARS[height.min(BARS.len() - 1)]
    };
    recent.iter().map(|value| value.map_or(' ', bar)).collect()
}

/// A bar of `columns`, filled to a fraction: the filled and the empty part.
pub fn meter(fraction: f64, columns: usize) -> (String, String) {
    let filled = (fraction.clamp(0.0, 1.0) * columns as f64).round() as usize;
    ("━".repeat(filled), "─".repeat(columns - filled))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bklit_wire::text::width;

    #[test]
    fn numbers_are_short_and_have_units() {
        assert_eq!([count(0), count(999), count(1_234_567)], ["0", "999", "1,234,567"]);
        assert_eq!(short_count(12_345), "12 k");
        let rates = [0.0, 0.04, 0.2, 1.0, 340.4, 999.7, 3_400.0, 1.2e6].map(rate);
        assert_eq!(
            rates,
            ["0/s", "<0.1/s", "0.2/s", "1/s", "340/s", "1.0 k/s", "3.4 k/s", "1.2 M/s"]
        );
    }

    #[test]
    fn no_number_breaks_its_column() {
        let mut n = 1_u64;
        for _ in 0..64 {
            assert!(width(&short_count(n)) <= 5 && width(&tiny_count(n)) <= 4, "{n}");
            if n < 1_000_000_000 {
                assert!(width(&rate(n as f64)) <= 7, "{n}");
            }
            n = n.wrapping_mul(2).wrapping_add(1);
        }
    }

    #[test]
    fn bars_show_the_newest_last_and_gaps() {
        const SECONDS: usize = 60;
        let mut history = [None; SECONDS];
        history[SECONDS - 4..].copy_from_slice(&[Some(0), Some(50), None, Some(100)]);
        assert_eq!(sparkline(&history, 5), " ▁▅ █");
        assert_eq!(sparkline(&[Some(7); SECONDS], 3), "▅▅▅");
        assert_eq!(sparkline(&[None; SECONDS], 3), "   ");
        assert_eq!(sparkline(&history, 100).chars().count(), SECONDS);
        assert_eq!(meter(0.5, 4), ("━━".to_owned(), "──".to_owned()));
        assert_eq!(meter(7.0, 2).1, "");
    }
}
