//! The event pipeline: `TrackRequest → Event → Batch → stored rows → LiveEvent`, and beside it
//! the debug log of every step. It knows its adapters only by their ports.

pub mod auth;
pub mod bus;
pub mod definitions;
pub mod event_lookup;
pub mod http;
pub mod intake;
pub mod local_backend;
pub mod metrics;
pub mod presence;
pub mod queue;
pub mod roles;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod verify;
pub mod websocket;
pub mod worker;
