//! Adapters for Redis (or Valkey).
//!
//! | module | contents |
//! | --- | --- |
//! | `connection` | connections, reconnects and timeouts |
//! | `queue` | the queue: lists and Lua scripts |
//! | `bus` | debug and live bus: channels, and a stream with the last lines |
//! | `figures` | the history of figures: hashes |
//! | `presence` | active sessions: sorted sets |
//! | `tokens` | the token store: a hash |

pub mod bus;
pub mod connection;
pub mod figures;
pub mod presence;
pub mod queue;
pub mod tokens;
