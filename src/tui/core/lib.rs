//! The console without its terminal: the model, what changes it and what draws it, the keys, and
//! the messages that cross the border to the loop. Nothing here does I/O, reads a clock, the time
//! zone or the environment, or depends on the rest of the console.
//!
//! ```text
//! format, theme, keymap, requests, playback ◄─ msg ◄─ model ◄─┬─ update
//!                                                                   └─ view
//! ```

pub mod appearance;
pub mod format;
pub mod keymap;
pub mod model;
pub mod msg;
pub mod playback;
pub mod requests;
pub mod settings;
pub mod theme;
pub mod update;
pub mod view;
