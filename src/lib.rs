//! The program `bklit-tui`: its command line, its settings, and the composition root that wires the
//! other packages together.
//!
//! - `app`: the composition root
//! - `cli`: the command line
//! - `client`: the address and token of the pipeline that a command connects to
//! - `commands`: the subcommands
//! - `config`: settings from the config file, the environment and flags
//! - `logging`: the program's own log

pub mod app;
pub mod cli;
pub mod client;
pub mod commands;
pub mod config;
pub mod logging;
