//! Everything that crosses between processes, or between the pipeline and the console: the event and
//! its JSON, debug lines, figures, what the HTTP API returns, and the two ports at that boundary
//! ([`debug_bus`], [`backend`]). Beside them the text helpers that every part needs.
//!
//! Formats that other programs rely on are documented at the type; this package does no I/O.

pub mod backend;
pub mod debug_bus;
pub mod debug_log;
pub mod diagnostic;
pub mod duration;
pub mod event;
pub mod event_lookup;
pub mod gauges;
pub mod live_view;
pub mod numbers;
pub mod queue;
pub mod session;
pub mod setting;
pub mod table;
pub mod text;
pub mod time;
pub mod verification;
