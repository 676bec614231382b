//! To be written.

pub mod keymap;
pub mod model;
pub mod msg;
pub mod text;
pub mod theme;
pub mod update;
pub mod view;
