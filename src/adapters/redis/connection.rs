//! Connections of the Redis adapters: opened on demand, dropped when they fail, and reopened after
//! a growing pause.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, FromRedisValue,
    IntoConnectionInfo, Pipeline, ProtocolVersion, PushInfo, PushKind, RedisError, RedisResult,
    ScriptInvocation, TlsCertificates,
};
use tokio::sync::Mutex;

use bklit_net::backoff::Reach;

/// Maximum pause after a failed connection attempt; calls in between fail immediately.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Server address and timeouts.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// `redis://[user:password@]host[:port][/database]`; `rediss://` for TLS; `unix://path`.
    pub url: String,
    /// Root certificates (PEM) for TLS; `None` for the well-known ones.
    pub root_certificates: Option<Vec<u8>>,
    /// Time limit for connecting.
    pub connect_timeout: Duration,
    /// Time limit for a response.
    pub response_timeout: Duration,
}

/// A Redis (or Valkey) server. Cheap to clone; does not connect by itself.
#[derive(Clone, Debug)]
pub struct RedisServer {
    client: Client,
    connect_timeout: Duration,
    response_timeout: Duration,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum RedisFailure {
    /// There is no connection.
    #[error("no connection to Redis at {address}: {reason}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// The reason.
        reason: String,
    },
    /// The server rejected the command, or the connection was lost before the response; then the
    /// command may have been executed.
    #[error("Redis: {0}")]
    Command(#[from] RedisError),
}

impl RedisFailure {
    /// Whether the server has responded, so that the failure concerns this command only.
    pub fn is_response(&self) -> bool {
        let Self::Command(error) = self else { return false };
        matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension) && !is_broken(error)
    }
}

impl RedisServer {
    /// Reads the options.
    ///
    /// # Errors
    /// [`RedisFailure::Command`] if the URL or the certificates are invalid.
    pub fn new(options: &RedisOptions) -> Result<Self, RedisFailure> {
        let info = options.url.as_str().into_connection_info()?;
        // Only with RESP3 does a connection report its own end.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let info = info.set_redis_settings(settings);
        let is_tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        let client = match options.root_certificates.as_ref().filter(|_| is_tls) {
            None => Client::open(info)?,
            Some(root) => {
                let root_cert = Some(root.clone());
                Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert })?
            }
        };
        Ok(Self {
            client,
            connect_timeout: options.connect_timeout,
            response_timeout: options.response_timeout,
        })
    }

    /// The address, without credentials.
    pub fn address(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    /// Time limit for a response.
    pub fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    /// Opens a connection that passes the server's push messages, and its own end, to `sink`, which
    /// must not block.
    ///
    /// # Errors
    /// [`RedisFailure::Unreachable`].
    pub async fn connect(
        &self,
        sink: impl Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static,
    ) -> Result<MultiplexedConnection, RedisFailure> {
        let unreachable =
            |reason: String| RedisFailure::Unreachable { address: self.address(), reason };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(self.response_timeout))
            .set_push_sender(sink);
        // The client's own timeout does not cover name resolution and handshake.
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        match tokio::time::timeout(self.connect_timeout, connecting).await {
            Ok(connected) => connected.map_err(|error| unreachable(error.to_string())),
            Err(_) => Err(unreachable(format!("no connection within {:?}", self.connect_timeout))),
        }
    }
}

/// One connection at a time to a server, replaced when it is lost. Concurrent commands are
/// pipelined.
pub struct Link {
    server: RedisServer,
    state: Mutex<State>,
}

struct State {
    connection: Option<MultiplexedConnection>,
    /// Set when the connection has ended.
    ended: Arc<AtomicBool>,
    /// Number of the current connection.
    generation: u64,
    reach: Reach,
}

/// The current connection of a [`Link`].
pub struct Connection<'a> {
    link: &'a Link,
    inner: MultiplexedConnection,
    generation: u64,
}

impl Link {
    /// A link that is not connected yet.
    pub fn new(server: RedisServer) -> Self {
        let state = State {
            connection: None,
            ended: Arc::default(),
            generation: 0,
            reach: Reach::new(LONGEST_PAUSE),
        };
        Self { server, state: Mutex::new(state) }
    }

    /// The server.
    pub fn server(&self) -> &RedisServer {
        &self.server
    }

    /// The current connection, or a new one.
    ///
    /// # Errors
    /// If none can be opened; immediately during the pause after a failed attempt.
    pub async fn connection(&self) -> Result<Connection<'_>, RedisFailure> {
        let mut state = self.state.lock().await;
        // A connection that ended while idle is replaced without a failed command.
        if let Some(inner) = state.connection.clone()
            && !state.ended.load(Relaxed)
        {
            return Ok(Connection { link: self, inner, generation: state.generation });
        }
        if let Some(reason) = state.reach.refusal() {
            let (address, reason) = (self.server.address(), reason.to_owned());
            return Err(RedisFailure::Unreachable { address, reason });
        }
        let ended = Arc::new(AtomicBool::new(false));
        let sink = {
            let ended = Arc::clone(&ended);
            move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    ended.store(true, Relaxed);
                }
                Ok(())
            }
        };
        match self.server.connect(sink).await {
            Ok(inner) => {
                state.ended = ended;
                state.generation += 1;
                state.connection = Some(inner.clone());
                state.reach.succeeded();
                Ok(Connection { link: self, inner, generation: state.generation })
            }
            Err(failure) => {
                state.reach.failed(match &failure {
                    RedisFailure::Unreachable { reason, .. } => reason.clone(),
                    RedisFailure::Command(error) => error.to_string(),
                });
                Err(failure)
            }
        }
    }

    async fn discard(&self, generation: u64) {
        let mut state = self.state.lock().await;
        if state.generation == generation {
            state.connection = None;
        }
    }
}

impl Connection<'_> {
    /// The connection's number, which is different for each connection of a link.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Sends one command.
    ///
    /// # Errors
    /// [`RedisFailure::Command`].
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisFailure> {
        let response = command.query_async(&mut self.inner.clone()).await;
        self.checked(response).await
    }

    /// Sends one command whose response may take up to `longest` more than usual.
    ///
    /// # Errors
    /// [`RedisFailure::Command`].
    pub async fn query_slow<T: FromRedisValue>(
        &self,
        command: &Cmd,
        longest: Duration,
    ) -> Result<T, RedisFailure> {
        let mut inner = self.inner.clone();
        inner.set_response_timeout(self.link.server.response_timeout + longest);
        let response = command.query_async(&mut inner).await;
        self.checked(response).await
    }

    /// Sends several commands in one round trip.
    ///
    /// # Errors
    /// [`RedisFailure::Command`] if one of them failed.
    pub async fn pipeline<T: FromRedisValue>(
        &self,
        commands: &Pipeline,
    ) -> Result<T, RedisFailure> {
        let response = commands.query_async(&mut self.inner.clone()).await;
        self.checked(response).await
    }

    /// Runs a script; sends its text if the server does not have it cached.
    ///
    /// # Errors
    /// [`RedisFailure::Command`].
    pub async fn script<T: FromRedisValue>(
        &self,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, RedisFailure> {
        let response = call.invoke_async(&mut self.inner.clone()).await;
        self.checked(response).await
    }

    async fn checked<T>(&self, response: RedisResult<T>) -> Result<T, RedisFailure> {
        match response {
            Ok(response) => Ok(response),
            Err(error) => {
                if is_broken(&error) {
                    self.link.discard(self.generation).await;
                }
                Err(error.into())
            }
        }
    }
}

/// Whether the connection must be replaced. After a timeout all its responses would be late; a
/// server that has become a replica would reject all writes.
fn is_broken(error: &RedisError) -> bool {
    error.is_unrecoverable_error()
        || error.is_io_error()
        || error.is_timeout()
        || matches!(error.code(), Some("READONLY" | "MASTERDOWN" | "NOAUTH"))
}
