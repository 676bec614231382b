//! Addresses and data dirs that are wrong: no command creates or hides anything.

use std::net::TcpListener;

use crate::support::Cli;
use crate::support::pty::Pty;

/// A port on which nothing listens.
fn unused_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_console_creates_no_data_dir_that_was_mistyped() {
    let home = tempfile::tempdir().unwrap();
    let typo = home.path().join("typo/data");
    for arguments in [["attach", "http://127.0.0.1:1"], ["replay", "recording.jsonl"]] {
        let mut command = portable_pty::CommandBuilder::new(env!("CARGO_BIN_EXE_bklit-tui"));
        command.env_clear();
        command.env("HOME", home.path());
        command.env("TERM", "xterm-256color");
        command.args(arguments);
        command.args(["--data-dir", typo.to_str().unwrap()]);
        let mut pty = Pty::spawn(command, (150, 24));
        assert_eq!(pty.wait_for_exit(), Ok(1), "{arguments:?}");
        let contents = pty.contents();
        assert!(contents.contains("does not exist"), "{contents}");
        assert!(!home.path().join("typo").exists(), "{arguments:?}");
    }
}

#[test]
fn tokens_of_a_data_dir_that_does_not_exist_are_not_listed_as_none() {
    let cli = Cli::new();
    for arguments in
        [&["token", "list"][..], &["token", "list", "--json"], &["token", "revoke", "x"]]
    {
        let error = cli.run(arguments).failed();
        assert!(error.contains("no data in") && error.contains("--data-dir"), "{error}");
        assert!(!cli.data_dir().exists(), "{arguments:?}");
    }
    cli.run(&["token", "create", "--project", "p"]).ok();
    assert!(cli.run(&["token", "list"]).ok().contains('p'));
}

#[test]
fn a_pipeline_that_cannot_be_reached_is_named() {
    let url = format!("http://127.0.0.1:{}", unused_port());
    let cli = Cli::new();
    for arguments in [["refused", "list"].as_slice(), &["refused", "show", "1"]] {
        let error = cli.run(&[arguments, &["--url", &url]].concat()).failed();
        assert!(error.contains(&format!("cannot reach {url}: ")), "{error}");
        assert!(error.contains("start bklit-tui there"), "{error}");
    }
}
