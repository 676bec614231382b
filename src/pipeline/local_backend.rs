//! The port `Backend` for a pipeline in the same process.

use std::sync::Arc;

use async_trait::async_trait;

use crate::event_lookup::{self, Sources};
use crate::history::FigureHistory;
use crate::intake::visitor::IpPrivacy;
use crate::metrics::Metrics;
use crate::presence::Presence;
use crate::queue::{Queue, QueueError, api, changes};
use crate::session_lookup;
use crate::sql::Queries;
use crate::store::Store;
use crate::store::live_view::{NO_STORE, live_view, visitors_only};
use crate::who;
use bklit_wire::backend::{Backend, Change};
use bklit_wire::debug_bus::DebugBus;
use bklit_wire::event_lookup::EventTrace;
use bklit_wire::history::{History, HistoryQuery};
use bklit_wire::live_view::LiveView;
use bklit_wire::pause::PauseRequest;
use bklit_wire::queue::{BatchView, ChangeError, EditRequest, Edited, FailedPage, QueueView};
use bklit_wire::session_lookup::SessionTrace;
use bklit_wire::sql::{SqlAnswer, SqlRequest, SqlSchema};
use bklit_wire::time::UtcMillis;
use bklit_wire::who::{WhoQuery, WhoView};

/// Logs a change in the pipeline's log: what was done, with how many events.
pub type LogChange = Arc<dyn Fn(&'static str, u64) + Send + Sync>;

/// The ports that are queried and changed.
pub struct LocalBackend {
    /// The queue.
    pub queue: Arc<dyn Queue>,
    /// The store, if this process has one.
    pub store: Option<Arc<dyn Store>>,
    /// Active sessions, if they are recorded.
    pub presence: Option<Arc<dyn Presence>>,
    /// The debug history.
    pub debug_bus: Arc<dyn DebugBus>,
    /// What this process counts; `None` if it only reads what others share.
    pub metrics: Option<Arc<Metrics>>,
    /// The history of figures.
    pub history: Arc<FigureHistory>,
    /// The queries that are running in this process.
    pub queries: Arc<Queries>,
    /// What is shown of visitors' addresses.
    pub privacy: IpPrivacy,
    /// Logs changes.
    pub log_change: LogChange,
}

impl LocalBackend {
    /// Logs what was done, also if it is only a part.
    fn logged(
        &self,
        message: &'static str,
        result: Result<Edited, QueueError>,
    ) -> Result<Edited, ChangeError> {
        let (done, failure) = changes::split(result);
        if failure.is_ok() || done.changed > 0 {
            (self.log_change)(message, done.changed);
        }
        match failure {
            Ok(()) => Ok(done),
            Err(error) => Err(ChangeError { done, error: error.to_string() }),
        }
    }
}

#[async_trait]
impl Backend for LocalBackend {
    async fn queue(&self) -> Result<QueueView, String> {
        api::overview(&*self.queue).await.map_err(|error| error.to_string())
    }

    async fn failed(&self, after: Option<&str>, most: usize) -> Result<FailedPage, String> {
        let page = api::failed(&*self.queue, self.privacy, after, most).await;
        page.map_err(|error| error.to_string())
    }

    async fn change(&self, change: Change, ids: &[String]) -> Result<u64, ChangeError> {
        let (changed, message) = match change {
            Change::Retry => (self.queue.retry_failed(ids).await, "Failed events put back"),
            Change::Delete => (self.queue.delete_failed(ids).await, "Failed events deleted"),
        };
        let edited = self.logged(message, changes::counted(changed))?;
        Ok(edited.changed)
    }

    async fn edit(&self, request: &EditRequest) -> Result<Edited, ChangeError> {
        let edited = api::edit(&*self.queue, request).await;
        if request.dry_run { Ok(edited?) } else { self.logged(api::EDITED, edited) }
    }

    async fn pause(&self, request: &PauseRequest) -> Result<(), String> {
        let paused = self.queue.pause(request.part, request.pause().as_ref()).await;
        paused.map_err(|error| error.to_string())
    }

    async fn batch(&self, id: &str) -> Result<Option<BatchView>, String> {
        api::batch(&*self.queue, id).await.map_err(|error| error.to_string())
    }

    async fn event(&self, id: &str) -> Result<EventTrace, String> {
        let store = self.store.as_deref();
        let sources = Sources { queue: &*self.queue, store, bus: &*self.debug_bus };
        Ok(event_lookup::find(sources, id).await)
    }

    async fn session(&self, id: &str, project: Option<&str>) -> Result<SessionTrace, String> {
        let store = self.store.as_deref();
        let sources = Sources { queue: &*self.queue, store, bus: &*self.debug_bus };
        let wanted = session_lookup::Wanted { session: id, project };
        Ok(session_lookup::find(sources, wanted).await)
    }

    async fn live(&self) -> Result<LiveView, String> {
        match (self.store.as_deref(), self.presence.as_deref()) {
            (Some(store), presence) => {
                let view = live_view(store, presence, UtcMillis::now()).await;
                view.map_err(|error| error.to_string())
            }
            (None, Some(presence)) => visitors_only(presence).await,
            (None, None) => Err(NO_STORE.to_owned()),
        }
    }

    async fn history(&self, query: HistoryQuery) -> Result<History, String> {
        self.history.read(query).await
    }

    async fn sql(&self, query: &str) -> Result<SqlAnswer, String> {
        let request = SqlRequest { query: query.to_owned(), id: None };
        let answer = self.queries.run(self.store.as_deref(), &request).await;
        answer.map_err(|error| error.to_string())
    }

    async fn sql_schema(&self) -> Result<SqlSchema, String> {
        self.queries.schema(self.store.as_deref()).await.map_err(|error| error.to_string())
    }

    async fn who(&self, query: WhoQuery) -> Result<WhoView, String> {
        let metrics = self.metrics.as_deref();
        let metrics = metrics.ok_or("not available over Redis; attach to a process")?;
        Ok(who::answer(metrics, Some(&self.history), query).await)
    }
}
