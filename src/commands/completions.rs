//! `completions`: prints a shell's completion script, and computes the completions for it.
//!
//! clap's static bash scripts fail for a program whose name has a dash, and they do not complete
//! comma-separated lists. So the script calls the program, which parses the words typed so far as
//! its own arguments.

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_complete::env::{CompleteEnv, Shells};
use color_eyre::eyre::{OptionExt as _, WrapErr as _};

use super::print;
use crate::cli::Cli;

const PROGRAM: &str = "bklit-tui";
/// The variable by which a script requests completions; it holds the name of the shell.
const VARIABLE: &str = "BKLIT_COMPLETE";

/// If a completion script called the program, prints the completions and exits. Call it first.
pub fn complete() {
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).complete();
}

/// Prints the script for `shell`; a closed pipe is not an error.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(shell: Shell) -> color_eyre::Result<()> {
    let shell = shell.to_string();
    let shells = Shells::builtins();
    let completer = shells.completer(&shell).ok_or_eyre("no completions for this shell")?;
    let mut script = Vec::new();
    // The script finds the program by PATH, so that it still works after an upgrade.
    completer.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)?;
    print(&String::from_utf8(script)?).wrap_err("cannot print the script")?;
    Ok(())
}
