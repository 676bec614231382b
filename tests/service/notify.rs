//! What the service manager is told, over its socket.

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

/// Reads until a message has this line.
#[track_caller]
fn told(socket: &UnixDatagram, line: &str) {
    while !receive(socket).lines().any(|said| said == line) {}
}

fn listen(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

#[test]
fn it_tells_that_it_is_ready_that_it_lives_and_that_it_stops() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = listen(&path);
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "200000")];
    let mut daemon = Daemon::with_environment("", &environment);
    told(&socket, "READY=1");
    for _ in 0..3 {
        told(&socket, "WATCHDOG=1");
    }
    daemon.track("https://a.example/");
    told(&socket, "STATUS=0 events wait, 0 failed");
    daemon.signal(Signal::TERM);
    told(&socket, "STOPPING=1");
    assert!(daemon.wait_exit(DEADLINE).success(), "{}", daemon.stderr());
}

#[test]
fn a_process_that_stands_still_gives_no_sign_of_life() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = listen(&path);
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "100000")];
    let daemon = Daemon::with_environment("", &environment);
    told(&socket, "WATCHDOG=1");
    daemon.signal(Signal::STOP);
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut buffer = [0; 1024];
    // What was under way may still come; a live process would go on for ever.
    let late = (0..100).take_while(|_| socket.recv(&mut buffer).is_ok()).count();
    assert!(late < 100, "it still tells");
    daemon.signal(Signal::CONT);
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    told(&socket, "WATCHDOG=1");
}

#[test]
fn a_manager_that_is_gone_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = listen(&path);
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "20000")];
    let mut daemon = Daemon::with_environment("", &environment);
    told(&socket, "READY=1");
    drop(socket);
    std::fs::remove_file(&path).unwrap();
    daemon.track("https://a.example/");
    daemon.signal(Signal::TERM);
    assert!(daemon.wait_exit(DEADLINE).success(), "{}", daemon.stderr());
}
