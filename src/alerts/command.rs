//! Runs the user's command on an alert. The alert is passed in environment variables, never on the
//! command line: a shell must not interpret untrusted data.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process_group};

use super::{Alert, Kind, State};
use bklit_wire::time::UtcMillis;

/// The longest a command may run.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// The shortest time between two runs for the same kind of alert in the same state.
const PAUSE: Duration = Duration::from_secs(60);
/// How often to check whether the command has ended.
const POLL: Duration = Duration::from_millis(20);
/// Bytes of its standard error that are kept for the message about a failure; it may write more.
const MAX_KEPT: usize = 300;
/// Bytes of its standard error read at a time.
const READ: usize = 64 * 1024;

/// Runs the command: one process at a time, and at most once a minute for each kind and state.
pub struct Runner {
    command: String,
    source: String,
    timeout: Duration,
    is_running: Arc<AtomicBool>,
    last: HashMap<(Kind, State), Instant>,
}

impl Runner {
    /// For alerts about `source`.
    pub fn new(command: String, source: String) -> Self {
        let is_running = Arc::new(AtomicBool::new(false));
        Self { command, source, timeout: TIMEOUT, is_running, last: HashMap::new() }
    }

    /// Starts the command unless it is running or was run too recently. `ended` is called with the
    /// result, on a separate thread. Returns whether the command was started.
    pub fn run(
        &mut self,
        state: State,
        alert: &Alert,
        count: u64,
        ended: impl FnOnce(Result<(), String>) + Send + 'static,
    ) -> bool {
        let recent = |at: &Instant| at.elapsed() < PAUSE;
        if self.last.get(&(alert.kind, state)).is_some_and(recent)
            || self.is_running.swap(true, Ordering::AcqRel)
        {
            return false;
        }
        self.last.insert((alert.kind, state), Instant::now());
        let mut command = self.prepared(state, alert, count);
        let (is_running, timeout) = (Arc::clone(&self.is_running), self.timeout);
        let work = move || {
            let outcome = command.spawn().map_err(|error| error.to_string());
            let outcome = outcome.and_then(|child| wait(child, timeout));
            is_running.store(false, Ordering::Release);
            ended(outcome);
        };
        let started = std::thread::Builder::new().name("alert command".into()).spawn(work);
        if started.is_err() {
            self.is_running.store(false, Ordering::Release);
        }
        started.is_ok()
    }

    fn prepared(&self, state: State, alert: &Alert, count: u64) -> Command {
        let since = UtcMillis::from_epoch_millis(alert.since.saturating_mul(1000));
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(&self.command)
            .env("BKLIT_ALERT_KIND", alert.kind.as_str())
            .env("BKLIT_ALERT_STATE", state.as_str())
            .env("BKLIT_ALERT_MESSAGE", alert.message.replace('\0', ""))
            .env("BKLIT_ALERT_VALUE", alert.value.to_string())
            .env("BKLIT_ALERT_LIMIT", alert.limit.to_string())
            .env("BKLIT_ALERT_SINCE", since.to_string())
            .env("BKLIT_ALERT_COUNT", count.to_string())
            .env("BKLIT_ALERT_SOURCE", self.source.replace('\0', ""))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Its own process group: all its children can be killed, and Ctrl-C does not reach it.
            .process_group(0);
        command
    }
}

/// Waits for the command to end, and kills its process group after `timeout`.
fn wait(mut child: Child, timeout: Duration) -> Result<(), String> {
    let deadline = Instant::now() + timeout;
    let mut errors = Errors::new(child.stderr.take());
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break status,
            None if Instant::now() < deadline => errors.read_within(POLL),
            None => {
                end_group(&child);
                let _ = child.wait();
                return Err(format!("it took longer than {} s", timeout.as_secs()));
            }
        }
    };
    if status.success() {
        return Ok(());
    }
    let text = errors.kept();
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    Err(if line.is_empty() { status.to_string() } else { format!("{status}: {line}") })
}

fn end_group(child: &Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// The command's standard error. All of it is read, so that the command never blocks on a full
/// pipe; the beginning is kept.
struct Errors {
    /// `None` at the end of the stream.
    pipe: Option<ChildStderr>,
    kept: Vec<u8>,
}

impl Errors {
    fn new(pipe: Option<ChildStderr>) -> Self {
        let without_waiting = |pipe: &ChildStderr| {
            let flags = fcntl_getfl(pipe).ok()?;
            fcntl_setfl(pipe, flags | OFlags::NONBLOCK).ok()
        };
        Self { pipe: pipe.filter(|pipe| without_waiting(pipe).is_some()), kept: Vec::new() }
    }

    /// Reads once, as soon as there is something to read, for at most `time`.
    fn read_within(&mut self, time: Duration) {
        let Some(pipe) = &self.pipe else { return std::thread::sleep(time) };
        let timeout = Timespec::try_from(time).ok();
        // An interrupted poll counts as nothing to read.
        let _ = poll(&mut [PollFd::new(pipe, PollFlags::IN)], timeout.as_ref());
        self.read();
    }

    /// Whether there was something to read.
    fn read(&mut self) -> bool {
        let Some(pipe) = &mut self.pipe else { return false };
        let mut bytes = [0; READ];
        match pipe.read(&mut bytes) {
            Ok(length @ 1..) => {
                let room = MAX_KEPT - self.kept.len();
                self.kept.extend_from_slice(&bytes[..length.min(room)]);
                return true;
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Ok(0) | Err(_) => self.pipe = None,
        }
        false
    }

    /// The beginning, including what is already in the pipe. Does not wait for the end of the
    /// stream, because a background process of the command may keep the pipe open.
    fn kept(&mut self) -> String {
        while self.kept.len() < MAX_KEPT && self.read() {}
        String::from_utf8_lossy(&self.kept).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(kind: Kind, message: &str) -> Alert {
        Alert { kind, value: 7, limit: 3, message: message.into(), since: 1_769_860_800 }
    }

    fn runner(command: &str) -> Runner {
        Runner::new(command.into(), "embedded".into())
    }

    fn run(runner: &mut Runner, alert: &Alert) -> Option<Result<(), String>> {
        let (sender, receiver) = std::sync::mpsc::channel();
        let runs =
            runner.run(State::Raised, alert, 2, move |outcome| sender.send(outcome).unwrap());
        runs.then(|| receiver.recv_timeout(Duration::from_secs(20)).unwrap())
    }

    #[test]
    fn facts_are_in_the_environment_and_never_in_the_command() {
        let dir = tempfile::tempdir().unwrap();
        let (out, evil) = (dir.path().join("out"), dir.path().join("evil"));
        let message = format!("$(touch {0}) `touch {0}`; touch {0} \"'\0", evil.display());
        let mut runner = runner(&format!("env | grep ^BKLIT_ALERT_ | sort > {}", out.display()));
        assert_eq!(run(&mut runner, &alert(Kind::QueueDepth, &message)), Some(Ok(())));
        let text = std::fs::read_to_string(&out).unwrap();
        let wanted = format!(
            "BKLIT_ALERT_COUNT=2\nBKLIT_ALERT_KIND=queue-depth\nBKLIT_ALERT_LIMIT=3\n\
             BKLIT_ALERT_MESSAGE={}\nBKLIT_ALERT_SINCE=2026-01-31T12:00:00.000Z\n\
             BKLIT_ALERT_SOURCE=embedded\nBKLIT_ALERT_STATE=raised\nBKLIT_ALERT_VALUE=7\n",
            message.replace('\0', "")
        );
        assert_eq!(text, wanted);
        assert!(!evil.exists());
    }

    #[test]
    fn once_a_minute_for_each_kind_and_one_at_a_time() {
        let mut runner = runner("true");
        assert_eq!(run(&mut runner, &alert(Kind::Store, "")), Some(Ok(())));
        assert_eq!(run(&mut runner, &alert(Kind::Store, "")), None);
        assert_eq!(run(&mut runner, &alert(Kind::Lines, "")), Some(Ok(())));
        runner.is_running.store(true, Ordering::Release);
        assert_eq!(run(&mut runner, &alert(Kind::NoEvents, "")), None);
    }

    #[test]
    fn a_failure_is_reported_with_its_output() {
        let mut failing = runner("echo cannot reach the pager >&2; sleep 60 & exit 3");
        let error = run(&mut failing, &alert(Kind::Store, "")).unwrap().unwrap_err();
        assert!(error.contains('3') && error.ends_with("cannot reach the pager"), "{error}");
    }

    #[test]
    fn a_command_may_write_more_than_a_pipe_holds() {
        let write = "head -c 1000000 /dev/zero | tr '\\0' x";
        let started = Instant::now();
        let mut talkative = runner(&format!("{write}; echo first >&2; {write} >&2"));
        assert_eq!(run(&mut talkative, &alert(Kind::Store, "")), Some(Ok(())));
        let mut failing = runner(&format!("{write}; echo first >&2; {write} >&2; exit 3"));
        let error = run(&mut failing, &alert(Kind::Store, "")).unwrap().unwrap_err();
        assert!(error.ends_with(": first") && error.contains('3'), "{error}");
        assert!(started.elapsed() < TIMEOUT, "{:?}", started.elapsed());
    }

    #[test]
    fn no_more_is_kept_than_is_shown() {
        let mut endless = runner("head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 3");
        let error = run(&mut endless, &alert(Kind::Store, "")).unwrap().unwrap_err();
        assert_eq!(error.matches('x').count() - "exit".matches('x').count(), MAX_KEPT, "{error}");
    }

    #[test]
    fn a_command_that_never_stops_writing_is_killed_in_time() {
        let mut endless = runner("exec yes >&2");
        endless.timeout = Duration::from_secs(1);
        let error = run(&mut endless, &alert(Kind::Store, "")).unwrap().unwrap_err();
        assert!(error.contains("longer than 1 s"), "{error}");
    }

    #[test]
    fn a_command_that_takes_too_long_is_killed_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let mut slow = runner(&format!("sleep 600 & echo $! > {}; wait", pid.display()));
        slow.timeout = Duration::from_secs(1);
        let error = run(&mut slow, &alert(Kind::Store, "")).unwrap().unwrap_err();
        assert!(error.contains("longer than 1 s"), "{error}");
        let pid: i32 = std::fs::read_to_string(pid).unwrap().trim().parse().unwrap();
        let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The process and its new parent may need a moment.
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while !stat().is_empty() && !stat().contains(") Z ") {
            assert!(std::time::Instant::now() < deadline, "{}", stat());
            std::thread::yield_now();
        }
    }
}
