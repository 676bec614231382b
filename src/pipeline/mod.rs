//! The event pipeline: `TrackRequest → Event → Batch → stored rows → LiveEvent`, and beside it
//! the debug log of every step.

pub mod auth;
pub mod backoff;
pub mod bus;
pub mod debug_log;
pub mod definitions;
pub mod event;
pub mod finding;
pub mod gauges;
pub mod http;
pub mod lookup;
pub mod metrics;
pub mod outage;
mod percent;
pub mod postgres;
pub mod queue;
pub mod redis;
pub mod sqlite;
pub mod stage_log;
pub mod store;
pub mod time;
pub mod tls;
pub mod verify;
pub mod websocket;
pub mod worker;
