//! Notifications to the service manager over its socket.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{DEADLINE, Daemon};

fn receive(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 1024];
    let length = socket.recv(&mut buffer).expect("a message in time");
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

/// Reads until a message contains this line.
#[track_caller]
fn wait_for_line(socket: &UnixDatagram, line: &str) {
    while !receive(socket).lines().any(|received| received == line) {}
}

fn listen(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

#[test]
fn readiness_watchdog_status_and_stopping_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = listen(&path);
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "200000")];
    let mut daemon = Daemon::with_environment("", &environment);
    wait_for_line(&socket, "READY=1");
    for _ in 0..3 {
        wait_for_line(&socket, "WATCHDOG=1");
    }
    daemon.track("https://a.example/");
    wait_for_line(&socket, "STATUS=0 events wait, 0 failed");
    daemon.signal(Signal::TERM);
    wait_for_line(&socket, "STOPPING=1");
    assert!(daemon.wait_exit(DEADLINE).success(), "{}", daemon.stderr());
}

#[test]
fn a_stopped_process_sends_no_watchdog_notifications() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = listen(&path);
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "100000")];
    let daemon = Daemon::with_environment("", &environment);
    wait_for_line(&socket, "WATCHDOG=1");
    daemon.signal(Signal::STOP);
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut buffer = [0; 1024];
    // Messages in transit may still arrive; a running process would go on forever.
    let late = (0..100).take_while(|_| socket.recv(&mut buffer).is_ok()).count();
    assert!(late < 100, "it still sends notifications");
    daemon.signal(Signal::CONT);
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    wait_for_line(&socket, "WATCHDOG=1");
}

#[test]
fn a_vanished_manager_is_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = listen(&path);
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "20000")];
    let mut daemon = Daemon::with_environment("", &environment);
    wait_for_line(&socket, "READY=1");
    drop(socket);
    std::fs::remove_file(&path).unwrap();
    daemon.track("https://a.example/");
    daemon.signal(Signal::TERM);
    assert!(daemon.wait_exit(DEADLINE).success(), "{}", daemon.stderr());
}
