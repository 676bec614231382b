//! Buses between processes, over Redis' channels, which other parts of Bklit use as well.
//!
//! What this process publishes reaches its own subscribers at once, without Redis; what comes
//! back from there is recognised and left out. So a console sees its own pipeline also while
//! Redis is away, and learns of the gap in what the others do.

mod debug;
mod history;
mod live;
mod own_messages;
mod rate_limit;
mod relay;

pub use debug::RedisDebugBus;
pub use live::RedisLiveBus;
