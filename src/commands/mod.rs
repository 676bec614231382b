//! The commands, one file or folder each.

pub mod attach;
pub mod completions;
pub mod doctor;
pub mod logs;
pub mod migrate;
pub mod queue;
pub mod replay;
pub mod simulate;
pub mod sql;
pub mod token;
pub mod verify;

use bklit_console::{ConsoleOptions, no_color};

use crate::config::Settings;

/// Options of a console on `source`, as the settings say. A `curl` line is added only where the
/// pipeline's token is known.
pub fn console_options(source: String, settings: &Settings) -> ConsoleOptions {
    ConsoleOptions {
        source,
        curl: None,
        settings: settings.console.clone(),
        alarm_depth: settings.queue.alarm_depth,
        no_color: no_color(|name| std::env::var(name).ok()),
        alerts: settings.alerts.clone(),
        alerts_are_told: false,
        data_dir: settings.data_dir.clone(),
        record: settings.record.clone(),
    }
}
