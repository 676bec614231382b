//! A server's process: started, ended and stopped as operators and crashes do.

use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{DEADLINE, eventually};

/// A process, or none; killed when this is dropped.
#[derive(Default)]
pub(super) struct Process(Option<Child>);

impl Process {
    /// Starts it in place of the present one and waits until it is `ready`, which is told its
    /// id. False when it ended before, as a server does whose port is taken.
    pub(super) fn launch(&mut self, command: &mut Command, ready: impl Fn(u32) -> bool) -> bool {
        self.kill9();
        let child = self.0.insert(command.spawn().expect("start the server"));
        let mut ended = false;
        eventually(DEADLINE, "the server's start", || {
            ended = child.try_wait().expect("wait").is_some();
            ended || ready(child.id())
        });
        if ended {
            self.0 = None;
        }
        !ended
    }

    /// Its id. Panics when it does not run.
    pub(super) fn id(&self) -> u32 {
        self.0.as_ref().expect("a running server").id()
    }

    /// Whether it still runs; it may have ended by itself.
    pub(super) fn is_running(&mut self) -> bool {
        self.0.as_mut().is_some_and(|child| child.try_wait().expect("wait").is_none())
    }

    /// Ends it as a crash does.
    pub(super) fn kill9(&mut self) {
        if let Some(mut child) = self.0.take() {
            child.kill().expect("kill the server");
            child.wait().expect("the killed server");
        }
    }

    /// Ends it in order, by a signal that asks for that.
    pub(super) fn stop(&mut self, by: Signal) {
        if self.0.is_some() {
            self.signal(by);
        }
        if let Some(mut child) = self.0.take() {
            eventually(DEADLINE, "the server's end", || child.try_wait().expect("wait").is_some());
        }
    }

    /// Sends it a signal. Panics when it does not run.
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
