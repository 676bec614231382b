//! The program as a command.

use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::DEADLINE;

/// The program as it was built for these tests.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_bklit-tui");

/// The program, in an environment without this machine's settings.
pub fn program(home: &Path) -> Command {
    build(Path::new(PROGRAM), home)
}

/// The same with another build of it.
pub fn build(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home).env("TERM", "xterm-256color").current_dir(home);
    // Tests run in parallel, so each needs its own port.
    command.env("BKLIT_WEBSOCKET_LISTEN", "127.0.0.1:0");
    command
}

/// What has been read from a pipe, and the thread that reads.
pub struct Capture {
    text: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Capture {
    pub fn new(mut pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                sink.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Self { text, reader: Some(reader) }
    }

    /// What has been read.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap()).into_owned()
    }

    /// Everything, once the pipe is closed.
    pub fn all(mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.text()
    }
}

/// Waits until the child exits; `None` at the deadline.
pub fn wait(child: &mut Child, deadline: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if start.elapsed() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A command line to run.
pub struct Cli {
    home: tempfile::TempDir,
    data_dir: Option<PathBuf>,
    environment: Vec<(String, String)>,
    input: Option<String>,
}

/// The result of a command.
#[derive(Debug)]
pub struct Output {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Its stdout.
    pub stdout: String,
    /// Its stderr.
    pub stderr: String,
}

impl Output {
    /// Its stdout, if it succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.stdout
    }

    /// Its stderr, if it failed without a panic or a signal.
    #[track_caller]
    pub fn failed(self) -> String {
        assert!(self.code.is_some_and(|code| code != 0 && code != 101), "{self:#?}");
        self.stderr
    }
}

impl Cli {
    /// With its own data dir.
    pub fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { home, data_dir: None, environment: Vec::new(), input: None }
    }

    /// On this data dir.
    pub fn on(data_dir: &Path) -> Self {
        Self { data_dir: Some(data_dir.to_owned()), ..Self::new() }
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the text on its stdin.
    pub fn input(mut self, text: &str) -> Self {
        self.input = Some(text.to_owned());
        self
    }

    /// The data dir.
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| self.home.path().join("data"))
    }

    /// The command, not started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(self.home.path());
        command.env("BKLIT_DATA_DIR", self.data_dir());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it until it exits, at most [`DEADLINE`].
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut child = self.command(arguments).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        if let Some(text) = &self.input {
            // A command need not read it.
            let _ = stdin.write_all(text.as_bytes());
        }
        drop(stdin);
        let stdout = Capture::new(child.stdout.take().unwrap());
        let stderr = Capture::new(child.stderr.take().unwrap());
        let Some(status) = wait(&mut child, DEADLINE) else {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{arguments:?} did not end:\n{}\n{}", stdout.all(), stderr.all());
        };
        Output { code: status.code(), stdout: stdout.all(), stderr: stderr.all() }
    }
}
