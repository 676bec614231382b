//! How Bklit's Postgres is reached, which is only read: a connection that is made when it is
//! needed, given up when it fails, and made again after a pause that grows.
//!
//! Statements are sent without being prepared by name, so that a pooler such as PgBouncer may
//! hand each to another connection.

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

/// The longest pause after a failure to connect; calls in between fail at once.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Where the server is and how long to wait for it.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://user:password@host[:port]/database`, with Prisma's parameters or without.
    pub url: String,
    /// The certificates (PEM) that the server's one must lead to, where it is checked; without,
    /// the well-known ones.
    pub root_certificates: Option<Vec<u8>>,
    /// How long making a connection may take.
    pub connect_timeout: Duration,
    /// How long an answer may take.
    pub response_timeout: Duration,
}

/// A Postgres server. Cheap to clone; connects to nothing by itself.
#[derive(Clone)]
pub struct PostgresServer {
    config: Arc<Config>,
    tls: Tls,
    schema: Option<String>,
    address: String,
    connect_timeout: Duration,
    response_timeout: Duration,
}

/// Why a question did not get its answer.
#[derive(Debug, thiserror::Error)]
pub enum PostgresFailure {
    /// The options cannot be used.
    #[error("{0}")]
    Options(String),
    /// There is no connection, or it broke.
    #[error("no connection to Postgres at {address}: {reason}")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// Why not.
        reason: String,
    },
    /// It answers, and says no.
    #[error("Postgres: {0}")]
    Refused(String),
}

impl PostgresServer {
    /// Reads the options.
    ///
    /// # Errors
    /// When the URL or the certificates cannot be read.
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

    /// Where it is, without user and password.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The table's name in statements, with its schema where the URL names one.
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
                return Err(self.unreachable(format!("not within {:?}", self.connect_timeout)));
            }
        };
        let task = tokio::spawn(async move {
            // Whoever waits for an answer learns of the end.
            let _ = connection.await;
        });
        Ok(Connected { client, task: task.abort_handle(), asked_at: std::sync::Mutex::default() })
    }

    fn unreachable(&self, reason: String) -> PostgresFailure {
        PostgresFailure::Unreachable { address: self.address.clone(), reason }
    }
}

/// A connection, ended when nobody uses it any more.
struct Connected {
    client: Client,
    task: AbortHandle,
    /// When it was asked something since which it has answered nothing. Whoever asked may have
    /// gone before the answer was late.
    asked_at: std::sync::Mutex<Option<Instant>>,
}

impl Connected {
    fn asked(&self) {
        let mut asked_at = self.asked_at.lock().unwrap_or_else(PoisonError::into_inner);
        asked_at.get_or_insert_with(Instant::now);
    }

    fn answered(&self) {
        *self.asked_at.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn is_usable(&self, longest: Duration) -> bool {
        let asked_at = *self.asked_at.lock().unwrap_or_else(PoisonError::into_inner);
        !self.client.is_closed() && asked_at.is_none_or(|at| at.elapsed() < longest)
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection at a time to a server, replaced when it breaks. Shared use pipelines.
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

    /// Its server.
    pub fn server(&self) -> &PostgresServer {
        &self.server
    }

    /// Asks. Statements only read, so one whose connection broke, as one does that was not used
    /// for long, is sent again over a new one.
    ///
    /// # Errors
    /// At once, while the pause after a failure to connect lasts.
    pub async fn query(
        &self,
        statement: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, PostgresFailure> {
        let mut tried = false;
        loop {
            let connected = self.connected().await?;
            connected.asked();
            let asked = connected.client.query_typed(statement, parameters);
            let broken = match timeout(self.server.response_timeout, asked).await {
                Ok(Ok(rows)) => {
                    connected.answered();
                    return Ok(rows);
                }
                Ok(Err(error)) if error.as_db_error().is_some() && !is_end(&error) => {
                    connected.answered();
                    return Err(PostgresFailure::Refused(explain(&error)));
                }
                Ok(Err(error)) => explain(&error),
                // Later answers would wait behind this one.
                Err(_) => {
                    self.give_up(&connected).await;
                    let reason = format!("no answer within {:?}", self.server.response_timeout);
                    return Err(self.server.unreachable(reason));
                }
            };
            self.give_up(&connected).await;
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

    async fn give_up(&self, broken: &Arc<Connected>) {
        let mut state = self.state.lock().await;
        if state.connected.as_ref().is_some_and(|present| Arc::ptr_eq(present, broken)) {
            state.connected = None;
        }
    }
}

/// Whether the server ends the connection with this: it is shut down, or an operator ended it.
fn is_end(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| code.code().starts_with("57P"))
}

/// What the library says, with the reason that it leaves to the error behind.
fn explain(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return said.message().to_owned();
    }
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
