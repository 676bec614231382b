//! A change of many failed events in progress.

use crate::bulk::{End, Operation, Plan, Progress, Which, contains};
use crate::format;
use crate::model::Model;
use crate::model::grouping::masked_reason;
use bklit_wire::queue::FailedView;
use bklit_wire::time::UtcMillis;

/// Chooses the events of a plan, page by page.
#[derive(Debug)]
pub struct Chooser {
    which: Which,
    until: Option<UtcMillis>,
}

impl Chooser {
    /// Begins with the newest event.
    pub fn new(plan: &Plan) -> Self {
        Self { which: plan.which.clone(), until: plan.until }
    }

    /// Whether an event is one of them. Of marked events that are the same, only the first is.
    pub fn chooses(&mut self, item: &FailedView) -> bool {
        if item.failed_at.is_some_and(|at| self.until.is_some_and(|until| at > until)) {
            return false;
        }
        match &mut self.which {
            Which::With(text) => contains(item, text),
            Which::Reason(reason) => masked_reason(&item.reason) == **reason,
            Which::Marked(marks) => marks.take(item),
        }
    }

    /// Whether no further event can be one of them.
    pub fn is_done(&self) -> bool {
        matches!(&self.which, Which::Marked(marks) if marks.count() == 0)
    }
}

/// A plan that is being carried out, or has been.
#[derive(Clone, Debug)]
pub struct Bulk {
    /// The plan.
    pub plan: Plan,
    /// The progress.
    pub progress: Progress,
    /// When it began, by the wall clock.
    pub since: UtcMillis,
    /// Whether the user wants to stop it.
    pub is_stopping: bool,
    /// The result, once it has ended.
    pub result: Option<String>,
}

impl Bulk {
    /// Begins a plan.
    pub fn new(plan: Plan, since: UtcMillis) -> Self {
        Self { plan, progress: Progress::default(), since, is_stopping: false, result: None }
    }

    /// The number of events changed, or checked while none has been chosen, and the total.
    pub fn done_of(&self) -> (u64, u64) {
        let Progress { seen, done, .. } = self.progress;
        (if self.plan.known.is_exact { done } else { seen }, self.plan.goal())
    }

    /// `41,200 of 100,000 events`, `1 event`
    fn amount(&self) -> String {
        let Progress { chosen, done, .. } = self.progress;
        let all = if self.plan.known.is_exact { self.plan.known.count } else { chosen };
        match done == all {
            true => format::plural(done, "event"),
            false => format!("{} of {}", format::count(done), format::plural(all, "event")),
        }
    }

    /// The result when all events were checked: what was done, and for how many it was not.
    fn complete(&self, path: Option<&str>) -> String {
        let (operation, Progress { chosen, done, invalid, .. }) =
            (&self.plan.operation, self.progress);
        let gone = clause(chosen.saturating_sub(done + invalid), "no longer in the failed queue");
        let missing = clause(self.plan.known.count.saturating_sub(chosen), "more were not found");
        let (events, done) = (format::plural(done, "event"), operation.done());
        match (operation, path) {
            (Operation::Export(_), Some(path)) => format!("{events} {done} to {path}{missing}"),
            (Operation::Edit(_), None) if chosen == 0 => {
                "nothing changed: the rule changes none of those still in the failed queue"
                    .to_owned()
            }
            (_, None) if chosen == 0 => {
                "nothing changed: they are no longer in the failed queue".to_owned()
            }
            _ => {
                let invalid = clause(invalid, INVALID);
                let originals = path.map(|path| format!("; the originals are in {path}"));
                let originals = originals.unwrap_or_default();
                format!("{events} {done}{invalid}{gone}{missing}{originals}")
            }
        }
    }

    /// The result as text.
    pub fn outcome(&self, end: &End) -> String {
        let (operation, Progress { seen, done, invalid, .. }) =
            (&self.plan.operation, self.progress);
        let invalid = clause(invalid, INVALID);
        let looked = match self.plan.known.is_exact {
            true => String::new(),
            false => {
                let (seen, total) = (format::count(seen), format::count(self.plan.total));
                format!(" ({seen} of {total} failed events checked)")
            }
        };
        match (end, operation) {
            (End::Done(path), _) => self.complete(path.as_deref()),
            (End::Previewed(_), _) | (End::Stopped, Operation::Preview(_)) => "stopped".to_owned(),
            (End::Stopped, Operation::Export(_)) => "stopped; nothing was written".to_owned(),
            (End::Stopped, _) => {
                format!("{} {}{invalid}, stopped{looked}", self.amount(), operation.done())
            }
            (End::Failed(why), Operation::Export(_)) => format!("not exported: {why}"),
            (End::Failed(why), _) if done == 0 => format!("cannot {}: {why}", operation.verb()),
            (End::Failed(why), _) => {
                format!("{} {}{invalid}, then: {why}{looked}", self.amount(), operation.done())
            }
        }
    }
}

const INVALID: &str = "not valid and left as they were";

/// The number of events with another outcome, if there are any.
fn clause(events: u64, what: &str) -> String {
    match events {
        0 => String::new(),
        events => format!("; {} {what}", format::count(events)),
    }
}

impl Model {
    /// The change of many failed events, while it runs and until its result has been seen.
    pub fn bulk(&self) -> Option<&Bulk> {
        self.bulk.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bulk::{Known, Marks};
    use bklit_wire::queue::EventView;

    fn item(body: &str, reason: &str, at: i64) -> FailedView {
        let failed_at = Some(UtcMillis::from_epoch_millis(at));
        let (id, event) = ("1".into(), EventView::default());
        FailedView { id, event, failed_at, reason: reason.into(), body: body.into() }
    }

    fn plan(which: Which, until: i64) -> Plan {
        Plan {
            operation: Operation::Retry,
            which,
            known: Known { count: 3, is_exact: true },
            total: 9,
            until: Some(UtcMillis::from_epoch_millis(until)),
        }
    }

    #[test]
    fn events_are_chosen_by_text_reason_or_mark_and_not_if_they_failed_later() {
        let chooses =
            |which: &Which, item: &FailedView| Chooser::new(&plan(which.clone(), 5)).chooses(item);
        let with = Which::With("larg".into());
        assert!(chooses(&with, &item("x", "Too LARGE", 5)));
        assert!(!chooses(&with, &item("x", "Too LARGE", 6)), "it failed after the question");
        assert!(!chooses(&with, &item("x", "small", 5)));
        assert!(chooses(&Which::With(String::new()), &item("x", "small", 5)));
        let reason = Which::Reason(masked_reason("row 17 is bad").into());
        assert!(chooses(&reason, &item("x", "row 4711 is bad", 1)));
        assert!(!chooses(&reason, &item("x", "row 4711 is worse", 1)));
        let mut marks = Marks::default();
        marks.toggle(&item("a", "r", 1));
        marks.toggle(&item("b", "r", 1));
        marks.toggle(&item("b", "r", 1));
        let mut chooser = Chooser::new(&plan(Which::Marked(marks), 5));
        assert!(!chooser.chooses(&item("b", "r", 1)) && !chooser.is_done());
        let moved = FailedView { id: "another".into(), ..item("a", "r", 1) };
        assert!(chooser.chooses(&moved) && chooser.is_done());
        assert!(!chooser.chooses(&item("a", "r", 1)), "one of two that are the same");
    }

    #[test]
    fn the_result_says_what_was_done() {
        let bulk =
            |operation: Operation, known: Known, (seen, chosen, done): (u64, u64, u64)| Bulk {
                progress: Progress { seen, chosen, done, invalid: 0 },
                ..Bulk::new(
                    Plan { operation, known, total: 100_000, ..plan(Which::With("".into()), 0) },
                    UtcMillis::MIN,
                )
            };
        let exact = Known { count: 100_000, is_exact: true };
        let some = Known { count: 5_000, is_exact: false };
        let half = || bulk(Operation::Retry, exact, (41_500, 41_500, 41_200));
        let says = "41,200 of 100,000 events put back into the queue, stopped";
        assert_eq!(half().outcome(&End::Stopped), says);
        let says = "41,200 of 100,000 events put back into the queue, then: no answer";
        assert_eq!(half().outcome(&End::Failed("no answer".into())), says);
        let group = bulk(Operation::Delete, some, (62_000, 7, 7));
        let says = "7 events deleted, stopped (62,000 of 100,000 failed events checked)";
        assert_eq!(group.outcome(&End::Stopped), says);
        let all = bulk(Operation::Delete, some, (100_000, 9, 7));
        let says = "7 events deleted; 2 no longer in the failed queue; 4,991 more were not found";
        assert_eq!(all.outcome(&End::Done(None)), says);
        let none = bulk(Operation::Retry, exact, (0, 0, 0));
        assert_eq!(none.outcome(&End::Failed("refused".into())), "cannot retry: refused");
        assert!(none.outcome(&End::Done(None)).contains("nothing changed"));
        let one = Known { count: 1, is_exact: true };
        let file = bulk(Operation::Export("x".into()), one, (1, 1, 1));
        assert_eq!(file.outcome(&End::Done(Some("/x".into()))), "1 event written to /x");
        assert_eq!(file.outcome(&End::Stopped), "stopped; nothing was written");
        let file = bulk(Operation::Export("x".into()), some, (9, 4_000, 4_000));
        let says = "4,000 events written to /x; 1,000 more were not found";
        assert_eq!(file.outcome(&End::Done(Some("/x".into()))), says);
    }

    #[test]
    fn the_result_of_a_rule_says_what_was_not_changed() {
        let edits = |chosen, done, invalid| Bulk {
            progress: Progress { seen: 90, chosen, done, invalid },
            ..Bulk::new(
                Plan {
                    operation: Operation::Edit("remove x".parse().unwrap()),
                    known: Known { count: 60, is_exact: true },
                    ..plan(Which::With("".into()), 0)
                },
                UtcMillis::MIN,
            )
        };
        let kept = End::Done(Some("/kept".into()));
        let says = "30 events edited and put back into the queue; 5 not valid and left as they were; \
                    15 no longer in the failed queue; 10 more were not found; \
                    the originals are in /kept";
        assert_eq!(edits(50, 30, 5).outcome(&kept), says);
        let says = "60 events edited and put back into the queue; the originals are in /kept";
        assert_eq!(edits(60, 60, 0).outcome(&kept), says);
        let says = "nothing changed: the rule changes none of those still in the failed queue";
        assert_eq!(edits(0, 0, 0).outcome(&End::Done(None)), says);
    }
}
