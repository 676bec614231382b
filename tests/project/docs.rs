//! The documentation against the program.
//!
//! Generated tables are brought up to date with
//! `BKLIT_UPDATE_DOCS=1 cargo test --test integration project::docs`.

mod commands;
mod console;
mod dependencies;
mod generated;
mod links;
mod metrics;
pub mod page;
mod routes;
mod service;
mod settings;
