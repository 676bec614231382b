//! What a service manager such as systemd is told: datagrams to the socket in `NOTIFY_SOCKET`.

use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use color_eyre::eyre::Result;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use bklit_pipeline::metrics::Metrics;

/// How often the status line is renewed where no watchdog waits for a sign of life.
const STATUS_EVERY: Duration = Duration::from_secs(10);

/// The service manager, if one started this process and wants to know.
pub(super) struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// The longest pause between signs of life.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// As the environment says.
    pub(super) fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let watchdog = watchdog(&variable);
        let socket = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()).and_then(|name| {
            let opened = address(&name).and_then(|address| {
                let socket = UnixDatagram::unbound()?;
                // A manager that does not read must not hold this process up.
                socket.set_nonblocking(true)?;
                Ok((socket, address))
            });
            opened.inspect_err(|error| tracing::warn!(name, %error, "no use as NOTIFY_SOCKET")).ok()
        });
        Self { socket, watchdog }
    }

    /// Events are accepted, or whatever else the process is for is done.
    pub(super) fn ready(&self) {
        self.tell("READY=1");
    }

    /// The stop has begun.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping");
    }

    fn tell(&self, state: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
            tracing::debug!(%error, state, "the service manager was not told");
        }
    }

    /// Gives signs of life and a line about the queue until `stop`. It runs beside all other
    /// tasks, so a process in which nothing moves any more gives none.
    pub(super) async fn keep_told(
        self: Arc<Self>,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Result<()> {
        let every = self.watchdog.map_or(STATUS_EVERY, |longest| longest / 2);
        let mut ticks = tokio::time::interval(every.clamp(Duration::from_millis(10), STATUS_EVERY));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let life = if self.watchdog.is_some() { "WATCHDOG=1\n" } else { "" };
            self.tell(&format!("{life}STATUS={}", metrics.summary()));
        }
        Ok(())
    }
}

/// The watchdog's patience, if it waits for this process.
fn watchdog(variable: impl Fn(&str) -> Option<String>) -> Option<Duration> {
    let is_for_us =
        variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
    let micros = variable("WATCHDOG_USEC")?.parse().ok().filter(|&micros: &u64| micros > 0)?;
    is_for_us.then(|| Duration::from_micros(micros))
}

/// A path, or a name without a file after an `@`.
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
    fn a_watchdog_of_another_process_is_not_ours() {
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
    fn a_name_without_a_file_is_reached() {
        let name = format!("@bklit-tui-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&address(&name).unwrap()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let told = |key: &str| (key == "NOTIFY_SOCKET").then(|| name.clone());
        ServiceManager::from_environment(told).ready();
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1");
        // Where nobody listens, nothing happens.
        ServiceManager::from_environment(|_| Some("/nowhere/at/all".to_owned())).ready();
        ServiceManager::from_environment(|_| None).stopping();
    }
}
