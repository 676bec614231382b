//! What every adapter of a port must do: plain functions over the port, run against each adapter.

mod baseline;
mod bus;
mod queue;
mod store;
mod tokens;
