//! The server: how it is reached and asked. Every call has an end.

use std::time::Duration;

use ::clickhouse::query::Query;
use ::clickhouse::{Client, Compression, RowOwned, RowRead};
use bytes::Bytes;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as Pooled;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use percent_encoding::percent_decode_str;
use url::Url;

use super::{ClickHouseOptions, Timeouts, errors};
use bklit_net::timeout::within;
use bklit_net::tls;
use bklit_pipeline::store::StoreError;

/// How long an unused connection is kept: less than the 3 s after which the server closes it.
const IDLE: Duration = Duration::from_secs(2);

const KEEPALIVE: Duration = Duration::from_secs(60);

/// The longest statement: thousands of ids.
const STATEMENT_BYTES: usize = 64 << 20;

/// Bytes sent and compressed at a time.
const CHUNK: usize = 256 << 10;

/// The most rows of a block. An insert must be one block, as the server keeps or drops blocks
/// whole; no batch is longer.
const BLOCK_ROWS: &str = "1048576";

/// A server and who we are to it.
pub(super) struct Connection {
    /// Asks within the database.
    client: Client,
    /// Asks the server, also when there is no database yet.
    pub(super) server: Client,
    pub(super) database: String,
    pub(super) timeouts: Timeouts,
}

impl Connection {
    pub(super) fn new(options: ClickHouseOptions) -> Result<Self, StoreError> {
        let mut url = Url::parse(&options.url)
            .ok()
            .filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host())
            .ok_or_else(|| {
                let hint = "is needed, such as http://localhost:8123";
                StoreError::Refused(format!("the address of ClickHouse's HTTP interface {hint}"))
            })?;
        let given = |text: &str| {
            (!text.is_empty()).then(|| percent_decode_str(text).decode_utf8_lossy().into_owned())
        };
        let user = options.user.or_else(|| given(url.username()));
        let password = options.password.or_else(|| url.password().and_then(given));
        // Neither may stay: addresses are shown and logged.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        let pool = Pooled::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector(options.timeouts.connect, options.root_certificates.as_deref())?);
        let mut server = Client::with_http_client(pool)
            .with_url(url)
            .with_compression(Compression::Lz4)
            .with_product_info("bklit-tui", env!("CARGO_PKG_VERSION"));
        if let Some(user) = user {
            server = server.with_user(user);
        }
        if let Some(password) = password {
            server = server.with_password(password);
        }
        Ok(Self {
            client: server.clone().with_database(&options.database),
            server,
            database: options.database,
            timeouts: options.timeouts,
        })
    }

    /// A statement of our own.
    pub(super) fn statement(&self, sql: &str) -> Query {
        self.bounded(self.client.query_raw(sql))
    }

    /// A query of somebody else's.
    pub(super) fn foreign(&self, sql: &str) -> Query {
        self.client.query_raw(sql)
    }

    /// A statement of our own, outside of the database.
    pub(super) fn on_server(&self, sql: &str) -> Query {
        self.bounded(self.server.query_raw(sql))
    }

    fn bounded(&self, query: Query) -> Query {
        // So that the server, too, stops working on what nobody waits for.
        let seconds = self.timeouts.request.as_secs().max(1);
        query
            .with_setting("max_execution_time", seconds.to_string())
            .with_setting("max_query_size", STATEMENT_BYTES.to_string())
    }

    /// All rows of an answer.
    pub(super) async fn rows<T>(&self, query: Query) -> Result<Vec<T>, StoreError>
    where
        T: RowOwned + RowRead,
    {
        let answer = query.fetch_all::<T>();
        self.in_time(async { answer.await.map_err(|error| errors::of_statement(&error)) }).await
    }

    /// Runs what has no answer.
    pub(super) async fn execute(&self, query: Query) -> Result<(), StoreError> {
        self.in_time(async { query.execute().await.map_err(|error| errors::of_statement(&error)) })
            .await
    }

    /// One block of rows. When this fails, they may be there or not.
    pub(super) async fn insert(
        &self,
        into: &str,
        token: &str,
        rows: Bytes,
    ) -> Result<(), StoreError> {
        let limit = self.timeouts.request;
        let mut insert = self
            .client
            .insert_formatted_with(format!("INSERT INTO {into}"))
            .with_setting("insert_deduplication_token", token)
            .with_setting("insert_deduplicate", "1")
            .with_setting("async_insert", "0")
            .with_setting("max_insert_block_size", BLOCK_ROWS)
            .with_setting("min_insert_block_size_rows", BLOCK_ROWS)
            .with_setting("min_insert_block_size_bytes", "0")
            .with_setting("input_format_parallel_parsing", "0")
            .with_timeouts(Some(limit), Some(limit));
        self.in_time(async {
            let mut rest = rows;
            while !rest.is_empty() {
                let chunk = rest.split_to(rest.len().min(CHUNK));
                insert.send(chunk).await.map_err(|error| errors::of_insert(&error))?;
            }
            insert.end().await.map_err(|error| errors::of_insert(&error))
        })
        .await
    }

    pub(super) async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let limit = self.timeouts.request;
        within(limit, answer, |reason| StoreError::Unavailable(format!("ClickHouse: {reason}")))
            .await
    }
}

fn connector(
    timeout: Duration,
    root_certificates: Option<&[u8]>,
) -> Result<HttpsConnector<HttpConnector>, StoreError> {
    let tls = tls::client_config(root_certificates)
        .map_err(|error| StoreError::Refused(error.to_string()))?;
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_connect_timeout(Some(timeout));
    http.set_keepalive(Some(KEEPALIVE));
    http.set_nodelay(true);
    let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls);
    Ok(builder.https_or_http().enable_http1().wrap_connector(http))
}
