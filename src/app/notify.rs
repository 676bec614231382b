//! Notifications to a service manager such as systemd: datagrams to the socket in `NOTIFY_SOCKET`.
//! The crate `sd-notify` would block on a manager that does not read and lacks abstract sockets.

use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use color_eyre::eyre::Result;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use bklit_pipeline::metrics::Metrics;

/// How often the status line is sent without a watchdog.
const STATUS_EVERY: Duration = Duration::from_secs(10);

/// The service manager, if one started this process and expects notifications.
pub(super) struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// The longest time between watchdog notifications.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub(super) fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let watchdog = watchdog(&variable);
        let socket = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()).and_then(|name| {
            let opened = address(&name).and_then(|address| {
                let socket = UnixDatagram::unbound()?;
                // A manager that does not read must not block this process.
                socket.set_nonblocking(true)?;
                Ok((socket, address))
            });
            opened
                .inspect_err(|error| tracing::warn!(name, %error, "cannot use NOTIFY_SOCKET"))
                .ok()
        });
        Self { socket, watchdog }
    }

    /// Reports that the process is ready.
    pub(super) fn ready(&self) {
        self.send("READY=1");
    }

    /// Reports that shutdown has started.
    pub(super) fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=stopping");
    }

    fn send(&self, state: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
            tracing::debug!(%error, state, "cannot notify the service manager");
        }
    }

    /// Sends watchdog notifications and a status line about the queue until `stop`. It shares the
    /// runtime with all other tasks, so a process that hangs sends none.
    pub(super) async fn keep_notifying(
        self: Arc<Self>,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Result<()> {
        let every = self.watchdog.map_or(STATUS_EVERY, |longest| longest / 2);
        let mut ticks = tokio::time::interval(every.clamp(Duration::from_millis(10), STATUS_EVERY));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let watchdog = if self.watchdog.is_some() { "WATCHDOG=1\n" } else { "" };
            self.send(&format!("{watchdog}STATUS={}", metrics.summary()));
        }
        Ok(())
    }
}

/// The watchdog's timeout, if it watches this process.
fn watchdog(variable: impl Fn(&str) -> Option<String>) -> Option<Duration> {
    let is_for_us =
        variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
    let micros = variable("WATCHDOG_USEC")?.parse().ok().filter(|&micros: &u64| micros > 0)?;
    is_for_us.then(|| Duration::from_micros(micros))
}

/// The address of a path, or of an abstract name after `@`.
fn address(name: &str) -> std::io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = name.strip_prefix('@') {
        return <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name);
    }
    SocketAddr::from_pathname(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_of_another_process_is_ignored() {
        let ours = std::process::id().to_string();
        for (pid, micros, expected) in [
            (None, Some("3000000"), Some(Duration::from_secs(3))),
            (Some(ours.as_str()), Some("10"), Some(Duration::from_micros(10))),
            (Some("1"), Some("10"), None),
            (None, Some("0"), None),
            (None, Some("soon"), None),
            (None, None, None),
        ] {
            let variable = |name: &str| {
                let value = if name == "WATCHDOG_PID" { pid } else { micros };
                value.map(str::to_owned)
            };
            assert_eq!(watchdog(variable), expected, "{pid:?} {micros:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_abstract_socket_is_notified() {
        let name = format!("@bklit-tui-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&address(&name).unwrap()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let variable = |key: &str| (key == "NOTIFY_SOCKET").then(|| name.clone());
        ServiceManager::from_environment(variable).ready();
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1");
        // Without a listener, nothing happens.
        ServiceManager::from_environment(|_| Some("/nowhere/at/all".to_owned())).ready();
        ServiceManager::from_environment(|_| None).stopping();
    }
}
