//! Supervised tasks, signals, and shutdown in order.

use std::future::Future;
use std::time::{Duration, Instant};

use color_eyre::Report;
use color_eyre::eyre::{Result, WrapErr, eyre};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use bklit_console::terminal;

/// How long a command may take to end an editor and itself after a signal.
const EDITOR_WAIT: Duration = Duration::from_secs(5);
/// How often to check whether the editor has ended.
const EDITOR_POLL: Duration = Duration::from_millis(20);

/// Lets this process open as many files as it may: each connection is one, and the limit that
/// processes start with is often too low.
pub(super) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Refused only by unusual sandboxes, where the old limit still holds.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Tasks that run until they are stopped, in the order of their start.
#[derive(Default)]
pub struct Supervisor {
    running: JoinSet<Result<()>>,
    /// In the order of their start, which is the order of their stop.
    tasks: Vec<Task>,
    groups: usize,
}

struct Task {
    name: &'static str,
    id: Id,
    /// Tasks of one group stop at the same time.
    group: usize,
    stop: CancellationToken,
}

impl Supervisor {
    /// Starts a task; it ends when its token is cancelled.
    pub fn spawn<F>(&mut self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.groups += 1;
        self.spawn_in_group(name, task);
    }

    /// Starts a task that stops at the same time as the one started before it.
    pub fn spawn_in_group<F>(
        &mut self,
        name: &'static str,
        task: impl FnOnce(CancellationToken) -> F,
    ) where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let id = self.running.spawn(task(stop.clone())).id();
        self.tasks.push(Task { name, id, group: self.groups, stop });
    }

    /// Waits for a task that ends without being stopped; returns the reason. Cancel-safe.
    pub async fn unexpected_end(&mut self) -> Report {
        match self.next_end().await {
            Some((name, Ok(()))) => eyre!("the {name} ended unexpectedly"),
            Some((_, Err(error))) => error,
            None => std::future::pending().await,
        }
    }

    /// Stops the tasks group by group, each after the previous one has ended; returns the first
    /// failure.
    ///
    /// # Errors
    /// When a task failed while stopping.
    pub async fn stop(mut self) -> Result<()> {
        let mut outcome = Ok(());
        while let Some(first) = self.tasks.first() {
            let group = first.group;
            for task in self.tasks.iter().filter(|task| task.group == group) {
                task.stop.cancel();
            }
            if let Some((_, result)) = self.next_end().await {
                outcome = outcome.and(result);
            }
        }
        outcome
    }

    /// Waits for the next task that ends, and removes it.
    async fn next_end(&mut self) -> Option<(&'static str, Result<()>)> {
        let (id, result) = match self.running.join_next_with_id().await? {
            Ok((id, result)) => (id, result),
            Err(error) => (error.id(), Err(eyre!("task panicked: {error}"))),
        };
        let at = self.tasks.iter().position(|task| task.id == id)?;
        let name = self.tasks.remove(at).name;
        Some((name, result.wrap_err_with(|| format!("the {name} failed"))))
    }
}

/// Whether this process was started with SIGHUP ignored, as by `nohup`. Detected only on Linux.
pub fn is_hang_up_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    ignored & (1 << (SignalKind::hangup().as_raw_value() - 1)) != 0
}

/// Cancels `shutdown` on the first SIGINT, SIGTERM or, unless it is ignored, SIGHUP; on another
/// SIGINT or SIGTERM calls `at_once`, which ends the process.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn watch_signals(
    shutdown: CancellationToken,
    ignore_hang_up: bool,
    at_once: impl FnOnce(i32) + Send + 'static,
) -> Result<()> {
    let install = |kind| signal(kind).wrap_err("cannot install signal handlers");
    let mut interrupt = install(SignalKind::interrupt())?;
    let mut terminate = install(SignalKind::terminate())?;
    // Installing a handler would stop ignoring it.
    let mut hang_up = (!ignore_hang_up).then(|| install(SignalKind::hangup())).transpose()?;
    tokio::spawn(async move {
        let first = next(&mut interrupt, &mut terminate, &mut hang_up).await;
        tracing::info!(signal = first, "stopping");
        shutdown.cancel();
        // Closing a terminal often sends SIGHUP twice, so a second one does not force the exit.
        let second = tokio::select! {
            _ = interrupt.recv() => SignalKind::interrupt(),
            _ = terminate.recv() => SignalKind::terminate(),
        };
        at_once(second.as_raw_value());
    });
    Ok(())
}

/// For a command that runs editors: from now on, Ctrl-C is ignored while one has the terminal. The
/// other signals, and Ctrl-C otherwise, end the process through `at_once`; but if an editor has the
/// terminal, the command gets [`EDITOR_WAIT`] to end it and itself, and learns which signal it was.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn watch_signals_during_editors(
    ignore_hang_up: bool,
    at_once: impl FnOnce(i32) + Send + 'static,
) -> Result<watch::Receiver<Option<i32>>> {
    let install = |kind| signal(kind).wrap_err("cannot install signal handlers");
    let mut interrupt = install(SignalKind::interrupt())?;
    let mut terminate = install(SignalKind::terminate())?;
    let mut hang_up = (!ignore_hang_up).then(|| install(SignalKind::hangup())).transpose()?;
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        let signal = next(&mut interrupt, &mut terminate, &mut hang_up).await;
        sender.send_replace(Some(signal));
        let deadline = Instant::now() + EDITOR_WAIT;
        while terminal::is_lent() && Instant::now() < deadline {
            tokio::time::sleep(EDITOR_POLL).await;
        }
        at_once(signal);
    });
    Ok(receiver)
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal, hang_up: &mut Option<Signal>) -> i32 {
    // While an editor has the terminal, Ctrl-C there is not meant for this process.
    let interrupted = async { while interrupt.recv().await.is_some() && terminal::is_lent() {} };
    let hang_up = async {
        match hang_up {
            Some(hang_up) => hang_up.recv().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = interrupted => SignalKind::interrupt().as_raw_value(),
        _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
        _ = hang_up => SignalKind::hangup().as_raw_value(),
    }
}

/// Runs `task` within `deadline`.
///
/// # Errors
/// The task's own error, or that the deadline has passed.
pub async fn within(
    deadline: Duration,
    what: &str,
    task: impl Future<Output = Result<()>>,
) -> Result<()> {
    tokio::time::timeout(deadline, task).await.unwrap_or_else(|_| {
        Err(eyre!("{what} took longer than {}", bklit_wire::duration::format(deadline)))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test]
    async fn tasks_stop_in_the_order_of_their_start() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut supervisor = Supervisor::default();
        for name in ["first", "second", "third"] {
            let order = Arc::clone(&order);
            supervisor.spawn(name, |stop| async move {
                stop.cancelled().await;
                tokio::task::yield_now().await;
                order.lock().unwrap().push(name);
                Ok(())
            });
        }
        supervisor.stop().await.unwrap();
        assert_eq!(*order.lock().unwrap(), ["first", "second", "third"]);
    }

    #[tokio::test]
    async fn tasks_of_a_group_stop_at_the_same_time_and_before_the_next() {
        let mut supervisor = Supervisor::default();
        let (both, order) = (Arc::new(tokio::sync::Barrier::new(2)), Arc::new(Mutex::default()));
        let task = |name: &'static str, meets: bool| {
            let (both, order) = (Arc::clone(&both), Arc::<Mutex<Vec<_>>>::clone(&order));
            move |stop: CancellationToken| async move {
                stop.cancelled().await;
                if meets {
                    both.wait().await;
                }
                order.lock().unwrap().push(name);
                Ok(())
            }
        };
        supervisor.spawn("one", task("one", true));
        supervisor.spawn_in_group("other", task("other", true));
        supervisor.spawn("last", task("last", false));
        within(Duration::from_secs(10), "shutdown", supervisor.stop()).await.unwrap();
        let order = order.lock().unwrap().clone();
        assert_eq!((order.len(), order.last()), (3, Some(&"last")));
    }

    #[tokio::test]
    async fn an_unexpected_end_is_reported_and_the_other_tasks_still_stop() {
        let mut supervisor = Supervisor::default();
        supervisor.spawn("patient", |stop| async move {
            stop.cancelled().await;
            Ok(())
        });
        supervisor.spawn("crasher", |_| async { panic!("on purpose") });
        let error = format!("{:#}", supervisor.unexpected_end().await);
        assert!(error.contains("the crasher failed"), "{error}");
        supervisor.spawn("quitter", |_| async { Ok(()) });
        let error = supervisor.unexpected_end().await.to_string();
        assert_eq!(error, "the quitter ended unexpectedly");
        supervisor.stop().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_that_hangs_is_cut_off() {
        let mut supervisor = Supervisor::default();
        supervisor.spawn("hung", |_| std::future::pending());
        let stopped = within(Duration::from_secs(10), "shutdown", supervisor.stop()).await;
        assert!(stopped.unwrap_err().to_string().contains("longer than 10s"));
    }
}
