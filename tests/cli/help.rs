//! `--help` and `completions`.

use bklit_tui::cli::Cli as Arguments;
use clap::{CommandFactory as _, ValueEnum as _};

use crate::support::{Cli, DEADLINE, eventually};

#[test]
fn help_lists_every_command_and_setting() {
    let help = Cli::new().run(&["--help"]).ok();
    let command = Arguments::command();
    for subcommand in command.get_subcommands() {
        assert!(help.contains(&format!("  {} ", subcommand.get_name())), "{help}");
    }
    for argument in command.get_arguments().filter_map(|argument| argument.get_long()) {
        assert!(help.contains(&format!("--{argument}")), "{argument} is not in\n{help}");
    }
    for variable in ["BKLIT_CONFIG", "BKLIT_DATA_DIR", "INGESTION_PORT", "REDIS_URL", "BKLIT_LOG"] {
        assert!(help.contains(variable), "{variable} is not in\n{help}");
    }
    assert!(!help.contains('\x1b'), "colours in a pipe: {help:?}");
}

#[test]
fn every_command_has_help() {
    for subcommand in Arguments::command().get_subcommands() {
        let help = Cli::new().run(&[subcommand.get_name(), "--help"]).ok();
        assert!(help.contains("Usage: bklit-tui"), "{help}");
    }
    let version = Cli::new().run(&["--version"]).ok();
    assert_eq!(version.trim(), format!("bklit-tui {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_mistyped_flag_is_an_error_with_a_suggestion() {
    let output = Cli::new().run(&["simulate", "--rat", "5"]);
    assert_eq!(output.code, Some(2));
    assert!(output.stderr.contains("--rate"), "{}", output.stderr);
    assert_eq!(Cli::new().run(&["frobnicate"]).code, Some(2));
}

#[test]
fn every_shell_has_completions() {
    for shell in clap_complete::Shell::value_variants() {
        let script = Cli::new().run(&["completions", &shell.to_string()]).ok();
        assert!(script.contains("BKLIT_COMPLETE") && script.contains("bklit-tui"), "{script}");
    }
    assert_eq!(Cli::new().run(&["completions", "cmd.exe"]).code, Some(2));
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let cli = Cli::new();
    let mut child = cli.command(&["completions", "bash"]).spawn().unwrap();
    drop(child.stdout.take());
    eventually(DEADLINE, "the command ends", || child.try_wait().unwrap().is_some());
    assert!(child.wait().unwrap().success());
}
