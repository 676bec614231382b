//! The answer to a query.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::slots::{OUTCOMES, Row, Slots};
use crate::history::FigureHistory;
use crate::metrics::Metrics;
use bklit_wire::history::{HistoryQuery, MINUTE};
use bklit_wire::time::UtcMillis;
use bklit_wire::who::{
    Dimension, MAX_ROWS, WhoCounts, WhoQuery, WhoRow, WhoSort, WhoSpan, WhoView,
};

/// How much earlier the figures are that it is compared with, in milliseconds.
const EARLIER: i64 = 60 * MINUTE;
/// How long the history may take, including the wait for other readers; without it, nothing is
/// compared.
const HISTORY_TIMEOUT: Duration = Duration::from_secs(2);

/// What this process has counted. Projects are compared with the history of figures as long as this
/// process has not run for an hour, if it has been the only one.
pub async fn answer(
    metrics: &Metrics,
    history: Option<&FigureHistory>,
    query: WhoQuery,
) -> WhoView {
    let now = UtcMillis::now();
    let mut view = metrics.who().view(query, now);
    view.process = metrics.process().to_owned();
    view.roles = metrics.about().roles;
    if view.before.is_none()
        && query.by == Dimension::Project
        && let Some(history) = history
        && let read = projects_before(history, &view.process, query.span, now)
        && let Ok(Some(before)) = timeout(HISTORY_TIMEOUT, read).await
    {
        before.apply(&mut view);
        sort(&mut view);
        view.others = others(&view);
    }
    view.rows.truncate(MAX_ROWS);
    view
}

/// What was counted until `now`. Has more than [`MAX_ROWS`] rows if there are more values.
pub(super) fn view(
    slots: &Slots,
    names: &HashMap<Arc<str>, Arc<str>>,
    query: WhoQuery,
    now: UtcMillis,
) -> WhoView {
    let at = now.epoch_millis();
    let row = slots.row(query.span);
    let last = row.number(at);
    let numbers = last - query.span.millis() / row.length() + 1..=last;
    let from = (numbers.start() * row.length()).max(row.from());
    let mut view = WhoView {
        query,
        from: Some(UtcMillis::from_epoch_millis(from)),
        to: Some(now),
        ..WhoView::default()
    };
    let mut counts: HashMap<&Arc<str>, WhoCounts> = HashMap::new();
    for slot in row.slots(numbers) {
        view.estimated |= slot.estimated;
        for outcome in 0..OUTCOMES {
            let sketch = slot.of(query.by, outcome);
            *place(&mut view.total, outcome) += sketch.total();
            *place(&mut view.missing, outcome) += sketch.missing();
            for (value, n) in sketch.iter() {
                *place(counts.entry(value).or_default(), outcome) += n;
            }
        }
    }
    let rows = counts.into_iter();
    view.rows = rows
        .map(|(value, counts)| WhoRow { value: (**value).into(), counts, ..WhoRow::default() })
        .collect();
    if let Some(before) = before(slots.row(WhoSpan::Hour), query, at) {
        before.apply(&mut view);
    }
    if query.by == Dimension::Token {
        for row in &mut view.rows {
            row.name = names.get(&*row.value).map(|name| (**name).to_owned());
        }
    }
    sort(&mut view);
    view.others = others(&view);
    view
}

fn place(counts: &mut WhoCounts, outcome: usize) -> &mut u64 {
    match outcome {
        0 => &mut counts.accepted,
        1 => &mut counts.refused,
        _ => &mut counts.failed,
    }
}

/// The events that are not in the first rows.
fn others(view: &WhoView) -> WhoCounts {
    let mut others = view.total;
    for row in view.rows.iter().take(MAX_ROWS) {
        others.accepted = others.accepted.saturating_sub(row.counts.accepted);
        others.refused = others.refused.saturating_sub(row.counts.refused);
        others.failed = others.failed.saturating_sub(row.counts.failed);
    }
    others
}

/// Accepted events an hour earlier.
struct Before {
    accepted: BTreeMap<String, u64>,
    total: u64,
    seconds: f64,
    /// Whether a value missing from `accepted` did not occur at all.
    is_complete: bool,
}

impl Before {
    /// Sets the earlier figures, and adds values that only occurred then.
    fn apply(mut self, view: &mut WhoView) {
        view.before = Some(self.total as f64 / self.seconds);
        let none = self.is_complete.then_some(0.0);
        for row in &mut view.rows {
            let before = self.accepted.remove(&row.value);
            row.before = before.map(|accepted| accepted as f64 / self.seconds).or(none);
        }
        view.rows.extend(self.accepted.into_iter().map(|(value, accepted)| WhoRow {
            value,
            before: Some(accepted as f64 / self.seconds),
            ..WhoRow::default()
        }));
    }
}

/// The slots with which a span is compared: for an hour the six before, else the one an hour ago.
fn earlier(row: &Row, span: WhoSpan, at: i64) -> RangeInclusive<i64> {
    let first = row.number(at - EARLIER);
    match span {
        WhoSpan::Hour => first - EARLIER / row.length() + 1..=first,
        WhoSpan::Minute | WhoSpan::TenMinutes => first..=first,
    }
}

/// What this process counted an hour earlier; `None` if that is not kept.
fn before(row: &Row, query: WhoQuery, at: i64) -> Option<Before> {
    let numbers = earlier(row, query.span, at);
    if row.from() > numbers.start() * row.length() {
        return None;
    }
    let slots_long = numbers.end() - numbers.start() + 1;
    let seconds = (slots_long * row.length()) as f64 / 1e3;
    let mut before = Before { accepted: BTreeMap::new(), total: 0, seconds, is_complete: true };
    for slot in row.slots(numbers) {
        let sketch = slot.of(query.by, 0);
        before.total += sketch.total();
        before.is_complete &= sketch.missing() == 0;
        for (value, n) in sketch.iter() {
            *before.accepted.entry((**value).to_owned()).or_default() += n;
        }
    }
    Some(before)
}

/// What the history says about the projects an hour earlier; `None` if there is nothing, or if several
/// processes share it, whose figures cannot be compared with those of one.
async fn projects_before(
    history: &FigureHistory,
    process: &str,
    span: WhoSpan,
    now: UtcMillis,
) -> Option<Before> {
    let at = |millis: i64| UtcMillis::from_epoch_millis(now.epoch_millis() - millis);
    let minute = Duration::from_millis(MINUTE.unsigned_abs());
    let read = async |from: i64, to: i64| {
        history.read(HistoryQuery::new(at(from), at(to), minute).ok()?).await.ok()
    };
    let running = read(MINUTE, 0).await?;
    if running.processes.iter().any(|seen| seen.process != process) {
        return None;
    }
    let length = span.millis().max(WhoSpan::TenMinutes.millis());
    let earlier = read(EARLIER + length - MINUTE, EARLIER).await?;
    if earlier.processes.len() != 1 || earlier.incomplete.is_some() {
        return None;
    }
    let seconds = (earlier.points.len() as i64 * MINUTE) as f64 / 1e3;
    let mut before = Before { accepted: BTreeMap::new(), total: 0, seconds, is_complete: true };
    for point in &earlier.points {
        before.total += point.totals.accepted;
        let mut named = 0;
        for project in &point.totals.projects {
            named += project.accepted;
            *before.accepted.entry(project.project.clone()).or_default() += project.accepted;
        }
        before.is_complete &= named >= point.totals.accepted;
    }
    Some(before)
}

/// Puts the rows in order. Ties are broken by the other counts, and finally by the value, so that
/// rows do not change places without a reason.
fn sort(view: &mut WhoView) {
    let seconds = view.seconds();
    let change = |row: &WhoRow| match row.before {
        Some(before) => (row.counts.accepted as f64 / seconds - before).abs(),
        None => 0.0,
    };
    let sort = view.query.sort;
    view.rows.sort_by(|a, b| {
        let order = match sort {
            WhoSort::Rate => Reverse(a.counts.accepted).cmp(&Reverse(b.counts.accepted)),
            WhoSort::Change => change(b).total_cmp(&change(a)),
            WhoSort::Refused => Reverse(a.counts.refused).cmp(&Reverse(b.counts.refused)),
            WhoSort::Failed => Reverse(a.counts.failed).cmp(&Reverse(b.counts.failed)),
        };
        let all = |row: &WhoRow| Reverse((row.counts.accepted, row.counts.sum()));
        order.then_with(|| all(a).cmp(&all(b))).then_with(|| a.value.cmp(&b.value))
    });
}
