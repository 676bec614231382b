//! The terminal of a daemon is closed.

use std::path::Path;

use bklit_tui::app::data_dir::ADDRESS_FILE;
use portable_pty::CommandBuilder;

use crate::support::pty::Pty;
use crate::support::{DEADLINE, eventually, request};

/// The daemon from a shell in a terminal, after `begin`.
fn daemon(home: &Path, begin: &str) -> Pty {
    let mut command = CommandBuilder::new("/bin/sh");
    command.env_clear();
    command.env("HOME", home);
    command.cwd(home);
    let program = env!("CARGO_BIN_EXE_bklit-tui");
    command.args([
        "-c",
        &format!("{begin} exec {program} --no-ui --listen 127.0.0.1:0 --data-dir data 2>log"),
    ]);
    Pty::spawn(command, (80, 24))
}

fn address(home: &Path) -> std::net::SocketAddr {
    let mut address = None;
    eventually(DEADLINE, "it listens", || {
        let text = std::fs::read_to_string(home.join("data").join(ADDRESS_FILE));
        address = text.ok().and_then(|text| text.trim().parse().ok());
        address.is_some()
    });
    address.unwrap()
}

fn pid(home: &Path) -> rustix::process::Pid {
    let lock = std::fs::read_to_string(home.join("data/lock")).unwrap();
    rustix::process::Pid::from_raw(lock.trim().parse().unwrap()).unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn under_nohup_a_daemon_outlives_its_terminal() {
    let home = tempfile::tempdir().unwrap();
    // As `nohup` does, apart from redirecting the output.
    let mut pty = daemon(home.path(), "trap '' HUP;");
    let address = address(home.path());
    let pid = pid(home.path());
    pty.hang_up();
    for _ in 0..3 {
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
        assert_eq!(request(address, "GET", "/health", &[], b"").unwrap().status, 200);
    }
    let log = std::fs::read_to_string(home.path().join("log")).unwrap();
    assert!(!log.contains("stopping"), "{log}");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(pty.wait_for_exit(), Ok(0));
}

#[test]
fn without_nohup_a_daemon_shuts_down_when_its_terminal_is_closed() {
    let home = tempfile::tempdir().unwrap();
    let mut pty = daemon(home.path(), "");
    address(home.path());
    pty.hang_up();
    assert_eq!(pty.wait_for_exit(), Ok(0));
    assert!(!home.path().join("data").join(ADDRESS_FILE).exists());
}
