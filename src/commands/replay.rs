//! `replay`: opens the console on a recording.

use tokio_util::sync::CancellationToken;

use crate::cli::ReplayArgs;
use crate::config::Settings;
use bklit_console::replay::Player;
use bklit_console::{ConsoleEnd, Source};

/// Runs the console until the user quits or `shutdown` is cancelled.
///
/// # Errors
/// When the file is not a recording, or there is no terminal.
pub async fn run(
    args: &ReplayArgs,
    settings: &Settings,
    shutdown: CancellationToken,
) -> color_eyre::Result<ConsoleEnd> {
    bklit_console::require_terminal()?;
    let player = Player::start(&args.file, args.speed, settings.console.max_lines)?;
    let options = super::console_options(args.file.display().to_string(), settings);
    bklit_console::run(options, Source::Replay(player), None, shutdown).await
}
