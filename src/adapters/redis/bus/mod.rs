//! Buses between processes, over Redis channels that other parts of Bklit use as well.
//!
//! A message reaches this process's own subscribers directly, without Redis; the copy that comes
//! back from Redis is recognised and dropped. So a console shows its own pipeline even while Redis
//! is unavailable, and is informed about the gap in the other processes' messages.
//!
//! | file | contents |
//! | --- | --- |
//! | `debug.rs` | the debug bus: debug lines and gauges |
//! | `gap.rs` | lines missed while the connection was lost |
//! | `history.rs` | the stream with the last debug lines of all processes |
//! | `keeper.rs` | adds lines to it |
//! | `live.rs` | the live bus: stored events for dashboards |
//! | `relay.rs` | publishing, shared by both buses |
//! | `listener.rs` | subscribing, and counting other subscribers, shared by both buses |
//! | `own_messages.rs` | recognises this process's own messages |
//! | `rate_limit.rs` | limits the lines added to the stream without subscribers |

mod debug;
mod gap;
mod history;
mod keeper;
mod listener;
mod live;
mod own_messages;
mod rate_limit;
mod relay;

pub use debug::RedisDebugBus;
pub use live::RedisLiveBus;
