//! `completions`: prints a shell's completion script, and answers that script's questions.
//!
//! The scripts that clap writes by itself do not match the words of a program whose name has a
//! dash in bash, and know nothing of lists with commas. So the script asks the program, which
//! reads the words typed so far as it would read its own arguments.

use std::io::Write as _;

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_complete::env::{CompleteEnv, Shells};
use color_eyre::eyre::{OptionExt as _, WrapErr as _};

use crate::cli::Cli;

const PROGRAM: &str = "bklit-tui";
/// The variable by which a script asks; it holds the name of the shell.
const VARIABLE: &str = "BKLIT_COMPLETE";

/// Answers a completion script and exits, if one asks. To be called before anything else.
pub fn answer() {
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).complete();
}

/// Prints the script for `shell`; a closed pipe is not an error.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(shell: Shell) -> color_eyre::Result<()> {
    let shell = shell.to_string();
    let shells = Shells::builtins();
    let completer = shells.completer(&shell).ok_or_eyre("this shell has no completions")?;
    let mut script = Vec::new();
    // The program is found by PATH, so that the script outlives an upgrade.
    completer.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)?;
    let mut out = std::io::stdout().lock();
    match out.write_all(&script).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).wrap_err("cannot print the script")
        }
        _ => Ok(()),
    }
}
