//! Replay: a recording instead of a bus, with a clock of its own that can be held, hurried and set
//! back.

mod index;
mod player;
mod reader;
pub mod recording;

pub use player::Player;

#[cfg(test)]
mod tests;
