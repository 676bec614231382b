//! Alerts of a pipeline without a console: logged, and passed to the user's command. A console in the
//! same process raises alerts itself.

use std::net::SocketAddr;

use crate::config::Settings;
use bklit_alerts::command::Runner;
use bklit_alerts::{Alert, Kind, Monitor, Reading, State};
use bklit_wire::duration::seconds;
use bklit_wire::gauges::{Gauges, Health};
use bklit_wire::time::UtcMillis;

/// Seconds after the start without alerts about store and queue: tables may have to be created and
/// connections made first.
const STARTING: i64 = 10;

/// Checks the gauges of this process.
pub(super) struct DaemonAlerts {
    monitor: Monitor,
    /// The first second.
    began: Option<i64>,
    alarm_depth: u64,
    command: Option<Command>,
}

/// The user's command, and the changes still to pass to it.
struct Command {
    runner: Runner,
    changes: [Changes; Kind::ALL.len()],
}

/// The changes of one kind of alert.
#[derive(Default)]
struct Changes {
    /// The current state, if any.
    now: Option<(State, Alert)>,
    /// How often it was raised.
    count: u64,
    /// The last state passed to the command.
    reported: Option<State>,
}

impl DaemonAlerts {
    /// `None` when a console raises the alerts, or they are turned off.
    pub(super) fn of(settings: &Settings, address: SocketAddr) -> Option<Self> {
        if !settings.no_ui || !settings.alerts.daemon {
            return None;
        }
        let source = super::source(settings, address);
        let command = settings.alerts.command.clone().map(|command| Command {
            runner: Runner::new(command, source),
            changes: Default::default(),
        });
        Some(Self {
            monitor: Monitor::new(settings.alerts.clone()),
            began: None,
            alarm_depth: settings.queue.alarm_depth,
            command,
        })
    }

    /// Checks the gauges of one second. Does not block.
    pub(super) fn check(&mut self, gauges: &Gauges) {
        self.monitor.errors(gauges.stages.iter().map(|stage| stage.errors).sum());
        self.monitor.answered(gauges.accepted, gauges.refused);
        let second = gauges.at.unwrap_or_else(UtcMillis::now).epoch_seconds();
        let is_starting = second < *self.began.get_or_insert(second) + STARTING;
        let failure = |part: &str, health: Health| {
            let fails = health == Health::Failing && !is_starting;
            let failure = gauges.failures.iter().find(|failure| failure.part == part);
            fails.then(|| failure.map_or_else(String::new, |failure| failure.reason.clone()))
        };
        let recent = gauges.recent.as_ref();
        let last =
            |error: &Option<String>| error.as_ref().map(|error| format!("the last: {error}"));
        let reading = Reading {
            depth: gauges.queue.map(|queue| queue.depth),
            alarm_depth: self.alarm_depth,
            store_failure: failure("store", gauges.store_health),
            queue_failure: failure("queue", gauges.queue_health),
            spooled: gauges.queue.map_or(0, |queue| queue.spooled),
            refused: recent.and_then(|recent| last(&recent.last_error)),
            errors: recent.and_then(|recent| last(&recent.last_store_error)),
            // Only a console knows of other processes.
            no_worker: None,
        };
        for (state, alert) in self.monitor.changes(second, &reading) {
            let kind = alert.kind.as_str();
            let alert = match state {
                State::Raised => {
                    tracing::warn!(kind, alert.value, alert.limit, "alert: {}", alert.message);
                    alert
                }
                State::Over => {
                    let lasted =
                        seconds(std::time::Duration::from_secs(second.abs_diff(alert.since)));
                    tracing::info!(kind, lasted, "alert ended: {}", alert.message);
                    Alert { message: format!("ended after {lasted}: {}", alert.message), ..alert }
                }
            };
            if let Some(command) = &mut self.command {
                command.record(state, alert);
            }
        }
        if let Some(command) = &mut self.command {
            command.run();
        }
    }
}

impl Command {
    fn record(&mut self, state: State, alert: Alert) {
        let changes = &mut self.changes[alert.kind as usize];
        changes.count += u64::from(state == State::Raised);
        changes.now = Some((state, alert));
    }

    /// Runs the command for changes it has not been run for. While it is running or rate-limited,
    /// changes are kept, and of several only the last state.
    fn run(&mut self) {
        for Changes { now, count, reported } in &mut self.changes {
            let Some((state, alert)) = now else { continue };
            if *reported == Some(*state) || (reported.is_none() && *state == State::Over) {
                continue;
            }
            let failed = |outcome: Result<(), String>| {
                if let Err(error) = outcome {
                    tracing::warn!(error, "alerts.command failed");
                }
            };
            if self.runner.run(*state, alert, *count, failed) {
                *reported = Some(*state);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn settings() -> Settings {
        Settings { no_ui: true, ..Settings::default() }
    }

    #[test]
    fn alerts_are_raised_only_without_a_console_and_if_enabled() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        assert!(DaemonAlerts::of(&settings(), address).is_some());
        assert!(
            DaemonAlerts::of(&Settings::default(), address).is_none(),
            "the console raises them"
        );
        let mut off = settings();
        off.alerts.daemon = false;
        assert!(DaemonAlerts::of(&off, address).is_none());
    }

    #[test]
    fn a_store_may_fail_for_a_while_after_the_start() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut alerts = DaemonAlerts::of(&settings(), address).unwrap();
        let mut gauges = Gauges { store_health: Health::Failing, ..Gauges::default() };
        let raised = (100..200).find(|at| {
            gauges.at = Some(UtcMillis::from_epoch_millis(at * 1_000));
            alerts.check(&gauges);
            alerts.monitor.is_raised(Kind::Store)
        });
        assert_eq!(raised, Some(111));
    }

    #[test]
    fn the_command_runs_once_for_each_change_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let mut settings = settings();
        settings.queue.alarm_depth = 10;
        settings.alerts.command = Some(format!(
            "echo $BKLIT_ALERT_KIND $BKLIT_ALERT_STATE $BKLIT_ALERT_COUNT >> {}",
            out.display()
        ));
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut alerts = DaemonAlerts::of(&settings, address).unwrap();
        let mut gauges = Gauges::default();
        let mut second = |alerts: &mut DaemonAlerts, fails: bool, at: i64| {
            gauges.at = Some(UtcMillis::from_epoch_millis(at * 1_000));
            gauges.store_health = if fails { Health::Failing } else { Health::Ok };
            let depth = if fails { 11 } else { 0 };
            gauges.queue = Some(bklit_wire::gauges::QueueGauges { depth, ..Default::default() });
            alerts.check(&gauges);
        };
        (80..90).for_each(|at| second(&mut alerts, false, at));
        let mut at = 100;
        let mut until = |alerts: &mut DaemonAlerts, fails: bool, lines: usize| {
            let deadline = Instant::now() + Duration::from_secs(30);
            loop {
                at += 1;
                second(alerts, fails, at);
                let text = std::fs::read_to_string(&out).unwrap_or_default();
                if text.lines().count() >= lines {
                    return text;
                }
                assert!(Instant::now() < deadline, "{text}");
                std::thread::sleep(Duration::from_millis(2));
            }
        };
        let raised = until(&mut alerts, true, 2);
        assert_eq!(raised, "queue-depth raised 1\nstore raised 1\n");
        let over = until(&mut alerts, false, 4);
        assert_eq!(over, format!("{raised}queue-depth over 1\nstore over 1\n"));
        // Again within a minute: delayed, and dropped if it has ended by then.
        (200..220).for_each(|at| second(&mut alerts, true, at));
        (220..240).for_each(|at| second(&mut alerts, false, at));
        assert_eq!(std::fs::read_to_string(&out).unwrap(), over);
    }
}
