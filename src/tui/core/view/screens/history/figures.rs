//! The figures of the selected time, next to those of an hour, a day and a week earlier.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::point_time;
use crate::format;
use crate::model::Model;
use crate::model::history::{Shift, Topic};
use crate::model::layout::below;
use crate::state::State;
use crate::view::draw::{put, put_right, row, rule, styled};
use bklit_wire::history::{MINUTE, MINUTES, Totals};
use bklit_wire::time::UtcMillis;

/// The columns of a name.
const NAME: usize = 9;
/// The columns of a value.
const VALUE: usize = 9;

/// A figure.
#[derive(Clone, Copy)]
enum Figure {
    /// Accepted events, or steps, per minute.
    Rate,
    /// Failed steps per minute.
    Failures,
    /// Refused events, or steps with a warning, per minute.
    Warnings,
    /// The largest number of waiting events.
    Waiting,
    /// The largest number of failed events.
    Failed,
    /// A latency.
    Quantile(f64),
}

/// A value as shown, and as a number to compare.
type Value = (String, f64);

impl Figure {
    fn all(topic: Topic) -> Vec<(&'static str, Self)> {
        let quantiles =
            [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)].map(|(name, q)| (name, Self::Quantile(q)));
        let counts = match topic {
            Topic::Pipeline => vec![
                ("accepted", Self::Rate),
                ("refused", Self::Warnings),
                ("failures", Self::Failures),
                ("waiting", Self::Waiting),
                ("failed", Self::Failed),
            ],
            Topic::Stage(_) => vec![
                ("rate", Self::Rate),
                ("warnings", Self::Warnings),
                ("failures", Self::Failures),
            ],
        };
        counts.into_iter().chain(quantiles).collect()
    }

    fn value(self, topic: Topic, totals: &Totals, seconds: f64) -> Option<Value> {
        // All in the same unit, so that they can be compared.
        let per_minute = |count: u64| {
            let rate = count as f64 * 60.0 / seconds;
            let count = match rate.ceil() as u64 {
                few @ ..1_000 => few.to_string(),
                many @ ..10_000 => format!("{:.1}k", many as f64 / 1e3),
                many => format::tiny_count(many),
            };
            Some((format!("{count}/min"), rate))
        };
        match self {
            Self::Rate => per_minute(topic.count(totals)),
            Self::Failures => per_minute(topic.errors(totals)),
            Self::Warnings => per_minute(topic.warnings(totals)),
            Self::Waiting => {
                let depth = totals.queue?.depth;
                Some((format::short_count(depth), depth as f64))
            }
            Self::Failed => {
                let failed = totals.queue?.failed;
                Some((format::short_count(failed), failed as f64))
            }
            Self::Quantile(share) => {
                let micros = topic.latencies(totals).quantile(share)? as f64;
                Some((format::micros(micros), micros))
            }
        }
    }

    /// How a value compares with an earlier one.
    fn state(self, model: &Model, now: f64, before: Option<f64>) -> State {
        match self {
            Self::Rate | Self::Warnings => State::Normal,
            Self::Failures | Self::Failed if now > 0.0 => State::Critical,
            Self::Failures | Self::Failed => State::Normal,
            Self::Waiting => State::depth(now as u64, model.alarm_depth()),
            Self::Quantile(_) => State::latency(now as u64, before.map(|before| before as u64)),
        }
    }
}

pub(super) fn render(model: &Model, buf: &mut Buffer, area: Rect) {
    let (theme, history) = (model.options.theme, &model.panels().history);
    rule(buf, row(area, 0), theme, &[styled("compared", theme.strong())], &[]);
    let inner = below(area, 1);
    let series = model.series();
    let place = match history.cursor {
        Some(at) => series.place(at),
        None => series.points.iter().rposition(Option::is_some),
    };
    let at = place.map(|place| series.time(place));
    let now =
        place.and_then(|place| Some((series.totals(place)?, series.seconds(place, model.now))));
    let before = Shift::ALL.map(|shift| earlier(model, shift, at?));
    let ends: [usize; 4] = std::array::from_fn(|nth| 1 + NAME + (nth + 1) * VALUE);
    let labels = row(inner, 0);
    let time = at.map_or("–".to_owned(), |at| point_time(model, history.span(), at));
    put_right(buf, labels, ends[0], VALUE - 1, &time, theme.key());
    for (end, shift) in ends.into_iter().skip(1).zip(Shift::ALL) {
        put_right(buf, labels, end, VALUE - 1, shift.name(), theme.dim());
    }
    for (nth, (name, figure)) in Figure::all(history.topic()).into_iter().enumerate() {
        let at = row(inner, nth + 1);
        put(buf, at, 1, NAME, name, theme.dim());
        let value = |of: Option<(&Totals, f64)>| {
            of.and_then(|(totals, seconds)| figure.value(history.topic(), totals, seconds))
        };
        let earlier = before.map(&value);
        let usual = earlier.iter().flatten().map(|(_, number)| *number).next();
        let current = value(now);
        let style = current
            .as_ref()
            .map_or(theme.dim(), |(_, number)| theme.state(figure.state(model, *number, usual)));
        let shown = |value: Option<Value>| value.map_or("–".to_owned(), |(text, _)| text);
        put_right(buf, at, ends[0], VALUE, &shown(current), style);
        for (end, value) in ends.into_iter().skip(1).zip(earlier) {
            put_right(buf, at, end, VALUE, &shown(value), theme.dim());
        }
    }
}

/// What was counted at an earlier time, and in how many seconds.
fn earlier(model: &Model, shift: Shift, at: UtcMillis) -> Option<(&Totals, f64)> {
    let history = model.panels().history.history(Some(shift))?;
    let step = history.step_ms.max(1);
    let then = (at.epoch_millis() - shift.millis()).div_euclid(step) * step;
    // A point that begins before the oldest minute has only part of its figures.
    let oldest = model.now.epoch_millis() - MINUTES as i64 * MINUTE;
    if then < oldest {
        return None;
    }
    Some((&history.point(then)?.totals, step as f64 / 1e3))
}
