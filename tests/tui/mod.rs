//! The console: the model, tested by its messages and screens, and the program in a terminal.

mod appearance;
mod connection;
mod console;
mod edits;
mod feed;
mod freshness;
mod hints;
mod history;
mod incidents;
mod jumps;
mod lists;
mod mouse;
mod palette;
mod problems;
mod processes;
mod properties;
mod regressions;
mod remembered;
mod repair;
mod requests;
mod sessions;
mod shell;
mod snapshots;
mod space;
mod sql;
mod sql_input;
mod sql_program;
mod sse;
mod terminal;
mod timeline;
mod traces;
mod views;
mod who;
mod wrapping;

pub use requests::attach;
