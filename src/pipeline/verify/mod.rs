//! Dual-write verification: whether the queue and the worker store what a direct insert would.
//!
//! While it is on, ingestion hands each accepted event to a [`BaselineWriter`], which inserts it
//! beside the queue. A [`LiveVerifier`] compares what this process wrote, once it had time to
//! pass the queue; [`reconcile`] compares a span of time after the fact. Both compare rows by
//! [`compare`].

mod compare;
mod live_verifier;
mod reconcile;
mod rows;
mod settings;
mod size;
mod writer;

pub use self::compare::{Discrepancy, FieldDifference, Pair, Verdict, compare, next_pair};
pub use self::live_verifier::{LiveVerifier, Pending, failed_reasons};
pub use self::reconcile::{Mismatch, PAGE, Plan, Report, VerifyError, reconcile};
pub use self::settings::VerifySettings;
pub use self::writer::{BaselineSender, BaselineWriter, Written};
