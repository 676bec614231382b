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

#[cfg(test)]
mod tests;
