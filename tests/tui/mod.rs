mod console;
mod sse;
mod terminal;
//! The console, by messages in and screens out.

mod feed;
mod properties;
mod snapshots;
