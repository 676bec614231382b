//! Shutdown with slow clients, and while a load balancer is still sending.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::support::{DEADLINE, Daemon, eventually, request};

const VIEWS: &str = "SELECT count() FROM page_view_event";

/// Starts a request and sends the first `sent` bytes of its body.
fn begin(daemon: &Daemon, sent: usize) -> TcpStream {
    let body = json!({ "url": "https://a.example/slow", "projectId": "default" }).to_string();
    let mut stream = TcpStream::connect(daemon.addr).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let head = format!(
        "POST /track HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
        daemon.addr,
        daemon.token(),
        body.len(),
        &body[..sent.min(body.len())]
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// Everything received until the connection was closed or reset.
fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn slow_clients_do_not_delay_shutdown() {
    let mut daemon = Daemon::with_settings("[http]\nbody_timeout = '1h'\nheader_timeout = '1h'");
    for _ in 0..10 {
        daemon.track("https://a.example/");
    }
    // Idle keep-alive connections, stalled bodies, and bodies sent byte by byte.
    let idle: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = begin(&daemon, usize::MAX);
            let mut answer = [0; 15];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200 OK");
            stream
        })
        .collect();
    let still: Vec<_> = (0..20).map(|_| begin(&daemon, 10)).collect();
    let dribbling: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = begin(&daemon, 0);
            let mut writer = stream.try_clone().unwrap();
            std::thread::spawn(move || {
                // White space before the JSON object, which is never sent.
                while writer.write_all(b" ").is_ok() {
                    std::thread::sleep(Duration::from_millis(200));
                }
            });
            stream.flush().unwrap();
            stream
        })
        .collect();
    daemon.signal(Signal::TERM);
    let began = Instant::now();
    let status = daemon.wait_exit(DEADLINE);
    // A forced shutdown exits with 1 after ten seconds.
    assert_eq!(status.code(), Some(0), "{}", daemon.stderr());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(
        daemon.stderr().contains("closing the connections of slow clients"),
        "{}",
        daemon.stderr()
    );
    for stream in still.into_iter().chain(dribbling) {
        let answer = rest(stream);
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    idle.into_iter().for_each(|stream| drop(rest(stream)));
    let daemon = daemon.restart();
    eventually(DEADLINE, "accepted events are stored", || daemon.scalar(VIEWS) == json!(30));
}

#[test]
fn a_stop_waits_for_the_load_balancer() {
    let mut daemon = Daemon::with_settings("shutdown_delay = '4s'");
    assert_eq!(daemon.get("/ready").status, 200);
    daemon.signal(Signal::TERM);
    eventually(DEADLINE, "it is no longer ready", || daemon.get("/ready").status == 503);
    let answer = daemon.get("/ready").json();
    assert_eq!(answer["reasons"], json!(["the process is stopping"]), "{answer}");
    // It still accepts events.
    daemon.track("https://a.example/");
    assert!(daemon.wait_exit(DEADLINE).success(), "{}", daemon.stderr());
    assert!(request(daemon.addr, "GET", "/ready", &[], b"").is_err());
    let daemon = daemon.restart();
    eventually(DEADLINE, "it is stored", || daemon.scalar(VIEWS) == json!(1));
}

#[test]
fn a_second_signal_ends_that_wait() {
    let mut daemon = Daemon::with_settings("shutdown_delay = '5m'");
    daemon.signal(Signal::TERM);
    eventually(DEADLINE, "it is no longer ready", || daemon.get("/ready").status == 503);
    daemon.signal(Signal::TERM);
    assert!(!daemon.wait_exit(DEADLINE).success());
}
