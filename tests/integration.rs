//! All integration tests are one binary, so that it is linked once.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod browser;
mod cases;
mod cli;
mod conformance;
mod doctor;
mod faults;
mod fuzz;
mod hostile;
mod http;
mod intake;
mod postgres;
mod production;
mod project;
mod redis;
mod service;
mod sqlite;
mod support;
mod tui;
mod verify;
mod visitors;
mod websocket;
mod worker;
