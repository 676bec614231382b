//! Opening a connection to one node: TLS, keepalive, and the protocol that it speaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo, ProtocolVersion,
    PushInfo, RedisConnectionInfo, RedisError, RedisResult, TlsCertificates,
};

use super::RedisFailure;

/// A peer that does not answer for about this long is gone: `FIRST_PROBE + PROBES *
/// PROBE_INTERVAL`.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);
const FIRST_PROBE: Duration = Duration::from_secs(15);
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;

/// Takes push messages, the end of the connection included. Must not block.
pub(super) type Sink = Arc<dyn Fn(PushInfo) -> Result<(), ()> + Send + Sync>;

/// How to connect to the nodes of an address.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) login: RedisConnectionInfo,
    pub(super) roots: Option<Vec<u8>>,
    pub(super) connect_timeout: Duration,
    pub(super) response_timeout: Duration,
    /// Whether a server has refused `HELLO`; then it is not asked again.
    speaks_resp2: Arc<AtomicBool>,
}

/// A new connection.
pub(super) struct Opened {
    pub(super) connection: MultiplexedConnection,
    /// RESP3 delivers push messages on the connection, and reports its end.
    pub(super) has_pushes: bool,
}

impl Access {
    pub(super) fn new(
        login: RedisConnectionInfo,
        roots: Option<Vec<u8>>,
        connect_timeout: Duration,
        response_timeout: Duration,
    ) -> Self {
        let speaks_resp2 = Arc::default();
        Self { login, roots, connect_timeout, response_timeout, speaks_resp2 }
    }

    /// Whether a server has refused `HELLO`.
    pub(super) fn speaks_resp2(&self) -> bool {
        self.speaks_resp2.load(Relaxed)
    }

    /// The same nodes with another user.
    pub(super) fn with_login(&self, login: RedisConnectionInfo) -> Self {
        Self { login, speaks_resp2: Arc::default(), ..self.clone() }
    }

    /// Opens a connection. With RESP3, it passes pushes to `sink`.
    pub(super) async fn open(
        &self,
        address: &ConnectionAddr,
        sink: &Sink,
    ) -> Result<Opened, RedisFailure> {
        self.within(address, async {
            if self.speaks_resp2() {
                return self.open_as(address, ProtocolVersion::RESP2, sink).await;
            }
            let error = match self.open_as(address, ProtocolVersion::RESP3, sink).await {
                Ok(opened) => return Ok(opened),
                Err(error) => error,
            };
            // Some proxies hang up on commands that they do not know.
            let refused = refuses_hello(&error);
            if !refused && !error.is_connection_dropped() {
                return Err(error);
            }
            let opened = self.open_as(address, ProtocolVersion::RESP2, sink).await;
            if opened.is_ok() && refused {
                self.speaks_resp2.store(true, Relaxed);
                tracing::info!(%address, "this Redis has no RESP3, using RESP2");
            }
            opened.map_err(|second| if refused { second } else { error })
        })
        .await
    }

    async fn open_as(
        &self,
        address: &ConnectionAddr,
        protocol: ProtocolVersion,
        sink: &Sink,
    ) -> RedisResult<Opened> {
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(self.response_timeout));
        let has_pushes = protocol == ProtocolVersion::RESP3;
        if has_pushes {
            let sink = Arc::clone(sink);
            config = config.set_push_sender(move |push| sink(push));
        }
        let client = self.client(address, protocol)?;
        let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Opened { connection, has_pushes })
    }

    /// Opens a connection for subscriptions alone, as RESP2 requires.
    pub(super) async fn open_subscriber(
        &self,
        address: &ConnectionAddr,
    ) -> Result<PubSub, RedisFailure> {
        self.within(address, async {
            self.client(address, ProtocolVersion::RESP2)?.get_async_pubsub().await
        })
        .await
    }

    /// The client's own timeout does not cover name resolution and handshake.
    async fn within<T>(
        &self,
        address: &ConnectionAddr,
        connecting: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, RedisFailure> {
        let unreachable =
            |reason: String| RedisFailure::Unreachable { address: address.to_string(), reason };
        match tokio::time::timeout(self.connect_timeout, connecting).await {
            Ok(connected) => connected.map_err(|error| unreachable(reason(&error))),
            Err(_) => Err(unreachable(format!("no connection within {:?}", self.connect_timeout))),
        }
    }

    fn client(&self, address: &ConnectionAddr, protocol: ProtocolVersion) -> RedisResult<Client> {
        let mut login = self.login.clone().set_protocol(protocol);
        if protocol == ProtocolVersion::RESP2 {
            // Servers without HELLO may also lack CLIENT SETINFO.
            login = login.set_skip_set_lib_name();
        }
        let info = address.clone().into_connection_info()?;
        let info = info.set_redis_settings(login).set_tcp_settings(tcp_settings());
        let is_tls = matches!(address, ConnectionAddr::TcpTls { .. });
        match self.roots.as_ref().filter(|_| is_tls) {
            None => Client::open(info),
            Some(root) => {
                let root_cert = Some(root.clone());
                Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert })
            }
        }
    }

    /// Fails if the certificates cannot be used.
    pub(super) fn check(&self, address: &ConnectionAddr) -> RedisResult<()> {
        self.client(address, ProtocolVersion::RESP3).map(|_| ())
    }
}

/// The kernel notices a peer that has vanished, even while nothing is sent or awaited.
fn tcp_settings() -> TcpSettings {
    let keepalive = TcpKeepalive::new()
        .with_time(FIRST_PROBE)
        .with_interval(PROBE_INTERVAL)
        .with_retries(PROBES);
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(LONGEST_SILENCE);
    settings
}

/// Why a connection could not be opened.
fn reason(error: &RedisError) -> String {
    match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("WRONGPASS")) => {
            "it rejects the user or the password in the URL".to_owned()
        }
        (_, Some("NOAUTH")) => "it requires a password, which the URL lacks".to_owned(),
        _ => error.to_string(),
    }
}

/// Whether a server answered that it does not know `HELLO`, or no RESP3; each engine words this
/// differently.
fn refuses_hello(error: &RedisError) -> bool {
    let text = error.to_string().to_ascii_lowercase();
    error.kind() == ErrorKind::RESP3NotSupported
        || error.code() == Some("NOPROTO")
        || (error.code() == Some("ERR") && (text.contains("hello") || text.contains("unknown")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_peer_is_given_up_within_a_minute() {
        assert_eq!(FIRST_PROBE + PROBES * PROBE_INTERVAL, LONGEST_SILENCE);
        assert!(LONGEST_SILENCE < Duration::from_secs(60));
        let settings = tcp_settings();
        assert!(settings.nodelay() && settings.keepalive().is_some());
    }
}
