//! Dual-write verification: whether the queue and the worker store what a direct insert would.
//!
//! While it is on, ingestion hands each accepted event to a [`BaselineWriter`], which inserts it
//! beside the queue. A [`LiveVerifier`] compares what this process wrote, once it had time to
//! pass the queue; [`reconcile`] compares a span of time after the fact. Both compare rows by
//! [`compare`].

mod compare;
mod figures;
mod live;
mod reconcile;
mod rows;
mod size;
mod writer;

/// An event that is not as it should be.
const MISMATCH: &str = "Event does not match between systems";
/// Of more of them than have a line of their own.
const MORE_MISMATCHES: &str = "More events do not match between systems";
/// Events of which nothing will be known.
const NOT_WRITTEN: &str = "Events not written to the baseline: the store is slow";
/// Events that are yet to be compared.
const NOT_COMPARED: &str = "Cannot compare the systems now";

/// Whether a line's message is one by which verification tells of something amiss.
pub fn is_finding(message: &str) -> bool {
    [MISMATCH, MORE_MISMATCHES, NOT_WRITTEN, NOT_COMPARED].contains(&message)
}

pub use self::compare::{Discrepancy, FieldDifference, Pair, Verdict, compare, next_pair};
pub use self::figures::{Outcome, VerifyFigures};
pub use self::live::{LiveVerifier, Pending, failed_reasons};
pub use self::reconcile::{Mismatch, PAGE, Plan, Report, VerifyError, reconcile};
pub use self::writer::{BaselineSender, BaselineWriter, Written};
