//! bklit-tui: a console for the event pipeline of Bklit, and that pipeline.
//!
//! - [`pipeline`]: `POST /track` → queue → worker → store → live events, and what it tells about
//!   itself. Knows nothing of the console.
//! - [`tui`]: the console. Knows of the pipeline only its wire types and ports.
//! - [`app`]: the composition root, the only place that names adapters.
//! - [`cli`], [`client`], [`config`], [`commands`], [`numbers`], [`telemetry`]: the program around
//!   them.

pub mod alerts;
pub mod app;
pub mod cli;
pub mod client;
pub mod commands;
pub mod config;
pub mod numbers;
pub mod pipeline;
pub mod telemetry;
pub mod tui;
