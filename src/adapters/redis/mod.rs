//! Adapters for Redis (or Valkey).
//!
//! | module | contents |
//! | --- | --- |
//! | `connection` | connections, reconnects and timeouts |
//! | `queue` | the queue: lists and Lua scripts |
//! | `bus` | debug and live bus: channels, and a stream with the last lines |
//! | `presence` | active sessions: sorted sets |
//! | `tokens` | the token store: a hash |

pub mod bus;
pub mod connection;
pub mod presence;
pub mod queue;
pub mod tokens;
