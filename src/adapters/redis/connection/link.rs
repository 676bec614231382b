//! One connection at a time, replaced when it is lost.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    Cmd, ConnectionAddr, FromRedisValue, Pipeline, PushInfo, PushKind, RedisError, RedisResult,
    ScriptInvocation, Value, cmd, from_redis_value,
};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::cluster::Redirect;
use super::node::Sink;
use super::{Place, RedisFailure, RedisServer};
use bklit_net::backoff::Reach;

/// Maximum pause after a failed connection attempt; calls in between fail immediately.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// With RESP2, a connection that was idle for longer is checked before it is used.
const IDLE: Duration = Duration::from_secs(1);

/// How long a server is assumed to have no replicas.
const REPLICAS_KNOWN: Duration = Duration::from_secs(5);

/// How often a command follows a cluster's redirects.
const MAX_REDIRECTS: usize = 4;

/// One connection at a time to a server, replaced when it is lost. Concurrent commands are
/// pipelined.
pub struct Link {
    server: RedisServer,
    state: Mutex<State>,
}

struct State {
    connection: Option<Current>,
    /// Set when the connection has ended, if the protocol reports that.
    ended: Arc<AtomicBool>,
    /// Number of the current connection.
    generation: u64,
    /// When the connection was last requested, if the protocol does not report its end.
    used: Option<Instant>,
    reach: Reach,
}

/// An open connection.
#[derive(Clone)]
struct Current {
    inner: MultiplexedConnection,
    node: ConnectionAddr,
    generation: u64,
    replicas: Arc<Replicas>,
}

/// Whether a replica of the node may be promoted.
struct Replicas {
    has_some: AtomicBool,
    asked: Mutex<Option<Instant>>,
}

/// The current connection of a [`Link`].
pub struct Connection<'a> {
    link: &'a Link,
    current: SyncMutex<Current>,
    was_elsewhere: AtomicBool,
}

impl Link {
    /// A link that is not connected yet.
    pub fn new(server: RedisServer) -> Self {
        let state = State {
            connection: None,
            ended: Arc::default(),
            generation: 0,
            used: None,
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
        let current = SyncMutex::new(self.current().await?);
        Ok(Connection { link: self, current, was_elsewhere: AtomicBool::new(false) })
    }

    async fn current(&self) -> Result<Current, RedisFailure> {
        let mut state = self.state.lock().await;
        // A connection that ended while idle is replaced without a failed command.
        if let Some(mut current) = state.connection.clone()
            && !state.ended.load(Relaxed)
        {
            let was_idle = state.used.is_some_and(|used| used.elapsed() > IDLE);
            if !was_idle || cmd("PING").query_async::<()>(&mut current.inner).await.is_ok() {
                state.used = state.used.map(|_| Instant::now());
                return Ok(current);
            }
        }
        if let Some(reason) = state.reach.refusal() {
            let (address, reason) = (self.server.address(), reason.to_owned());
            return Err(RedisFailure::Unreachable { address, reason });
        }
        let ended = Arc::new(AtomicBool::new(false));
        // Boxed, because it is rarely awaited and larger than everything else.
        match Box::pin(self.server.open(&reports_end(&ended))).await {
            Ok((node, opened)) => {
                state.ended = ended;
                state.used = (!opened.has_pushes).then(Instant::now);
                state.generation += 1;
                let (inner, generation) = (opened.connection, state.generation);
                let has_some = AtomicBool::new(self.server.has_replicas() == Some(true));
                let replicas = Arc::new(Replicas { has_some, asked: Mutex::default() });
                let current = Current { inner, node, generation, replicas };
                state.connection = Some(current.clone());
                state.reach.succeeded();
                Ok(current)
            }
            Err(failure) => {
                state.reach.failed(match &failure {
                    RedisFailure::Unreachable { reason, .. } => reason.clone(),
                    other => other.to_string(),
                });
                Err(failure)
            }
        }
    }

    async fn discard(&self, generation: u64) {
        let mut state = self.state.lock().await;
        if state.connection.as_ref().is_some_and(|current| current.generation == generation) {
            state.connection = None;
        }
    }
}

fn reports_end(ended: &Arc<AtomicBool>) -> Sink {
    let ended = Arc::clone(ended);
    Arc::new(move |push: PushInfo| {
        if push.kind == PushKind::Disconnection {
            ended.store(true, Relaxed);
        }
        Ok(())
    })
}

/// What can be sent again to another node.
#[derive(Clone, Copy)]
enum Request<'a> {
    Command(&'a Cmd),
    Script(&'a ScriptInvocation<'a>),
}

impl Request<'_> {
    async fn send(self, connection: &mut MultiplexedConnection) -> RedisResult<Value> {
        match self {
            Request::Command(command) => command.query_async(connection).await,
            Request::Script(call) => call.invoke_async(connection).await,
        }
    }

    /// Sends it to a node that is about to take over its keys, over a connection of its own.
    async fn ask(self, connection: &mut MultiplexedConnection) -> RedisResult<Value> {
        if let Request::Script(call) = self {
            // Otherwise `ASKING` would be used up by the answer that the script is unknown.
            call.load_async(connection).await?;
        }
        cmd("ASKING").query_async::<()>(connection).await?;
        self.send(connection).await
    }
}

impl Connection<'_> {
    /// The connection's number, which is different for each connection of a link.
    pub fn generation(&self) -> u64 {
        self.current().generation
    }

    /// Whether a command was executed on another connection, because its keys are being moved.
    pub fn was_elsewhere(&self) -> bool {
        self.was_elsewhere.load(Relaxed)
    }

    /// The server.
    pub fn server(&self) -> &RedisServer {
        &self.link.server
    }

    /// Whether a replica of this server is promoted when the server fails, so that only what the
    /// replica has is safe. A new replica is noticed within [`REPLICAS_KNOWN`].
    ///
    /// # Errors
    /// If the server is not the primary any more, or that cannot be determined.
    pub(crate) async fn has_replicas(&self) -> Result<bool, RedisFailure> {
        let Current { replicas, node, .. } = self.current();
        if self.link.server.has_replicas().is_none() {
            return Ok(false);
        }
        // Concurrent callers wait for the answer.
        let mut asked = replicas.asked.lock().await;
        if replicas.has_some.load(Relaxed) {
            return Ok(true);
        }
        let now = Instant::now();
        if asked.is_some_and(|at| now.duration_since(at) < REPLICAS_KNOWN) {
            return Ok(false);
        }
        // One that hung while its replica was promoted sees none, and does not know that yet.
        let has_some = self.is_connected_to_replicas().await?
            || match self.link.server.replicas_of(&node).await {
                Ok(has_some) => has_some,
                Err(failure) => {
                    self.abandon().await;
                    return Err(failure);
                }
            };
        *asked = Some(now);
        replicas.has_some.store(has_some, Relaxed);
        Ok(has_some)
    }

    async fn is_connected_to_replicas(&self) -> Result<bool, RedisFailure> {
        let role: Vec<Value> = match self.query(&cmd("ROLE")).await {
            // Then only what Sentinel says is known.
            Err(RedisFailure::Command(error)) if error.code() == Some("NOPERM") => Vec::new(),
            role => role?,
        };
        Ok(matches!(role.get(2), Some(Value::Array(connected)) if !connected.is_empty()))
    }

    /// Replaces the connection before the next use, because something about the server has changed.
    pub(crate) async fn abandon(&self) {
        self.link.server.forget();
        self.link.discard(self.generation()).await;
    }

    /// Sends one command.
    ///
    /// # Errors
    /// [`RedisFailure::Command`].
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisFailure> {
        self.run(Request::Command(command)).await
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
        let Current { mut inner, generation, .. } = self.current();
        inner.set_response_timeout(self.link.server.response_timeout() + longest);
        let response = command.query_async(&mut inner).await;
        self.checked(response, generation).await
    }

    /// Sends several commands in one round trip.
    ///
    /// # Errors
    /// [`RedisFailure::Command`] if one of them failed.
    pub async fn pipeline<T: FromRedisValue>(
        &self,
        commands: &Pipeline,
    ) -> Result<T, RedisFailure> {
        let Current { mut inner, generation, .. } = self.current();
        let response = commands.query_async(&mut inner).await;
        if let Err(error) = &response
            && error.code() == Some("MOVED")
        {
            // The error of a pipeline does not say where. The next call finds the right node.
            self.link.server.forget();
        }
        self.checked(response, generation).await
    }

    /// Runs a script; sends its text if the server does not have it cached.
    ///
    /// # Errors
    /// [`RedisFailure::Command`].
    pub async fn script<T: FromRedisValue>(
        &self,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, RedisFailure> {
        self.run(Request::Script(call)).await
    }

    async fn run<T: FromRedisValue>(&self, request: Request<'_>) -> Result<T, RedisFailure> {
        let Current { mut inner, mut generation, mut node, .. } = self.current();
        let mut response = request.send(&mut inner).await;
        for _ in 0..MAX_REDIRECTS {
            let Err(error) = &response else { break };
            response = match self.link.server.redirect(error, &node) {
                Some(Redirect::Ask(address)) => {
                    self.was_elsewhere.store(true, Relaxed);
                    self.ask(request, address).await?
                }
                Some(Redirect::Moved) if matches!(self.link.server.place, Place::Slot(_)) => {
                    self.link.discard(generation).await;
                    let next = self.link.current().await?;
                    *self.current.lock().unwrap_or_else(PoisonError::into_inner) = next.clone();
                    Current { inner, generation, node, .. } = next;
                    request.send(&mut inner).await
                }
                Some(Redirect::Moved) | None => break,
            };
        }
        let value: Value = self.checked(response, generation).await?;
        from_redis_value(value).map_err(|error| RedisFailure::Command(error.into()))
    }

    async fn ask(
        &self,
        request: Request<'_>,
        address: ConnectionAddr,
    ) -> Result<RedisResult<Value>, RedisFailure> {
        let (server, sink) = (self.link.server.at(address), reports_end(&Arc::default()));
        let (_, opened) = Box::pin(server.open(&sink)).await?;
        let mut connection = opened.connection;
        Ok(request.ask(&mut connection).await)
    }

    fn current(&self) -> Current {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn checked<T>(
        &self,
        response: RedisResult<T>,
        generation: u64,
    ) -> Result<T, RedisFailure> {
        match response {
            Ok(response) => Ok(response),
            Err(error) => {
                if error.code() == Some("CLUSTERDOWN") {
                    // The node may be cut off from the others, which may know another owner.
                    self.link.server.forget();
                }
                if is_broken(&error) {
                    self.link.discard(generation).await;
                }
                Err(self.link.server.failure(error))
            }
        }
    }
}

/// Whether the connection must be replaced. After a timeout all its responses would be late; a
/// server that has become a replica would reject all writes, and one that has lost its slots all
/// commands.
pub(in crate::redis) fn is_broken(error: &RedisError) -> bool {
    error.is_unrecoverable_error()
        || error.is_io_error()
        || error.is_timeout()
        || matches!(
            error.code(),
            Some("READONLY" | "MASTERDOWN" | "NOAUTH" | "MOVED" | "CLUSTERDOWN")
        )
}
