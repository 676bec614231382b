//! The HTTP interface.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::process::{Signal, getpid, kill_process};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::compression;
use crate::engine::{Answer, Engine};
use crate::exception::Exception;
use crate::execute::{execute, text};
use crate::fault::{Fault, Faults, Kind, Logged};
use crate::request::{Query, credentials};

/// The largest accepted body.
const MAX_BODY: usize = 1 << 30;
/// Statements that run at once; further ones wait.
const MAX_RUNNING: u32 = 32;
/// How long running statements may take during a shutdown.
const DRAIN: Duration = Duration::from_secs(5);

/// What all connections share.
pub struct Front {
    engine: Arc<Engine>,
    version: String,
    account: Option<(String, String)>,
    faults: Faults,
    running: Semaphore,
}

type Reply = Response<Full<Bytes>>;

impl Front {
    /// A front for `engine`; with an `account`, only for that user.
    pub fn new(engine: Engine, account: Option<(String, String)>) -> Result<Self, String> {
        let version = engine.session()?.run(b"SELECT version()", "TSVRaw")?.body;
        Ok(Front {
            engine: Arc::new(engine),
            version: String::from_utf8_lossy(&version).trim().to_owned(),
            account,
            faults: Faults::default(),
            running: Semaphore::new(MAX_RUNNING as usize),
        })
    }

    /// Accepts connections until `end` completes, then lets running statements finish.
    pub async fn serve(self: &Arc<Self>, listener: TcpListener, end: impl Future<Output = ()>) {
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => drop(tokio::spawn(Arc::clone(self).connection(stream))),
                    Err(error) => {
                        eprintln!("clickhouse-front: accept: {error}");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
            }
        }
        let drained = tokio::time::timeout(DRAIN, self.running.acquire_many(MAX_RUNNING)).await;
        if drained.is_err() {
            eprintln!("clickhouse-front: statements are still running after {DRAIN:?}");
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream) {
        let service = service_fn(move |request| {
            let front = Arc::clone(&self);
            // In a task of its own: a real server finishes a statement even if its client
            // disconnects.
            async move {
                tokio::spawn(front.answer(request))
                    .await
                    .unwrap_or_else(|error| Err(io::Error::other(error)))
            }
        });
        // An error here is a connection cut by either side.
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    /// An error cuts the connection.
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> io::Result<Reply> {
        let (parts, body) = request.into_parts();
        // A body that the client aborted counts as no insert.
        let body = Limited::new(body, MAX_BODY).collect().await.map_err(io::Error::other)?;
        let body = body.to_bytes();
        match (parts.uri.path(), &parts.method) {
            ("/ping", _) => Ok(reply(StatusCode::OK, "Ok.\n")),
            ("/fault" | "/log", _) => Ok(self.control(&parts, &body)),
            ("/", _) => self.query(&parts, &body).await,
            (path, _) => {
                let text = format!("There is no handle {path}. Use / or /ping.\n");
                Ok(reply(StatusCode::NOT_FOUND, text))
            }
        }
    }

    fn control(&self, parts: &Parts, body: &[u8]) -> Reply {
        match (parts.uri.path(), &parts.method) {
            ("/fault", &Method::POST) => match serde_json::from_slice::<Fault>(body) {
                Ok(fault) => json(&serde_json::json!({ "id": self.faults.add(fault) })),
                Err(error) => reply(StatusCode::BAD_REQUEST, format!("not a fault: {error}\n")),
            },
            ("/fault", &Method::DELETE) => {
                self.faults.clear();
                json(&self.faults.list())
            }
            ("/fault", &Method::GET) => json(&self.faults.list()),
            ("/log", &Method::GET) => json(&self.faults.logged()),
            _ => reply(StatusCode::METHOD_NOT_ALLOWED, "GET, POST or DELETE /fault, GET /log\n"),
        }
    }

    async fn query(self: &Arc<Self>, parts: &Parts, body: &Bytes) -> io::Result<Reply> {
        let mut query = match self.authenticate(parts).and_then(|()| Query::read(parts, body)) {
            Ok(query) => query,
            Err(exception) => return Ok(self.failure(&exception)),
        };
        let sql = text(&query);
        let token = query.setting("insert_deduplication_token").map(str::to_owned);
        let fault = self.faults.meet(&sql, token.as_deref(), &query.settings);
        if let Some(Fault { kind: Kind::Rewrite, from, to, .. }) = &fault {
            query.rewrite(from, to);
        }
        let query = Arc::new(query);
        let mut logged = Logged {
            sql,
            token,
            fault: fault.as_ref().map(|fault| fault.kind),
            outcome: "not run",
            rows: 0,
            read: 0,
        };
        if let Some(Fault { kind: Kind::Forward, to, .. }) = &fault {
            self.faults.log(logged);
            return forward(to, parts, body).await;
        }
        if let Some(fault) = &fault
            && let Some(result) = self.before(fault, &query).await
        {
            self.faults.log(logged);
            return result;
        }
        let started = Instant::now();
        let result = self.run(&query).await;
        logged.outcome = if result.is_ok() { "done" } else { "failed" };
        logged.rows = result.as_ref().map_or(0, |answer| answer.rows_written);
        logged.read = result.as_ref().map_or(0, |answer| answer.rows_read);
        self.faults.log(logged);
        if let Some(fault) = &fault
            && let Some(result) = self.after(fault).await
        {
            return result;
        }
        match result {
            Ok(answer) => self.success(&query, answer, started.elapsed()),
            Err(exception) => Ok(self.failure(&exception)),
        }
    }

    /// Applies a fault before the statement; a response means that it is not run.
    async fn before(&self, fault: &Fault, query: &Query) -> Option<io::Result<Reply>> {
        match fault.kind {
            Kind::Error => Some(Ok(self.failure(&Exception::new(fault.code, &fault.message)))),
            Kind::Hang => {
                self.faults.removal().await;
                Some(Err(cut()))
            }
            Kind::Slow => {
                tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
                None
            }
            Kind::DropBefore => Some(Err(cut())),
            Kind::KillBefore => Some(Err(die())),
            Kind::BurnToken => Some(self.success(query, Answer::default(), Duration::ZERO)),
            Kind::ErrorAfterCommit
            | Kind::HangAfterCommit
            | Kind::DropAfterCommit
            | Kind::KillAfterCommit
            | Kind::Rewrite
            | Kind::Forward => None,
        }
    }

    /// Applies a fault after the statement, in place of its response.
    async fn after(&self, fault: &Fault) -> Option<io::Result<Reply>> {
        match fault.kind {
            Kind::ErrorAfterCommit => {
                Some(Ok(self.failure(&Exception::new(fault.code, &fault.message))))
            }
            Kind::HangAfterCommit => {
                self.faults.removal().await;
                Some(Err(cut()))
            }
            Kind::DropAfterCommit => Some(Err(cut())),
            Kind::KillAfterCommit => Some(Err(die())),
            _ => None,
        }
    }

    async fn run(self: &Arc<Self>, query: &Arc<Query>) -> Result<Answer, Exception> {
        let broken = |error: &dyn std::fmt::Display| Exception::new(1001, &error.to_string());
        let _permit = self.running.acquire().await.map_err(|error| broken(&error))?;
        let (front, query) = (Arc::clone(self), Arc::clone(query));
        tokio::task::spawn_blocking(move || execute(&front.engine, &query))
            .await
            .map_err(|error| broken(&error))?
    }

    fn authenticate(&self, parts: &Parts) -> Result<(), Exception> {
        let Some(account) = &self.account else { return Ok(()) };
        let given = credentials(parts);
        if given == *account {
            return Ok(());
        }
        let message = format!(
            "{}: Authentication failed: password is incorrect, or there is no user with such name. \
             (AUTHENTICATION_FAILED)",
            given.0
        );
        Err(Exception::new(516, &message))
    }

    fn success(&self, query: &Query, answer: Answer, took: Duration) -> io::Result<Reply> {
        let summary = serde_json::json!({
            "read_rows": answer.rows_read.to_string(),
            "read_bytes": answer.bytes_read.to_string(),
            "written_rows": answer.rows_written.to_string(),
            "written_bytes": answer.bytes_written.to_string(),
            "elapsed_ns": took.as_nanos().to_string(),
        });
        let mut response = Response::builder()
            .header("X-ClickHouse-Summary", summary.to_string())
            .header("X-ClickHouse-Format", &query.format)
            .header("X-ClickHouse-Server-Display-Name", "clickhouse-front");
        if let Some(id) = &query.query_id {
            response = response.header("X-ClickHouse-Query-Id", id);
        }
        let encoded = query.lz4 && query.setting("enable_http_compression") != Some("0");
        let body = if query.compress {
            compression::to_blocks(&answer.body)
        } else if encoded {
            response = response.header("Content-Encoding", "lz4");
            compression::to_frame(&answer.body)?
        } else {
            answer.body
        };
        response.body(Full::new(body.into())).map_err(io::Error::other)
    }

    fn failure(&self, exception: &Exception) -> Reply {
        let text = format!("{} (version {} (official build))\n", exception.text, self.version);
        let mut response = reply(exception.status(), text);
        response.headers_mut().insert("X-ClickHouse-Exception-Code", exception.code.into());
        response
    }
}

/// Sends a request to another server, and returns its response.
async fn forward(to: &str, parts: &Parts, body: &Bytes) -> io::Result<Reply> {
    let stream = TokioIo::new(TcpStream::connect(to).await?);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(stream).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    let mut request = Request::new(Full::new(body.clone()));
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = parts.uri.clone();
    *request.headers_mut() = parts.headers.clone();
    // The body is complete by now.
    request.headers_mut().remove(hyper::header::TRANSFER_ENCODING);
    request.headers_mut().insert(hyper::header::CONTENT_LENGTH, body.len().into());
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    Ok(Response::from_parts(parts, Full::new(body)))
}

fn cut() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionAborted)
}

/// Ends the process as `kill -9` does.
fn die() -> io::Error {
    let _ = kill_process(getpid(), Signal::KILL);
    cut()
}

fn reply(status: StatusCode, text: impl Into<Bytes>) -> Reply {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response
}

fn json(value: &impl serde::Serialize) -> Reply {
    match serde_json::to_vec(value) {
        Ok(text) => reply(StatusCode::OK, text),
        Err(error) => reply(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}
