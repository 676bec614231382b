//! Groups lines by what they say: the same problem of many events is one group.
//!
//! - `groups`: a bounded set of groups, with counts
//! - `key`: what makes two lines the same
//! - `mask`: text without what differs from case to case

mod groups;
mod key;
mod mask;

pub use groups::{
    ByProject, Evicted, Group, Groups, LAST_LINES, MAX_GROUPS, MAX_PROJECTS, MINUTES,
};
pub use key::{GroupKey, MAX_PART, is_same, lines_of};
pub use mask::mask;

/// What failed events with this reason have in common: the reason, masked.
pub fn masked_reason(reason: &str) -> String {
    let mut masked = String::new();
    mask(&mut masked, &bklit_wire::text::safe(reason), MAX_PART);
    masked
}

#[cfg(test)]
mod tests;
