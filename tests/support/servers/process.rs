//! The process of a server: start, stop, kill, signals.

use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{DEADLINE, eventually};

/// How long a server may take to start, or to read its data again, on a busy machine.
const START_DEADLINE: Duration = Duration::from_secs(120);

/// A process, if one was started; killed when this value is dropped.
#[derive(Default)]
pub(super) struct Process(Option<Child>);

impl Process {
    /// Starts it in place of the current one and waits until `ready`, called with its process id.
    /// False if it exited before, as a server does whose port is taken.
    pub(super) fn launch(&mut self, command: &mut Command, ready: impl Fn(u32) -> bool) -> bool {
        self.kill9();
        let child = self.0.insert(command.spawn().expect("start the server"));
        let mut ended = false;
        eventually(START_DEADLINE, "the server's start", || {
            ended = child.try_wait().expect("wait").is_some();
            ended || ready(child.id())
        });
        if ended {
            self.0 = None;
        }
        !ended
    }

    /// Its process id. Panics if it was not started.
    pub(super) fn id(&self) -> u32 {
        self.0.as_ref().expect("a running server").id()
    }

    /// Whether it is still running.
    pub(super) fn is_running(&mut self) -> bool {
        self.0.as_mut().is_some_and(|child| child.try_wait().expect("wait").is_none())
    }

    /// Kills it, as a crash does.
    pub(super) fn kill9(&mut self) {
        if let Some(mut child) = self.0.take() {
            child.kill().expect("kill the server");
            child.wait().expect("the killed server");
        }
    }

    /// Stops it with a signal and waits until it has exited.
    pub(super) fn stop(&mut self, by: Signal) {
        if self.0.is_some() {
            self.signal(by);
        }
        if let Some(mut child) = self.0.take() {
            eventually(DEADLINE, "the server's end", || child.try_wait().expect("wait").is_some());
        }
    }

    /// Sends it a signal. Panics if it is not running.
    pub(super) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("signal the server");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
