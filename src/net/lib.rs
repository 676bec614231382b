//! What all clients of servers share: which certificates to trust, how long to pause between
//! attempts, and how often to log a failure that lasts.

pub mod backoff;
pub mod log_throttle;
pub mod tls;
