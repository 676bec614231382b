//! ClickHouse: its engine behind an HTTP interface, in one process (`clickhouse-front`).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::process::Process;
use super::{free_port, provided};
use crate::support::{DEADLINE, eventually};

/// A dedicated ClickHouse, for fault injection. Killed when dropped. Starting one takes about a
/// second and 200 MB; without faults, [`ClickHouse::shared`] is enough.
pub struct ClickHouse {
    /// Its stdin is a pipe held by this process: when this process exits, it exits.
    process: Process,
    port: u16,
    account: Option<(String, String)>,
    /// Its time zone.
    zone: &'static str,
    data: PathBuf,
    /// `None` for the shared one, which is not dropped; it removes its data itself.
    _dir: Option<TempDir>,
}

/// A dedicated database on the shared server, dropped with this value.
pub struct Database {
    server: &'static ClickHouse,
    name: String,
}

impl ClickHouse {
    /// A server that only this test uses.
    pub fn own() -> Self {
        Self::in_zone("UTC")
    }

    /// A dedicated server in a time zone.
    pub fn in_zone(zone: &'static str) -> Self {
        Self::start(None, zone, Some(tempfile::tempdir().expect("a directory for the server")))
    }

    /// A dedicated server that requires this user and password.
    pub fn with_account(user: &str, password: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the server");
        Self::start(Some((user.into(), password.into())), "UTC", Some(dir))
    }

    /// A new database on the server that all tests of this run share.
    pub fn shared() -> Database {
        static SERVER: OnceLock<ClickHouse> = OnceLock::new();
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let server = SERVER.get_or_init(|| ClickHouse::start(None, "UTC", None));
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        server.query(&format!("CREATE DATABASE {name}"));
        Database { server, name }
    }

    /// `http://…`, without user and database.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Runs a statement in the database `default` and returns the result as text (tab
    /// separated unless the statement says otherwise). Panics when it fails.
    pub fn query(&self, sql: &str) -> String {
        let (status, body) = self.request("POST", "/", sql.as_bytes());
        assert_eq!(status, 200, "{sql}: {body}");
        body.trim_end_matches('\n').to_owned()
    }

    /// Turns a fault on, e.g. `json!({"match": "INSERT INTO page_view_event",
    /// "kind": "drop_after_commit", "times": 1})`; tests/clickhouse-front/src/fault.rs
    /// lists the kinds.
    #[allow(clippy::needless_pass_by_value)]
    pub fn fault(&self, fault: Value) {
        self.try_fault(&fault).expect("the server's response");
    }

    /// The same for a server that may be exiting.
    pub fn try_fault(&self, fault: &Value) -> std::io::Result<()> {
        let (status, body) = self.try_request("POST", "/fault", fault.to_string().as_bytes())?;
        assert_eq!(status, 200, "{body}");
        Ok(())
    }

    /// The faults that are on, with `seen` and `hits`.
    pub fn faults(&self) -> Vec<Value> {
        self.try_faults().expect("a list of faults")
    }

    /// The same for a server that may be exiting.
    pub fn try_faults(&self) -> std::io::Result<Vec<Value>> {
        let (_, body) = self.try_request("GET", "/fault", b"")?;
        serde_json::from_str(&body).map_err(std::io::Error::other)
    }

    /// Removes all faults; hanging requests are cut off.
    pub fn heal(&self) {
        self.try_heal().expect("the server's response");
    }

    /// The same for a server that may be exiting.
    pub fn try_heal(&self) -> std::io::Result<()> {
        assert_eq!(self.try_request("DELETE", "/fault", b"")?.0, 200);
        Ok(())
    }

    /// The statements that arrived, each with `sql`, `token`, `fault`, `outcome`, `rows`,
    /// `read`.
    pub fn log(&self) -> Vec<Value> {
        serde_json::from_str(&self.request("GET", "/log", b"").1).expect("a list of statements")
    }

    /// Whether it is still running; a `kill_…` fault ends it.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// Kills it, as a crash does.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Stops it, as an operator does.
    pub fn stop(&mut self) {
        self.process.stop(Signal::TERM);
    }

    /// Kills it if it is running, and starts it again on the same port and data.
    pub fn restart(&mut self) {
        self.kill9();
        // Its port may still be used by connections of the previous process.
        eventually(DEADLINE, "the server's restart", || self.launch());
    }

    /// Stops answering without closing anything (SIGSTOP).
    pub fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Continues after [`ClickHouse::freeze`].
    pub fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    fn start(account: Option<(String, String)>, zone: &'static str, dir: Option<TempDir>) -> Self {
        let data = match &dir {
            Some(dir) => dir.path().to_owned(),
            None => tempfile::tempdir().expect("a directory for the server").keep(),
        };
        let mut server =
            ClickHouse { process: Process::default(), port: 0, account, zone, data, _dir: dir };
        for _ in 0..20 {
            server.port = free_port();
            if server.launch() {
                return server;
            }
        }
        panic!("clickhouse-front does not start; its output is above");
    }

    /// False if it exited at once, as it does when the port is taken.
    fn launch(&mut self) -> bool {
        let address = self.data.join("front-address");
        let _ = std::fs::remove_file(&address);
        let mut command = Command::new(program());
        command
            .arg("--path")
            .arg(&self.data)
            .arg("--library")
            .arg(provided("BKLIT_TEST_LIBCHDB"))
            .args(["--listen", &format!("127.0.0.1:{}", self.port), "--exit-with-stdin"])
            .arg("--address-file")
            .arg(&address);
        if let Some((user, password)) = &self.account {
            command.args(["--user", user, "--password", password]);
        }
        if self._dir.is_none() {
            command.arg("--temporary");
        }
        let command = command.env("TZ", self.zone).stdin(Stdio::piped()).stdout(Stdio::null());
        self.process.launch(command, |_| address.exists())
    }

    fn request(&self, method: &str, path: &str, body: &[u8]) -> (u16, String) {
        self.try_request(method, path, body).expect("an answer")
    }

    fn try_request(&self, method: &str, path: &str, body: &[u8]) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let account = match &self.account {
            Some((user, password)) => {
                format!("X-ClickHouse-User: {user}\r\nX-ClickHouse-Key: {password}\r\n")
            }
            None => String::new(),
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: clickhouse\r\nConnection: close\r\n{account}\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let cut_off = || std::io::Error::other(format!("no answer: {answer:?}"));
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(cut_off)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.ok_or_else(cut_off)?, body.to_owned()))
    }
}

impl Database {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server's `http://…`, without the database.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Runs a statement in this database; see [`ClickHouse::query`].
    pub fn query(&self, sql: &str) -> String {
        let path = format!("/?database={}", self.name);
        let (status, body) = self.server.request("POST", &path, sql.as_bytes());
        assert_eq!(status, 200, "{sql}: {body}");
        body.trim_end_matches('\n').to_owned()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE {}", self.name);
        if !std::thread::panicking() {
            self.server.query(&drop);
        }
    }
}

/// Cargo puts it into the parent of the test program's directory.
fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("BKLIT_TEST_CLICKHOUSE_FRONT") {
        return program.into();
    }
    let test = std::env::current_exe().expect("this program");
    let program = test.parent().and_then(Path::parent).expect("target").join("clickhouse-front");
    assert!(
        program.exists(),
        "{} is missing; run scripts/test.sh, or cargo build -p clickhouse-front",
        program.display()
    );
    program
}
