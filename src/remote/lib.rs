//! The client of a pipeline in another process.
//!
//! | module | contents |
//! | --- | --- |
//! | `backend` | the console's requests, over the HTTP API |
//! | `client` | the HTTP client |
//! | `sse` | the stream of debug lines |

pub mod backend;
pub mod client;
pub mod sse;
