//! Dual-write verification: checks that queue and worker store the same as a direct insert would.
//!
//! While it is on, ingestion also passes each accepted event to a [`BaselineWriter`], which inserts it
//! directly. A [`LiveVerifier`] compares the events of this process once they had time to pass the
//! queue; [`reconcile`] compares a span of time afterwards. Both compare rows with [`compare`].
//!
//! - `compare`: the comparison itself, without I/O
//! - `live_verifier`: compares the events of this process as they settle
//! - `reconcile`: compares a span of time afterwards
//! - `rows`: reads the rows of events
//! - `settings`: the settings of verification
//! - `size`: estimates the memory of an event
//! - `writer`: writes the baseline

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
