//! The messages with which dual-write verification reports problems. The console collects them in
//! its verification view.

/// An event differs between the two paths.
pub const MISMATCH: &str = "Event does not match between systems";
/// More events differ than are reported one by one.
pub const MORE_MISMATCHES: &str = "More events do not match between systems";
/// Events that cannot be compared, because they were not written to the baseline.
pub const NOT_WRITTEN: &str = "Events not written to the baseline: the store is slow";
/// Events that cannot be compared at the moment.
pub const NOT_COMPARED: &str = "Cannot compare the systems now";

/// Whether a line with this message reports a problem found by verification.
pub fn is_finding(message: &str) -> bool {
    [MISMATCH, MORE_MISMATCHES, NOT_WRITTEN, NOT_COMPARED].contains(&message)
}
