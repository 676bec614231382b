//! The console without its terminal. Nothing here does I/O, reads a clock, the time zone or the
//! environment, or depends on the rest of the console.
//!
//! - `appearance`: settings of theme, colours and characters
//! - `bulk`: changes of many failed events
//! - `diff`: the lines in which two texts differ
//! - `format`: numbers formatted for people
//! - `histories`: what was typed before
//! - `keymap`: the table of keys
//! - `model`: all the state
//! - `msg`: messages from the loop, and effects for it
//! - `playback`: the state of a replay, and its commands
//! - `remembered`: the layout of the last run
//! - `requests`: requests to the pipeline, and the answers
//! - `settings`: the console's settings
//! - `state`: how a value compares with what is normal
//! - `theme`: colours and emphasis
//! - `update`: changes the model
//! - `view`: draws the model
//!
//! ```text
//! bulk, diff, format, histories, remembered, state ◄─ theme, keymap, requests, playback ◄─ msg ◄─ model ◄─┬─ update
//!                                                                                                          └─ view
//! ```

pub mod appearance;
pub mod bulk;
pub mod diff;
pub mod format;
pub mod histories;
pub mod keymap;
pub mod model;
pub mod msg;
pub mod playback;
pub mod remembered;
pub mod requests;
pub mod settings;
pub mod state;
pub mod theme;
pub mod update;
pub mod view;
