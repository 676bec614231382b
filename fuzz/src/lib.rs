//! What is fuzzed. The targets panic if a guarantee is violated.

mod intake;
pub mod targets;
