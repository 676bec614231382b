//! How the Redis adapters reach their server: connections that are made when they are needed,
//! given up when they fail, and made again after a pause that grows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, FromRedisValue, IntoConnectionInfo,
    Pipeline, ProtocolVersion, PushInfo, PushKind, RedisError, RedisResult, ScriptInvocation,
    TlsCertificates,
};
use tokio::sync::Mutex;

use bklit_net::backoff::Reach;

/// The longest pause after a failure to connect; calls in between fail at once.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Where the server is and how long to wait for it.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// `redis://[user:password@]host[:port][/database]`; `rediss://` for TLS; `unix://path`.
    pub url: String,
    /// The certificates (PEM) that the server's one must lead to, where it has one; without, the
    /// well-known ones.
    pub root_certificates: Option<Vec<u8>>,
    /// How long making a connection may take.
    pub connect_timeout: Duration,
    /// How long an answer may take.
    pub response_timeout: Duration,
}

/// A Redis (or Valkey) server. Cheap to clone; connects to nothing by itself.
#[derive(Clone, Debug)]
pub struct RedisServer {
    client: Client,
    connect_timeout: Duration,
    response_timeout: Duration,
}

/// Why a command did not get its answer.
#[derive(Debug, thiserror::Error)]
pub enum RedisFailure {
    /// There is no connection.
    #[error("no connection to Redis at {address}: {reason}")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// Why not.
        reason: String,
    },
    /// The server refused the command, or the connection broke before the answer: then it may
    /// have been carried out.
    #[error("Redis: {0}")]
    Command(#[from] RedisError),
}

impl RedisServer {
    /// Reads the options.
    ///
    /// # Errors
    /// When the URL or the certificates cannot be read.
    pub fn new(options: &RedisOptions) -> Result<Self, RedisFailure> {
        let info = options.url.as_str().into_connection_info()?;
        // Only with this protocol a connection tells by itself that it has ended.
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

    /// Where it is, without user and password.
    pub fn address(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    /// How long an answer may take.
    pub fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    /// Makes a connection that hands what the server sends unasked, and its own end, to `sink`,
    /// which must not wait.
    ///
    /// # Errors
    /// When the server cannot be reached.
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
        // The client's own timeout leaves out looking up the name and the handshake.
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        match tokio::time::timeout(self.connect_timeout, connecting).await {
            Ok(connected) => connected.map_err(|error| unreachable(error.to_string())),
            Err(_) => Err(unreachable(format!("not within {:?}", self.connect_timeout))),
        }
    }
}

/// One connection at a time to a server, replaced when it breaks. Shared use pipelines.
pub struct Link {
    server: RedisServer,
    state: Mutex<State>,
}

struct State {
    connection: Option<MultiplexedConnection>,
    /// Set once that has ended.
    ended: Arc<AtomicBool>,
    /// Tells the present connection from earlier ones.
    generation: u64,
    reach: Reach,
}

/// A [`Link`]'s present connection.
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

    /// Its server.
    pub fn server(&self) -> &RedisServer {
        &self.server
    }

    /// The present connection, or a new one.
    ///
    /// # Errors
    /// When none can be made; at once, while the pause after a failure lasts.
    pub async fn connection(&self) -> Result<Connection<'_>, RedisFailure> {
        let mut state = self.state.lock().await;
        // One that has ended while nobody used it does not cost a command.
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

    async fn give_up(&self, generation: u64) {
        let mut state = self.state.lock().await;
        if state.generation == generation {
            state.connection = None;
        }
    }
}

impl Connection<'_> {
    /// Differs from that of the connections before it.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Sends one command.
    ///
    /// # Errors
    /// [`RedisFailure::Command`].
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisFailure> {
        let answer = command.query_async(&mut self.inner.clone()).await;
        self.checked(answer).await
    }

    /// Sends one command to whose answer the server takes up to `longest` more than usual.
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
        let answer = command.query_async(&mut inner).await;
        self.checked(answer).await
    }

    /// Sends several commands at once.
    ///
    /// # Errors
    /// [`RedisFailure::Command`] when one of them failed.
    pub async fn pipeline<T: FromRedisValue>(
        &self,
        commands: &Pipeline,
    ) -> Result<T, RedisFailure> {
        let answer = commands.query_async(&mut self.inner.clone()).await;
        self.checked(answer).await
    }

    /// Runs a script, sending its text when the server does not know it.
    ///
    /// # Errors
    /// [`RedisFailure::Command`].
    pub async fn script<T: FromRedisValue>(
        &self,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, RedisFailure> {
        let answer = call.invoke_async(&mut self.inner.clone()).await;
        self.checked(answer).await
    }

    async fn checked<T>(&self, answer: RedisResult<T>) -> Result<T, RedisFailure> {
        match answer {
            Ok(answer) => Ok(answer),
            Err(error) => {
                if is_broken(&error) {
                    self.link.give_up(self.generation).await;
                }
                Err(error.into())
            }
        }
    }
}

/// Whether the connection is of no more use. After a timeout its answers would come too late for
/// everyone; one to a server that has become a replica would refuse all writes.
fn is_broken(error: &RedisError) -> bool {
    error.is_unrecoverable_error()
        || error.is_io_error()
        || error.is_timeout()
        || matches!(error.code(), Some("READONLY" | "MASTERDOWN" | "NOAUTH"))
}
