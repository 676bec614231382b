//! The event pipeline: `TrackRequest → Event → Batch → stored rows → LiveEvent`, and the debug log of
//! every step. It uses its adapters only through their ports.
//!
//! - `auth`: tokens, and who may read and write what
//! - `bus`: the port for live events
//! - `definitions`: the port for definitions of custom events
//! - `event_lookup`: finds out where an event is
//! - `history`: figures by minute, and the port for where they are kept
//! - `http`: the HTTP server
//! - `intake`: accepts events from either server
//! - `local_backend`: what a console in the same process can query and change
//! - `metrics`: counters and gauges
//! - `presence`: the port for active sessions
//! - `queue`: the port for waiting events, and the spool in front of it
//! - `refused`: what was refused, and why
//! - `repeated`: folds log lines that repeat
//! - `roles`: which parts a process runs
//! - `server`: what both servers share
//! - `session_lookup`: finds the events of a session
//! - `sql`: queries that operators run on the store
//! - `store`: the port for stored events, their tables and rows
//! - `telemetry`: debug lines and health of every stage
//! - `throttle`: limits by project, token and address
//! - `time_bounds`: which timestamps are plausible
//! - `verify`: dual-write verification
//! - `websocket`: the WebSocket server
//! - `worker`: moves events from the queue to the store

pub mod auth;
pub mod bus;
pub mod definitions;
pub mod event_lookup;
pub mod history;
pub mod http;
pub mod intake;
pub mod local_backend;
pub mod metrics;
pub mod presence;
pub mod queue;
pub mod refused;
mod repeated;
pub mod roles;
pub mod server;
pub mod session_lookup;
pub mod sql;
pub mod store;
pub mod telemetry;
pub mod throttle;
pub mod time_bounds;
pub mod verify;
pub mod websocket;
pub mod who;
pub mod worker;
