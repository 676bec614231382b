//! Conformance tests: plain functions over a port, run against each of its adapters.

mod baseline;
mod bus;
mod figures;
mod queue;
mod store;
mod tokens;
