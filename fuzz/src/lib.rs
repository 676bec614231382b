//! What is fuzzed. The targets panic if a promise is broken.

mod intake;
pub mod targets;
