//! `completions`: prints a shell's completion script.

use std::io::Write as _;

use clap::CommandFactory as _;
use clap_complete::Shell;
use color_eyre::eyre::WrapErr as _;

use crate::cli::Cli;

/// Prints the script for `shell`; a reader that is gone is no error.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(shell: Shell) -> color_eyre::Result<()> {
    // `generate` panics when it cannot write, so it writes into memory.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "bklit-tui", &mut script);
    let mut out = std::io::stdout().lock();
    match out.write_all(&script).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).wrap_err("cannot print the script")
        }
        _ => Ok(()),
    }
}
