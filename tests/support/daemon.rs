//! The real program as a daemon with its own data dir and port.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::command::{self, Capture, Cli, Output};
use super::http::{Response, Stream, request};
use super::servers::free_port;
use super::{DEADLINE, eventually};

/// A running daemon; killed when it is dropped.
pub struct Daemon {
    program: PathBuf,
    dir: Arc<TempDir>,
    /// The address it was started with; by default any free port.
    listen: String,
    environment: Vec<(String, String)>,
    child: Child,
    stdout: Capture,
    stderr: Capture,
    /// The address of its HTTP server.
    pub addr: SocketAddr,
}

impl Daemon {
    /// Starts one on a new data dir and waits until it responds.
    #[track_caller]
    pub fn start() -> Self {
        Self::with_settings("")
    }

    /// The same with this config file.
    #[track_caller]
    pub fn with_settings(toml: &str) -> Self {
        Self::with_environment(toml, &[])
    }

    /// The same with these environment variables; empty ones are removed.
    #[track_caller]
    pub fn with_environment(toml: &str, environment: &[(&str, &str)]) -> Self {
        Self::of_build(Path::new(command::PROGRAM), toml, environment)
    }

    /// The same with this build of the program.
    #[track_caller]
    pub fn of_build(program: &Path, toml: &str, environment: &[(&str, &str)]) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        std::fs::write(dir.path().join("bklit.toml"), toml).unwrap();
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let environment = environment.iter().map(owned).collect();
        Self::launch(program.to_owned(), dir, "127.0.0.1:0".to_owned(), environment)
    }

    /// One whose addresses are the same after a restart.
    #[track_caller]
    pub fn on_lasting_ports(toml: &str) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        std::fs::write(dir.path().join("bklit.toml"), toml).unwrap();
        let [http, websocket] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
        let environment = vec![("BKLIT_WEBSOCKET_LISTEN".to_owned(), websocket)];
        Self::launch(command::PROGRAM.into(), dir, http, environment)
    }

    #[track_caller]
    fn launch(
        program: PathBuf,
        dir: Arc<TempDir>,
        listen: String,
        environment: Vec<(String, String)>,
    ) -> Self {
        let data_dir = dir.path().join("data");
        let address_file = data_dir.join("listen.addr");
        // A killed daemon leaves its address file.
        let _ = std::fs::remove_file(&address_file);
        let mut command = command::build(&program, dir.path());
        command
            .args(["--no-ui", "--listen", &listen, "--data-dir"])
            .arg(&data_dir)
            .arg("--config")
            .arg(dir.path().join("bklit.toml"))
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, _) in environment.iter().filter(|(_, value)| value.is_empty()) {
            command.env_remove(name);
        }
        let mut child = command.spawn().unwrap();
        let stdout = Capture::new(child.stdout.take().unwrap());
        let stderr = Capture::new(child.stderr.take().unwrap());
        let mut addr = None;
        eventually(DEADLINE, "the daemon listens", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the daemon ended with {status}:\n{}", stderr.text());
            }
            let text = std::fs::read_to_string(&address_file).unwrap_or_default();
            addr = text.strip_suffix('\n').and_then(|text| text.parse::<SocketAddr>().ok());
            addr.is_some()
        });
        let addr = addr.unwrap();
        let daemon = Self { program, dir, listen, environment, child, stdout, stderr, addr };
        eventually(DEADLINE, "GET /health answers 200", || {
            // Over TLS, this client gets the reason why not.
            let up = |status| status == 200 || status == 400;
            daemon.try_get("/health").is_ok_and(|answer| up(answer.status))
        });
        daemon
    }

    /// Kills it if it is running, and starts it again on the same data dir.
    #[track_caller]
    pub fn restart(mut self) -> Self {
        self.kill9();
        let dir = Arc::clone(&self.dir);
        let listen = std::mem::take(&mut self.listen);
        let environment = std::mem::take(&mut self.environment);
        let program = std::mem::take(&mut self.program);
        drop(self);
        Self::launch(program, dir, listen, environment)
    }

    /// Its data dir.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A directory for a test's own files, outside the data dir.
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// The address of its WebSocket server.
    #[track_caller]
    pub fn websocket_addr(&self) -> SocketAddr {
        let text = std::fs::read_to_string(self.data_dir().join("websocket.addr")).unwrap();
        text.trim().parse().unwrap()
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// The ingest token of the first start.
    #[track_caller]
    pub fn token(&self) -> String {
        let text = std::fs::read_to_string(self.data_dir().join("token")).unwrap();
        text.trim().to_owned()
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Its memory that is in RAM, in KiB.
    pub fn resident_kib(&self) -> u64 {
        super::resident_kib(self.child.id())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Kills it, if it is running, and waits until it has exited.
    pub fn kill9(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Waits until it exits.
    #[track_caller]
    pub fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        match command::wait(&mut self.child, deadline) {
            Some(status) => status,
            None => panic!("still running after {deadline:?}:\n{}", self.stderr()),
        }
    }

    /// What it has written to stderr.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// What it has written to stdout.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Sends a GET request.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.try_get(path).unwrap()
    }

    fn try_get(&self, path: &str) -> std::io::Result<Response> {
        request(self.addr, "GET", path, &[], b"")
    }

    /// The current queue; `/health` shows the figures of the last second.
    #[track_caller]
    pub fn queue(&self) -> Value {
        self.get("/api/queue").json()
    }

    /// Sends a JSON body with the token of the first start.
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Response {
        self.try_post(path, body).unwrap()
    }

    /// The same, with a missing response as an error.
    pub fn try_post(&self, path: &str, body: &Value) -> std::io::Result<Response> {
        let authorization = format!("Bearer {}", self.token());
        let headers =
            [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        request(self.addr, "POST", path, &headers, body.to_string().as_bytes())
    }

    /// Sends a page view of the project `default`; returns its id.
    #[track_caller]
    pub fn track(&self, url: &str) -> String {
        let answer =
            self.post("/track", &serde_json::json!({ "url": url, "projectId": "default" }));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["eventId"].as_str().unwrap().to_owned()
    }

    /// Opens the stream of debug logs.
    #[track_caller]
    pub fn debug_stream(&self) -> Stream {
        Stream::open(self.addr, "/api/debug-stream", &[])
    }

    /// The single value that a query on its store returns.
    #[track_caller]
    pub fn scalar(&self, sql: &str) -> Value {
        let lines = self.cli(&["sql", "--json", sql]);
        let row: serde_json::Map<String, Value> = serde_json::from_str(lines.trim()).unwrap();
        assert_eq!(row.len(), 1, "{row:?}");
        row.into_iter().next().unwrap().1
    }

    /// The output of a command with the same settings.
    #[track_caller]
    pub fn cli(&self, arguments: &[&str]) -> String {
        self.run(arguments).ok()
    }

    /// The result of a command with the same settings.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let config = self.dir.path().join("bklit.toml");
        let settings = ["--config", config.to_str().unwrap()];
        Cli::on(&self.data_dir()).run(&[arguments, &settings].concat())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the daemon's stderr:\n{}", self.stderr());
        }
    }
}
