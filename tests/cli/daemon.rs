//! The program as a daemon: start, stop, and refusing to start.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::support::servers::{Kind, RedisServer};
use crate::support::{Cli, DEADLINE, Daemon, eventually, request};

/// A request in flight: the head and half of the body are sent, and the server is reading.
struct HalfSent {
    stream: TcpStream,
    rest: Vec<u8>,
}

impl HalfSent {
    fn new(daemon: &Daemon) -> Self {
        let body = json!({ "url": "https://a.example/half", "projectId": "default" }).to_string();
        let (first, rest) = body.as_bytes().split_at(body.len() / 2);
        let mut stream = TcpStream::connect(daemon.addr).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let head = format!(
            "POST /track HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\
             Expect: 100-continue\r\nConnection: close\r\n\r\n",
            daemon.addr,
            daemon.token(),
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        // The server answers this once it is reading the body.
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on).unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(first).unwrap();
        Self { stream, rest: rest.to_vec() }
    }

    fn finish(mut self) -> String {
        self.stream.write_all(&self.rest).unwrap();
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

/// Waits until connections are refused: the daemon has started to shut down.
#[track_caller]
fn assert_stops_accepting(addr: SocketAddr) {
    eventually(DEADLINE, "new connections are refused", || TcpStream::connect(addr).is_err());
}

#[test]
fn the_first_start_creates_a_valid_token() {
    let daemon = Daemon::start();
    let file = daemon.data_dir().join("token");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let id = daemon.track("https://a.example/first");
    assert!(id.starts_with("evt_"), "{id}");
    eventually(DEADLINE, "the page view is stored", || {
        daemon.scalar("SELECT count() FROM page_view_event") == json!(1)
    });
    let token = daemon.token();
    let daemon = daemon.restart();
    assert_eq!(daemon.token(), token);
    daemon.track("https://a.example/second");
}

#[test]
fn health_has_the_fields_of_the_existing_system() {
    let daemon = Daemon::start();
    let health = daemon.get("/health").json();
    assert_eq!((&health["status"], &health["service"]), (&json!("ok"), &json!("ingestion")));
}

#[test]
fn a_kill_loses_no_accepted_event() {
    let mut daemon = Daemon::start();
    for _ in 0..3 {
        let before: Vec<_> = (0..20).map(|_| daemon.track("https://a.example/")).collect();
        daemon.kill9();
        daemon = daemon.restart();
        let list = before.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(",");
        let count = format!("SELECT count() FROM page_view_event WHERE id IN ({list})");
        eventually(DEADLINE, "all are stored", || daemon.scalar(&count) == json!(20));
    }
    assert_eq!(daemon.scalar("SELECT count() FROM page_view_event"), json!(60));
}

#[test]
fn either_signal_stops_it_in_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut daemon = Daemon::start();
        daemon.track("https://a.example/");
        // An open stream and an idle connection must not delay it.
        let mut stream = daemon.debug_stream();
        assert!(stream.next_data().unwrap().contains("connected"));
        let _idle = TcpStream::connect(daemon.addr).unwrap();
        daemon.signal(signal);
        // Well within the ten seconds after which shutdown would be forced.
        let status = daemon.wait_exit(Duration::from_secs(8));
        assert_eq!(status.code(), Some(0), "{signal:?}: {}", daemon.stderr());
        assert!(!daemon.data_dir().join("listen.addr").exists());
        while stream.next_data().is_some() {}
    }
}

#[test]
fn a_request_in_flight_is_finished_and_stored() {
    let mut daemon = Daemon::start();
    let half = HalfSent::new(&daemon);
    daemon.signal(Signal::TERM);
    assert_stops_accepting(daemon.addr);
    let answer = half.finish();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(daemon.wait_exit(DEADLINE).code(), Some(0), "{}", daemon.stderr());
    let daemon = daemon.restart();
    eventually(DEADLINE, "the page view is stored", || {
        daemon.scalar("SELECT count() FROM page_view_event") == json!(1)
    });
}

const PATIENT: &str = "shutdown_timeout = '1h'\n[http]\nbody_timeout = '1h'";

#[test]
fn a_second_signal_stops_it_at_once() {
    let mut daemon = Daemon::with_settings(PATIENT);
    let _half = HalfSent::new(&daemon);
    daemon.signal(Signal::TERM);
    assert_stops_accepting(daemon.addr);
    daemon.signal(Signal::TERM);
    assert!(!daemon.wait_exit(DEADLINE).success());
}

#[test]
fn the_deadline_forces_a_stop() {
    let settings = PATIENT.replacen("'1h'", "'300ms'", 1);
    let mut daemon = Daemon::with_settings(&settings);
    let _half = HalfSent::new(&daemon);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait_exit(DEADLINE).code(), Some(1));
    assert!(daemon.stderr().contains("longer than 300ms"), "{}", daemon.stderr());
}

#[test]
fn its_logs_have_no_colours_where_there_is_no_terminal() {
    let mut daemon = Daemon::start();
    daemon.track("https://a.example/");
    daemon.signal(Signal::TERM);
    daemon.wait_exit(DEADLINE);
    let (stdout, stderr) = (daemon.stdout(), daemon.stderr());
    assert!(!stderr.is_empty() && !stderr.contains('\x1b'), "{stderr:?}");
    assert!(stderr.contains(&daemon.addr.to_string()), "{stderr}");
    assert!(!format!("{stdout}{stderr}").contains(&daemon.token()[12..]), "{stdout}{stderr}");
}

#[test]
fn a_data_dir_belongs_to_one_process() {
    let daemon = Daemon::start();
    let cli = Cli::on(&daemon.data_dir());
    let error = cli.run(&["--no-ui", "--listen", "127.0.0.1:0"]).failed();
    assert!(error.contains(daemon.data_dir().to_str().unwrap()), "{error}");
    // The first one is not affected.
    daemon.track("https://a.example/");
    assert_eq!(daemon.get("/health").status, 200);
}

#[test]
fn an_address_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = Cli::new().run(&["--no-ui", "--listen", &address]).failed();
    assert!(error.contains(&address), "{error}");
}

#[test]
fn an_invalid_url_is_refused_with_its_source() {
    for (name, value) in [("REDIS_URL", "http://127.0.0.1:1"), ("CLICKHOUSE_HOST", "127.0.0.1:1")] {
        let error = Cli::new().env(name, value).run(&["--no-ui"]).failed();
        assert!(error.contains(name), "{error}");
    }
    let error = Cli::new().run(&["--no-ui", "--redis-url", "localhost"]).failed();
    assert!(error.contains("--redis-url"), "{error}");
}

#[test]
fn a_wrong_setting_is_refused_with_its_source() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.toml");
    std::fs::write(&file, "[worker]\nlease = 'soon'\n").unwrap();
    let error = Cli::new().run(&["--no-ui", "--config", file.to_str().unwrap()]).failed();
    assert!(error.contains("worker.lease") && error.contains("mine.toml"), "{error}");
    let cli = Cli::new().env("BKLIT_CONFIG", file.to_str().unwrap());
    let error = cli.run(&["token", "list"]).failed();
    assert!(error.contains("worker.lease") && error.contains("mine.toml"), "{error}");
    let error = Cli::new().env("INGESTION_PORT", "http").run(&["--no-ui"]).failed();
    assert!(error.contains("listen") && error.contains("INGESTION_PORT"), "{error}");
    let error = Cli::new().run(&["--no-ui", "--config", "/nowhere/bklit.toml"]).failed();
    assert!(error.contains("/nowhere/bklit.toml"), "{error}");
    assert!(!error.contains('\x1b'), "{error:?}");
}

#[test]
fn without_a_terminal_the_console_suggests_no_ui() {
    let error = Cli::new().run(&["--listen", "127.0.0.1:0"]).failed();
    assert!(error.contains("--no-ui"), "{error}");
}

#[test]
fn reading_needs_no_token_on_the_same_machine_and_writing_does() {
    let daemon = Daemon::start();
    assert_eq!(daemon.get("/metrics").status, 200);
    let body = json!({ "url": "https://a.example/", "projectId": "default" }).to_string();
    let headers = [("Content-Type", "application/json")];
    let answer = request(daemon.addr, "POST", "/track", &headers, body.as_bytes()).unwrap();
    assert_eq!(answer.status, 401, "{}", answer.text());
    assert!(answer.json()["error"].is_string());
    assert!(answer.header("content-type").is_some_and(|value| value.contains("json")));
}

#[test]
fn a_command_with_other_servers_than_the_pipeline_warns() {
    let redis = RedisServer::start(Kind::Valkey, &[]);
    let url = redis.url();
    let daemon = Daemon::with_environment("", &[("REDIS_URL", url.as_str())]);
    let create = ["token", "create", "--project", "shop", "--quiet"];
    let without = Cli::on(&daemon.data_dir()).run(&create);
    assert!(without.stderr.contains("other servers"), "{}", without.stderr);
    assert!(without.stderr.contains("in Redis") && without.stderr.contains("in the data dir"));
    let with = Cli::on(&daemon.data_dir()).run(&[&create[..], &["--redis-url", &url]].concat());
    assert_eq!((with.code, with.stderr.as_str()), (Some(0), ""));
}
