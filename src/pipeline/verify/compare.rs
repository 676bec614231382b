//! The comparison itself, without I/O: the rows of one event, and two sorted streams of rows.

use crate::metrics::Outcome;
use std::cmp::Ordering;
use std::collections::VecDeque;

use serde::Serialize;
use serde_json::{Value, json};

use crate::store::baseline::{Kind, Row, Side};

/// The longest value reported, in characters.
const MAX_VALUE: usize = 200;

/// The rows of one event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pair {
    /// As stored through queue and worker.
    pub queue: Vec<Row>,
    /// As inserted directly by ingestion.
    pub baseline: Vec<Row>,
}

/// The result of comparing an event's rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Exactly one row on each side, and they are equal.
    Matched,
    /// Anything else.
    Mismatched(Discrepancy),
}

/// What is wrong with an event.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Discrepancy {
    /// The number of rows stored through the queue; should be one.
    pub queue_rows: usize,
    /// The number of rows in the baseline.
    pub baseline_rows: usize,
    /// The fields that differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldDifference>,
}

impl Discrepancy {
    /// The outcome it is counted as.
    pub fn outcome(&self) -> Outcome {
        match (self.queue_rows, self.baseline_rows) {
            (0, _) => Outcome::MissingInQueue,
            (_, 0) => Outcome::MissingInBaseline,
            _ => Outcome::Different,
        }
    }
}

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldDifference {
    /// The column.
    pub field: &'static str,
    /// Its value through the queue.
    pub queue: Value,
    /// Its value in the baseline.
    pub baseline: Value,
}

impl Discrepancy {
    /// A short description.
    pub fn summary(&self) -> &'static str {
        match (self.queue_rows, self.baseline_rows) {
            (0, _) => "missing in the queue path",
            (_, 0) => "missing in the baseline",
            (1, 1) => "fields differ",
            (1, _) => "more than once in the baseline",
            _ => "stored more than once through the queue",
        }
    }
}

/// Compares the rows of one event.
pub fn compare(kind: Kind, pair: &Pair) -> Verdict {
    let fields = match (pair.queue.first(), pair.baseline.first()) {
        (Some(queue), Some(baseline)) => differences(kind, queue, baseline),
        _ => Vec::new(),
    };
    let (queue_rows, baseline_rows) = (pair.queue.len(), pair.baseline.len());
    if (queue_rows, baseline_rows) == (1, 1) && fields.is_empty() {
        return Verdict::Matched;
    }
    Verdict::Mismatched(Discrepancy { queue_rows, baseline_rows, fields })
}

fn differences(kind: Kind, queue: &Row, baseline: &Row) -> Vec<FieldDifference> {
    let columns = kind.table(Side::Queue).columns.iter();
    let cells = columns.zip(queue.cells.iter().zip(&baseline.cells));
    let differing = cells.filter(|(column, (queue, baseline))| {
        queue != baseline && !(column.name == "metadata" && same_json(queue, baseline))
    });
    differing
        .map(|(column, (queue, baseline))| FieldDifference {
            field: column.name,
            queue: clipped(queue),
            baseline: clipped(baseline),
        })
        .collect()
}

/// Another worker may write the same object with other whitespace or in another order.
fn same_json(one: &Value, other: &Value) -> bool {
    let read = |value: &Value| serde_json::from_str::<Value>(value.as_str()?).ok();
    read(one).is_some_and(|one| Some(one) == read(other))
}

fn clipped(value: &Value) -> Value {
    match value {
        Value::String(text) if text.chars().count() > MAX_VALUE => {
            json!(text.chars().take(MAX_VALUE).chain(['…']).collect::<String>())
        }
        value => value.clone(),
    }
}

/// Takes the rows of the next event from two streams that are sorted in the table's order. Each must
/// contain all rows that compare equal to its first.
pub fn next_pair(
    kind: Kind,
    queue: &mut VecDeque<Row>,
    baseline: &mut VecDeque<Row>,
) -> Option<Pair> {
    let order = match (queue.front(), baseline.front()) {
        (Some(one), Some(other)) => one.order(other, kind),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => return None,
    };
    let mut pair = Pair::default();
    if order.is_le() {
        pair.queue = take_group(kind, queue);
    }
    if order.is_ge() {
        pair.baseline = take_group(kind, baseline);
    }
    Some(pair)
}

/// Takes all rows that compare equal to the first.
fn take_group(kind: Kind, rows: &mut VecDeque<Row>) -> Vec<Row> {
    let mut group: Vec<Row> = rows.pop_front().into_iter().collect();
    while let (Some(first), Some(next)) = (group.first(), rows.front())
        && first.order(next, kind).is_eq()
    {
        group.extend(rows.pop_front());
    }
    group
}

#[cfg(test)]
mod tests;
