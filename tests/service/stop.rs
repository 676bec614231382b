//! Stops while clients are slow, and while a load balancer still sends.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::support::{DEADLINE, Daemon, eventually, request};

const VIEWS: &str = "SELECT count() FROM page_view_event";

/// A request, of whose body `sent` bytes come now.
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

/// What came until the connection ended, one way or the other.
fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn slow_clients_do_not_hold_up_a_stop() {
    let mut daemon = Daemon::with_settings("[http]\nbody_timeout = '1h'\nheader_timeout = '1h'");
    for _ in 0..10 {
        daemon.track("https://a.example/");
    }
    // Connections that were used and are kept, bodies that stand still, bodies that dribble.
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
                // White space before the body's object, which never comes.
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
    // Forced it would end with 1, after ten seconds.
    assert_eq!(status.code(), Some(0), "{}", daemon.stderr());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(daemon.stderr().contains("slow clients are cut off"), "{}", daemon.stderr());
    for stream in still.into_iter().chain(dribbling) {
        let answer = rest(stream);
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    idle.into_iter().for_each(|stream| drop(rest(stream)));
    let daemon = daemon.restart();
    eventually(DEADLINE, "what was answered is stored", || daemon.scalar(VIEWS) == json!(30));
}

#[test]
fn a_stop_waits_for_the_load_balancer() {
    let mut daemon = Daemon::with_settings("shutdown_delay = '4s'");
    assert_eq!(daemon.get("/ready").status, 200);
    daemon.signal(Signal::TERM);
    eventually(DEADLINE, "it is not ready any more", || daemon.get("/ready").status == 503);
    let answer = daemon.get("/ready").json();
    assert_eq!(answer["reasons"], json!(["the process is stopping"]), "{answer}");
    // And yet it accepts what comes.
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
    eventually(DEADLINE, "it is not ready any more", || daemon.get("/ready").status == 503);
    daemon.signal(Signal::TERM);
    assert!(!daemon.wait_exit(DEADLINE).success());
}
