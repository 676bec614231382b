//! SQLite: the embedded default.

pub mod file;
pub mod queue;
pub mod store;
pub mod tokens;
