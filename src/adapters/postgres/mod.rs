//! Bklit's Postgres, read-only: the connection, and the adapters for tokens and definitions. A
//! connection is opened on demand, dropped when it fails, and reopened after a growing pause.
//!
//! Statements are not prepared by name, so that a pooler such as PgBouncer may send each over a
//! different connection.
//!
//! | module | contents |
//! | --- | --- |
//! | `tokens` | Bklit's tokens, combined with our own |
//! | `definitions` | event definitions |
//! | `check` | what `doctor` reports about the server |
//! | `url` | `DATABASE_URL` with Prisma's parameters |
//! | `tls` | TLS connections |

pub mod check;
pub mod definitions;
mod tls;
pub mod tokens;
mod url;

use std::error::Error as _;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Row};

use self::tls::Tls;
use bklit_net::backoff::Reach;

/// Maximum pause after a failed connection attempt; calls in between fail immediately.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Server address and timeouts.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://user:password@host[:port]/database`, with or without Prisma's parameters.
    pub url: String,
    /// Root certificates (PEM), where the server's certificate is verified; `None` for the
    /// well-known ones.
    pub root_certificates: Option<Vec<u8>>,
    /// Time limit for connecting.
    pub connect_timeout: Duration,
    /// Time limit for a response.
    pub response_timeout: Duration,
}

/// A Postgres server. Cheap to clone; does not connect by itself.
#[derive(Clone)]
pub struct PostgresServer {
    config: Arc<Config>,
    tls: Tls,
    schema: Option<String>,
    address: String,
    connect_timeout: Duration,
    response_timeout: Duration,
}

/// Why a query failed.
#[derive(Debug, thiserror::Error)]
pub enum PostgresFailure {
    /// The options are invalid.
    #[error("{0}")]
    Options(String),
    /// There is no connection, or it was lost.
    #[error("no connection to Postgres at {address}: {reason}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// The reason.
        reason: String,
    },
    /// The server rejected the query.
    #[error("Postgres: {0}")]
    Refused(String),
}

impl PostgresServer {
    /// Reads the options.
    ///
    /// # Errors
    /// [`PostgresFailure::Options`] if the URL or the certificates are invalid.
    pub fn new(options: &PostgresOptions) -> Result<Self, PostgresFailure> {
        let address = url::parse(&options.url, options.root_certificates.as_deref())
            .map_err(PostgresFailure::Options)?;
        Ok(Self {
            config: Arc::new(address.config),
            tls: Tls::new(&address.trust).map_err(PostgresFailure::Options)?,
            schema: address.schema,
            address: address.shown,
            connect_timeout: options.connect_timeout,
            response_timeout: options.response_timeout,
        })
    }

    /// Host and port, without credentials.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The quoted table name, with the schema if the URL names one.
    pub fn table(&self, name: &str) -> String {
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        match &self.schema {
            Some(schema) => format!("{}.{}", quoted(schema), quoted(name)),
            None => quoted(name),
        }
    }

    async fn connect(&self) -> Result<Connected, PostgresFailure> {
        let connecting = self.config.connect(self.tls.clone());
        let (client, connection) = match timeout(self.connect_timeout, connecting).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(error)) => return Err(self.unreachable(explain(&error))),
            Err(_) => {
                return Err(
                    self.unreachable(format!("no connection within {:?}", self.connect_timeout))
                );
            }
        };
        let task = tokio::spawn(async move {
            // Pending queries report the error.
            let _ = connection.await;
        });
        Ok(Connected {
            client,
            task: task.abort_handle(),
            waiting_since: std::sync::Mutex::default(),
        })
    }

    fn unreachable(&self, reason: String) -> PostgresFailure {
        PostgresFailure::Unreachable { address: self.address.clone(), reason }
    }
}

/// A connection, closed when it is no longer used.
struct Connected {
    client: Client,
    task: AbortHandle,
    /// When the oldest unanswered query was sent. Its caller may have been cancelled before the
    /// response was late.
    waiting_since: std::sync::Mutex<Option<Instant>>,
}

impl Connected {
    fn query_sent(&self) {
        let mut waiting_since = self.waiting_since.lock().unwrap_or_else(PoisonError::into_inner);
        waiting_since.get_or_insert_with(Instant::now);
    }

    fn response_received(&self) {
        *self.waiting_since.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn is_usable(&self, longest: Duration) -> bool {
        let waiting_since = *self.waiting_since.lock().unwrap_or_else(PoisonError::into_inner);
        !self.client.is_closed() && waiting_since.is_none_or(|at| at.elapsed() < longest)
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection at a time to a server, replaced when it is lost. Concurrent queries are
/// pipelined.
pub struct Link {
    server: PostgresServer,
    state: Mutex<State>,
}

struct State {
    connected: Option<Arc<Connected>>,
    reach: Reach,
}

impl Link {
    /// A link that is not connected yet.
    pub fn new(server: PostgresServer) -> Self {
        let state = State { connected: None, reach: Reach::new(LONGEST_PAUSE) };
        Self { server, state: Mutex::new(state) }
    }

    /// The server.
    pub fn server(&self) -> &PostgresServer {
        &self.server
    }

    /// Runs a query. All statements only read, so if the connection turns out to be lost, the query
    /// is sent once more over a new one.
    ///
    /// # Errors
    /// Fails immediately during the pause after a failed connection attempt.
    pub async fn query(
        &self,
        statement: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, PostgresFailure> {
        let mut tried = false;
        loop {
            let connected = self.connected().await?;
            connected.query_sent();
            let response = connected.client.query_typed(statement, parameters);
            let broken = match timeout(self.server.response_timeout, response).await {
                Ok(Ok(rows)) => {
                    connected.response_received();
                    return Ok(rows);
                }
                Ok(Err(error)) if error.as_db_error().is_some() && !is_end(&error) => {
                    connected.response_received();
                    return Err(PostgresFailure::Refused(explain(&error)));
                }
                Ok(Err(error)) => explain(&error),
                // Later responses would be queued behind this one.
                Err(_) => {
                    self.discard(&connected).await;
                    let reason = format!("no response within {:?}", self.server.response_timeout);
                    return Err(self.server.unreachable(reason));
                }
            };
            self.discard(&connected).await;
            if std::mem::replace(&mut tried, true) {
                return Err(self.server.unreachable(broken));
            }
        }
    }

    async fn connected(&self) -> Result<Arc<Connected>, PostgresFailure> {
        let mut state = self.state.lock().await;
        let usable =
            |connected: &&Arc<Connected>| connected.is_usable(self.server.response_timeout);
        if let Some(connected) = state.connected.as_ref().filter(usable) {
            return Ok(Arc::clone(connected));
        }
        if let Some(reason) = state.reach.refusal() {
            return Err(self.server.unreachable(reason.to_owned()));
        }
        match self.server.connect().await {
            Ok(connected) => {
                let connected = Arc::new(connected);
                state.connected = Some(Arc::clone(&connected));
                state.reach.succeeded();
                Ok(connected)
            }
            Err(failure) => {
                if let PostgresFailure::Unreachable { reason, .. } = &failure {
                    state.reach.failed(reason.clone());
                }
                Err(failure)
            }
        }
    }

    async fn discard(&self, broken: &Arc<Connected>) {
        let mut state = self.state.lock().await;
        if state.connected.as_ref().is_some_and(|present| Arc::ptr_eq(present, broken)) {
            state.connected = None;
        }
    }
}

/// Whether the server closes the connection with this error: a shutdown, or an operator's action.
fn is_end(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| code.code().starts_with("57P"))
}

/// The error message, including its source.
fn explain(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return said.message().to_owned();
    }
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
