//! The [`Backend`] of a pipeline in another process, over HTTP.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, ORIGIN};
use hyper::{Request, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

use crate::client::{Client, cause};
use bklit_wire::backend::{Backend, Change};
use bklit_wire::event_lookup::EventTrace;
use bklit_wire::history::{History, HistoryQuery, MINUTE};
use bklit_wire::live_view::LiveView;
use bklit_wire::pause::{PauseRequest, Paused};
use bklit_wire::queue::{
    BatchView, ChangeError, Changed, Chosen, EditRequest, Edited, FailedPage, QueueView,
};
use bklit_wire::refused::RefusedView;
use bklit_wire::session_lookup::SessionTrace;
use bklit_wire::sql::{SqlAnswer, SqlRequest, SqlSchema, StopSql, StoppedSql};
use bklit_wire::time::UtcMillis;
use bklit_wire::who::{WhoQuery, WhoView};

/// Maximum bytes of a response that are read; even a page of large events is smaller.
const MAX_RESPONSE: usize = 64 * 1024 * 1024;

/// How long the next query waits for a stopped one at most.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// A daemon's address and the token to use.
#[derive(Clone)]
pub struct RemoteBackend {
    client: Client,
    base: String,
    authorization: Option<HeaderValue>,
    /// Held while a query runs, and until one that was dropped has been stopped: the next one finds its
    /// place free.
    sql: Arc<Mutex<()>>,
}

impl RemoteBackend {
    /// Creates a backend for the daemon at `base`, an address without a trailing slash.
    ///
    /// # Errors
    /// If the token contains characters that are not allowed in a header.
    pub fn new(client: Client, base: &str, token: Option<&str>) -> Result<Self, String> {
        let authorization = token.map(|token| {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))?;
            value.set_sensitive(true);
            Ok::<_, hyper::header::InvalidHeaderValue>(value)
        });
        let authorization = authorization
            .transpose()
            .map_err(|_| "the token contains invalid characters".to_owned())?;
        Ok(Self { client, base: base.to_owned(), authorization, sql: Arc::default() })
    }

    /// What the process has refused; `query` as in `GET /api/refused`.
    ///
    /// # Errors
    /// Why it could not be queried.
    pub async fn refused(&self, query: &[(&str, &str)]) -> Result<RefusedView, String> {
        let query =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        self.get(&format!("/api/refused?{query}")).await
    }

    /// Sends the JSON of an event, as a page of this origin; returns its id.
    ///
    /// # Errors
    /// Why it was not accepted.
    pub async fn send_event(
        &self,
        path: &str,
        origin: Option<&str>,
        json: String,
    ) -> Result<String, String> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Accepted {
            event_id: String,
        }
        let mut request =
            Request::post(format!("{}{path}", self.base)).header(CONTENT_TYPE, "application/json");
        if let Some(origin) = origin {
            request = request.header(ORIGIN, origin);
        }
        let Accepted { event_id } = self.send(request, json.into()).await?;
        Ok(event_id)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        self.send(Request::get(format!("{}{path}", self.base)), Bytes::new()).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, String> {
        let (status, body) = self.exchange_json(path, body).await?;
        read(status, &body)
    }

    /// Changes failed events; an error also says what was done.
    async fn change_failed<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, ChangeError> {
        let (status, body) = self.exchange_json(path, body).await?;
        if status == StatusCode::SERVICE_UNAVAILABLE
            && let Ok(partly) = serde_json::from_slice::<ChangeError>(&body)
        {
            return Err(partly);
        }
        Ok(read(status, &body)?)
    }

    async fn exchange_json(
        &self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<(StatusCode, Bytes), String> {
        let body = serde_json::to_vec(body).map_err(|error| error.to_string())?;
        let request =
            Request::post(format!("{}{path}", self.base)).header(CONTENT_TYPE, "application/json");
        self.exchange(request, body.into()).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: hyper::http::request::Builder,
        body: Bytes,
    ) -> Result<T, String> {
        let (status, body) = self.exchange(request, body).await?;
        read(status, &body)
    }

    async fn exchange(
        &self,
        mut request: hyper::http::request::Builder,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), String> {
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        let unreachable = |error| format!("{UNREACHABLE} {}: {}", self.base, cause(&error));
        let response = self.client.request(request).await.map_err(unreachable)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_RESPONSE).collect().await;
        let body = body.map_err(|error| cause(&*error))?.to_bytes();
        Ok((status, body))
    }
}

/// Reads a response.
fn read<T: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<T, String> {
    if status != StatusCode::OK {
        return Err(refusal(status, body));
    }
    serde_json::from_slice(body)
        .map_err(|error| format!("unreadable response; is the daemon another version? ({error})"))
}

fn percent_encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The start of an error that names the address of a daemon that cannot be reached.
pub const UNREACHABLE: &str = "cannot reach";

/// Stops a query when it is dropped, unless the query has ended: the daemon does not notice that
/// nobody waits for the response any more.
struct StopOnDrop<'b> {
    backend: &'b RemoteBackend,
    id: Option<String>,
    turn: Option<OwnedMutexGuard<()>>,
}

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        // At the end of the program, the time limit stops the query.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (backend, turn) = (self.backend.clone(), self.turn.take());
            runtime.spawn(async move {
                let request = StopSql { id };
                let stop = backend.post::<StoppedSql>("/api/sql/stop", &request);
                // Whatever the answer, the next query may run.
                let _ = timeout(STOP_WAIT, stop).await;
                drop(turn);
            });
        }
    }
}

/// The error message for a response: the daemon's `{"error": "…"}` if the body has one.
fn refusal(status: StatusCode, body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Refusal {
        error: String,
    }
    match (serde_json::from_slice::<Refusal>(body), status) {
        (Ok(Refusal { error }), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            format!("refused: {error}")
        }
        (_, StatusCode::NOT_FOUND) => {
            "not supported by the daemon; is it an older version?".to_owned()
        }
        (Ok(Refusal { error }), _) => error,
        (Err(_), _) => format!("the daemon responded with {status}"),
    }
}

#[async_trait]
impl Backend for RemoteBackend {
    async fn queue(&self) -> Result<QueueView, String> {
        self.get("/api/queue").await
    }

    async fn failed(&self, after: Option<&str>, most: usize) -> Result<FailedPage, String> {
        let after =
            after.map_or_else(String::new, |after| format!("&after={}", percent_encoded(after)));
        self.get(&format!("/api/queue/failed?limit={most}{after}")).await
    }

    async fn change(&self, change: Change, ids: &[String]) -> Result<u64, ChangeError> {
        let what = match change {
            Change::Retry => "retry",
            Change::Delete => "delete",
        };
        let path = format!("/api/queue/failed/{what}");
        let chosen = Chosen { ids: ids.to_vec() };
        let Changed { changed } = self.change_failed(&path, &chosen).await?;
        Ok(changed)
    }

    async fn edit(&self, request: &EditRequest) -> Result<Edited, ChangeError> {
        self.change_failed("/api/queue/failed/edit", request).await
    }

    async fn pause(&self, request: &PauseRequest) -> Result<(), String> {
        let _: Paused = self.post("/api/queue/pause", request).await?;
        Ok(())
    }

    async fn batch(&self, id: &str) -> Result<Option<BatchView>, String> {
        self.get(&format!("/api/queue/batch?id={}", percent_encoded(id))).await
    }

    async fn event(&self, id: &str) -> Result<EventTrace, String> {
        self.get(&format!("/api/event?id={}", percent_encoded(id))).await
    }

    async fn session(&self, id: &str, project: Option<&str>) -> Result<SessionTrace, String> {
        let project = project
            .map_or_else(String::new, |project| format!("&projectId={}", percent_encoded(project)));
        self.get(&format!("/api/session?id={}{project}", percent_encoded(id))).await
    }

    async fn live(&self) -> Result<LiveView, String> {
        self.get("/api/live").await
    }

    async fn history(&self, query: HistoryQuery) -> Result<History, String> {
        // The end of a query is that of its last point, which begins a step before.
        let last = query.to().epoch_millis() - query.step();
        let (from, to) = (query.from(), UtcMillis::from_epoch_millis(last));
        let step = query.step() / MINUTE;
        self.get(&format!("/api/history?from={from}&to={to}&step={step}m")).await
    }

    async fn sql(&self, query: &str) -> Result<SqlAnswer, String> {
        let turn = Some(Arc::clone(&self.sql).lock_owned().await);
        let request = SqlRequest::new(query);
        let mut stop = StopOnDrop { backend: self, id: request.id.clone(), turn };
        let answer = self.post("/api/sql", &request).await;
        stop.id = None;
        answer
    }

    async fn sql_schema(&self) -> Result<SqlSchema, String> {
        self.get("/api/sql/schema").await
    }

    async fn who(&self, query: WhoQuery) -> Result<WhoView, String> {
        let WhoQuery { by, span, sort } = query;
        let (by, span, sort) = (by.as_str(), span.as_str(), sort.as_str());
        self.get(&format!("/api/who?by={by}&span={span}&sort={sort}")).await
    }
}
