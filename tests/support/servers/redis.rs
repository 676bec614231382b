//! A dedicated Redis or Valkey: its port, its directory, its faults.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::process::Process;
use super::{free_port, provided};
use crate::support::{DEADLINE, eventually};

/// Which server program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Valkey 9.1, which has `WAITAOF`.
    Valkey,
    /// Redis 7.0, which does not have it.
    Redis,
}

impl Kind {
    /// Both, for tests that run on each.
    pub const ALL: [Kind; 2] = [Kind::Valkey, Kind::Redis];

    fn program(self) -> PathBuf {
        match self {
            Kind::Valkey => provided("BKLIT_TEST_VALKEY"),
            Kind::Redis => provided("BKLIT_TEST_REDIS"),
        }
    }
}

/// A running server with an append-only file, killed when dropped.
pub struct RedisServer {
    kind: Kind,
    process: Process,
    port: u16,
    password: Option<String>,
    dir: TempDir,
}

impl RedisServer {
    /// Starts one on a free port, in its own directory. The lines of `config` are appended to
    /// `redis.conf` and override ours.
    pub fn start(kind: Kind, config: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the server");
        let password =
            config.iter().find(|(key, _)| *key == "requirepass").map(|(_, value)| (*value).into());
        let mut server = RedisServer { kind, process: Process::default(), port: 0, password, dir };
        for _ in 0..20 {
            server.port = free_port();
            server.write_config(config);
            if server.launch() {
                return server;
            }
        }
        panic!("{kind:?} did not start: {}", server.log());
    }

    /// `redis://…`, with the password when the config sets one.
    pub fn url(&self) -> String {
        match &self.password {
            Some(password) => format!("redis://:{password}@127.0.0.1:{}", self.port),
            None => format!("redis://127.0.0.1:{}", self.port),
        }
    }

    /// Its port, the same after restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of its append-only file.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Kills it, as a crash does: nothing is flushed.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Stops it, as an operator does.
    pub fn stop(&mut self) {
        self.process.stop(Signal::TERM);
    }

    /// Kills it if it is running, and starts it again on the same port and directory.
    pub fn restart(&mut self) {
        self.kill9();
        // Its port may still be used by connections of the previous process.
        eventually(DEADLINE, "the server's restart", || self.launch());
    }

    /// Stops answering without closing anything (SIGSTOP).
    pub fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Continues after [`RedisServer::freeze`].
    pub fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Runs one command with `redis-cli` and returns its output. Panics when the
    /// server returns an error.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let response = self.try_cli(arguments);
        response.unwrap_or_else(|error| panic!("redis-cli {arguments:?}: {error}"))
    }

    /// The same; an error of the server is returned.
    pub fn try_cli(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(provided("BKLIT_TEST_REDIS_CLI"));
        command.args(["-e", "--no-auth-warning", "-p", &self.port.to_string()]);
        if let Some(password) = &self.password {
            command.args(["-a", password]);
        }
        let output = command.args(arguments).output().expect("run redis-cli");
        let text = String::from_utf8(output.stdout).expect("text from redis-cli");
        if !output.status.success() {
            return Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr)));
        }
        Ok(text.trim_end_matches('\n').to_owned())
    }

    /// Whether it responds within a second.
    pub fn answers(&self) -> bool {
        info(self.port, self.password.as_deref()).is_some()
    }

    fn write_config(&self, config: &[(&str, &str)]) {
        let dir = self.dir.path().display();
        let mut text = format!(
            "bind 127.0.0.1\nport {}\ndir \"{dir}\"\nlogfile \"{dir}/log\"\ndaemonize no\n\
             save \"\"\nappendonly yes\nappendfsync everysec\n",
            self.port
        );
        for (key, value) in config {
            // Settings such as `save` take several words; passwords and paths are quoted.
            let quoted = value.is_empty() || value.contains('/');
            let quote = if quoted { "\"" } else { "" };
            writeln!(text, "{key} {quote}{value}{quote}").expect("write to a string");
        }
        std::fs::write(self.dir.path().join("redis.conf"), text).expect("write redis.conf");
    }

    /// False if the server exited at once, as it does when the port is taken.
    fn launch(&mut self) -> bool {
        let mut command = Command::new(self.kind.program());
        command
            .arg(self.dir.path().join("redis.conf"))
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let (port, password) = (self.port, self.password.as_deref());
        self.process.launch(&mut command, |id| {
            let pid = format!("process_id:{id}\r");
            // Another process may have taken the port, so check that the response is from this one.
            let is_up = |info: String| info.contains(&pid) && info.contains("\nloading:0");
            info(port, password).is_some_and(is_up)
        })
    }
}

fn info(port: u16, password: Option<&str>) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    let auth = password.map(|password| format!("AUTH {password}\r\n"));
    let request = format!("{}INFO\r\nQUIT\r\n", auth.unwrap_or_default());
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
