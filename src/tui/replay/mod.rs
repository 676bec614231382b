//! Replay: plays a recording instead of a bus, with its own clock that can be paused, sped up and
//! set back.
//!
//! - `index`: positions from which a recording can be read
//! - `player`: the thread that plays it
//! - `reader`: reads the file line by line
//! - `recording`: the format

mod index;
mod player;
mod reader;
pub mod recording;

pub use player::Player;

#[cfg(test)]
mod tests;
