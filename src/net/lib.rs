//! What all clients of servers share:
//!
//! - `backoff`: how long to pause between attempts
//! - `log_throttle`: how often to log a failure that lasts
//! - `server_url`: the parts of a server's URL, and mistakes in them
//! - `timeout`: how long a call may take
//! - `tls`: which certificates to trust

pub mod backoff;
pub mod log_throttle;
pub mod server_url;
pub mod timeout;
pub mod tls;
