//! The console, by messages in and screens out, and as a program in a terminal.

mod asking;
mod console;
mod feed;
mod hints;
mod history;
mod honest;
mod incidents;
mod jumps;
mod lists;
mod looks;
mod mouse;
mod palette;
mod problems;
mod processes;
mod properties;
mod regressions;
mod sessions;
mod shell;
mod snapshots;
mod sse;
mod terminal;
mod traces;
mod views;
