//! Compares a span of time afterwards, from the tables alone.
//!
//! Both sides are read in the tables' order, a page at a time, and merged. Rows without a partner are
//! then looked up by id, regardless of time: the partner may have another time, or be just outside the
//! span. So memory depends on the size of a page, not on the span.

use std::collections::{HashMap, HashSet, VecDeque};

use super::compare::{Discrepancy, Pair, Verdict, compare, next_pair};
use super::rows;
use crate::metrics::Outcome;
use crate::store::StoreError;
use crate::store::baseline::{Baseline, EventKey, Gap, Kind, Pick, Row, Side, Span};

/// Rows read at a time.
pub const PAGE: usize = 2_000;

/// What to compare.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Events accepted in this span.
    pub span: Span,
    /// The time up to which events have had time to pass the queue, in seconds since the epoch; newer
    /// ones are left out.
    pub settled_until: i64,
    /// Rows read at a time, at least 1.
    pub page: usize,
}

/// An event that does not match.
#[derive(Clone, Debug, PartialEq)]
pub struct Mismatch {
    /// Its kind.
    pub kind: Kind,
    /// Its key.
    pub key: EventKey,
    /// What is wrong.
    pub found: Discrepancy,
}

/// The result of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Events that match.
    pub matched: u64,
    /// Events that were not stored through the queue.
    pub missing_in_queue_path: u64,
    /// Events that are not in the baseline.
    pub missing_in_baseline: u64,
    /// Events that differ, or are stored more than once.
    pub different: u64,
    /// Left out: events from before the baseline was started.
    pub before_baseline: u64,
    /// Left out: events recorded as not written to the baseline.
    pub not_written: u64,
    /// Left out: events that are too new.
    pub not_settled: u64,
    /// When the baseline begins, in seconds since the epoch; `None` if it is empty.
    pub baseline_begins: Option<i64>,
}

impl Report {
    /// Events that do not match.
    pub fn mismatched(&self) -> u64 {
        self.missing_in_queue_path + self.missing_in_baseline + self.different
    }

    /// Events that were compared.
    pub fn compared(&self) -> u64 {
        self.matched + self.mismatched()
    }
}

/// Why a comparison was aborted. It says nothing about the events.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is nothing to compare with.
    #[error(
        "no baseline to compare with; run the pipeline with --dual-write (dual_write = \
         true) for as long as you want to compare"
    )]
    NoBaseline,
    /// The store returned rows in another order than requested.
    #[error("the store returns the rows of {0} in the wrong order, so they cannot be compared")]
    Disorder(&'static str),
}

/// Compares both sides; calls `mismatch` for each event that does not match.
///
/// # Errors
/// [`VerifyError`]: then nothing is verified, whatever was reported before.
pub async fn reconcile(
    store: &dyn Baseline,
    plan: &Plan,
    mismatch: &mut (dyn FnMut(Mismatch) + Send),
) -> Result<Report, VerifyError> {
    if !store.exists().await? {
        return Err(VerifyError::NoBaseline);
    }
    let mut report = Report::default();
    for kind in Kind::ALL {
        let begins = store.extent(kind).await?.map(|[begins, _]| begins);
        report.baseline_begins = report.baseline_begins.into_iter().chain(begins).min();
    }
    let requested = &plan.span;
    // Nothing was written to the baseline before its first row.
    let since =
        requested.since.max(report.baseline_begins.unwrap_or(requested.until)).min(requested.until);
    let until = requested.until.min(plan.settled_until).max(since);
    let span = Span { since, until, ..requested.clone() };
    let gaps = store.gaps(&span).await?;
    for kind in Kind::ALL {
        let before = Span { until: since, ..requested.clone() };
        report.before_baseline += store.count(Side::Queue, kind, &before).await?;
        let young = Span { since: until, ..requested.clone() };
        let mut counts = [0; 2];
        for (count, side) in counts.iter_mut().zip(Side::ALL) {
            *count = store.count(side, kind, &young).await?;
        }
        report.not_settled += counts[0].max(counts[1]);
        let mut merge =
            Merge { store, kind, span: &span, gaps: &gaps, report: &mut report, mismatch };
        merge.run(plan.page.max(1)).await?;
    }
    Ok(report)
}

/// The comparison of one table.
struct Merge<'a> {
    store: &'a dyn Baseline,
    kind: Kind,
    span: &'a Span,
    gaps: &'a [Gap],
    report: &'a mut Report,
    mismatch: &'a mut (dyn FnMut(Mismatch) + Send),
}

impl Merge<'_> {
    async fn run(&mut self, page: usize) -> Result<(), VerifyError> {
        let mut sides = Side::ALL.map(|side| Pages::new(side, self.kind, page));
        let mut alone = Vec::new();
        loop {
            for pages in &mut sides {
                pages.fill(self.store, self.span).await?;
            }
            let [queue, baseline] = &mut sides;
            let Some(pair) = next_pair(self.kind, &mut queue.rows, &mut baseline.rows) else {
                return self.look_up(alone).await;
            };
            match (pair.queue.first(), pair.baseline.first()) {
                (Some(row), Some(_)) => {
                    let key = row.key(self.kind);
                    self.judge(key, &pair);
                }
                _ => alone.push(pair),
            }
            if alone.len() >= page {
                self.look_up(std::mem::take(&mut alone)).await?;
            }
        }
    }

    /// Looks up the partners of events found on one side only, whenever they were accepted.
    async fn look_up(&mut self, alone: Vec<Pair>) -> Result<(), VerifyError> {
        if alone.is_empty() {
            return Ok(());
        }
        let kind = self.kind;
        let first = |pair: &Pair| pair.queue.first().or(pair.baseline.first()).cloned();
        let firsts: Vec<Row> = alone.iter().filter_map(first).collect();
        let keys: HashSet<_> = firsts.iter().map(|row| row.key(kind)).collect();
        let keys: Vec<_> = keys.into_iter().collect();
        let mut found: HashMap<EventKey, Pair> = HashMap::new();
        for side in Side::ALL {
            rows::collect(self.store, side, kind, &keys, &[], &mut found).await?;
        }
        for (pair, row) in alone.iter().zip(firsts) {
            let key = row.key(kind);
            let Some(now) = found.get(&key) else { continue };
            let elsewhere = |other: &&Row| {
                let at = other.created_at(kind);
                (self.span.since..self.span.until).contains(&at) && other.order(&row, kind).is_ne()
            };
            // Its partner is in the span and is judged there.
            if pair.queue.is_empty() && now.queue.iter().any(|other| elsewhere(&other)) {
                continue;
            }
            if let Some(now) = found.remove(&key) {
                self.judge(key, &now);
            }
        }
        Ok(())
    }

    fn judge(&mut self, key: EventKey, pair: &Pair) {
        let found = match compare(self.kind, pair) {
            Verdict::Matched => {
                self.report.matched += 1;
                return;
            }
            Verdict::Mismatched(found) => found,
        };
        let accepted = pair.queue.first().map_or(0, |row| row.created_at(self.kind));
        let in_gap = || self.gaps.iter().any(|gap| (gap.since..=gap.until).contains(&accepted));
        match found.outcome() {
            Outcome::MissingInBaseline if found.queue_rows == 1 && in_gap() => {
                self.report.not_written += 1;
                return;
            }
            Outcome::MissingInQueue => self.report.missing_in_queue_path += 1,
            Outcome::MissingInBaseline => self.report.missing_in_baseline += 1,
            _ => self.report.different += 1,
        }
        (self.mismatch)(Mismatch { kind: self.kind, key, found });
    }
}

/// One side's rows, a page at a time.
struct Pages {
    side: Side,
    kind: Kind,
    page: usize,
    rows: VecDeque<Row>,
    last: Option<Row>,
    done: bool,
}

impl Pages {
    fn new(side: Side, kind: Kind, page: usize) -> Self {
        Self { side, kind, page, rows: VecDeque::new(), last: None, done: false }
    }

    /// Reads the next page when no row is left. Rows that compare equal are never split.
    async fn fill(&mut self, store: &dyn Baseline, span: &Span) -> Result<(), VerifyError> {
        let (mut most, mut seen) = (self.page, 0);
        while self.rows.is_empty() && !self.done {
            let pick = Pick::Span { span, after: self.last.as_ref(), most };
            let read = store.read(self.side, self.kind, pick).await?;
            self.check_order(&read.rows)?;
            self.rows = read.rows.into();
            if !read.truncated {
                self.done = true;
                break;
            }
            let read = self.rows.len();
            // If no more can be read of one key, that many rows of one event are wrong anyway.
            if read > seen {
                self.drop_last_group();
            }
            // Only rows of one key: read more of them.
            (most, seen) = (most.saturating_mul(2), read);
        }
        if let Some(last) = self.rows.back() {
            self.last = Some(last.clone());
        }
        Ok(())
    }

    /// The last key of the page may have more rows: it is read again with the next page.
    fn drop_last_group(&mut self) {
        let Some(last) = self.rows.pop_back() else { return };
        while self.rows.back().is_some_and(|row| row.order(&last, self.kind).is_eq()) {
            self.rows.pop_back();
        }
    }

    /// Detects rows that are not in order: paging could otherwise run in a circle.
    fn check_order(&self, rows: &[Row]) -> Result<(), VerifyError> {
        let kind = self.kind;
        let follows = self.last.as_ref().zip(rows.first());
        let in_order = follows.is_none_or(|(last, first)| last.order(first, kind).is_lt())
            && rows.is_sorted_by(|one, other| one.order(other, kind).is_le());
        if in_order { Ok(()) } else { Err(VerifyError::Disorder(kind.table(self.side).name)) }
    }
}
