//! The project as a whole: its structure and its documents.

mod architecture;
mod docs;
mod screens;
mod test_runner;
