//! The program `bklit-tui`: its command line, its settings, and the composition root that wires the
//! parts together. The parts are packages of their own beside it.

pub mod app;
pub mod cli;
pub mod client;
pub mod commands;
pub mod config;
pub mod logging;
