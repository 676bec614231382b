//! Pending requests: tasks outside the loop, one per kind, each with a timeout.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Backend, history, keep_and_edit, snapshot};
use bklit_console_core::requests::{Answer, Request};
use bklit_wire::pause::PauseRequest;
use bklit_wire::queue::{Edit, EditRequest};
use bklit_wire::sql::TIME_LIMIT;

/// The timeout of a request.
const ANSWER_WAIT: Duration = Duration::from_secs(6);
/// The timeout of a change.
const CHANGE_WAIT: Duration = Duration::from_secs(30);
/// The timeout of a query: the store ends it earlier.
const SQL_WAIT: Duration = TIME_LIMIT.saturating_add(Duration::from_secs(5));
/// The number of kinds of requests.
const KINDS: usize = 14;
/// The kind of [`Request::Sql`].
const SQL: usize = 11;
/// The reason given when the source has no API, only a stream.
pub(super) const NO_BACKEND: &str = "this source only streams lines and cannot be queried";

/// The pending requests.
pub(crate) struct Tasks {
    backend: Option<Arc<dyn Backend>>,
    /// The user of the console, as shown to other operators.
    who: Arc<str>,
    /// Where originals of edited events are kept.
    data_dir: Arc<Path>,
    running: [Option<Running>; KINDS],
}

/// Builds the answer to a request that failed.
type Failure = Box<dyn FnOnce(String) -> Answer + Send>;

/// A task, and how to answer its request if it panics.
type Running = (JoinHandle<Answer>, Failure);

fn kind(request: &Request) -> usize {
    match request {
        Request::Queue { .. } => 0,
        Request::Change(..) => 1,
        Request::Live => 2,
        Request::Batch(_) => 4,
        Request::Event(_) => 5,
        Request::Session { .. } => 6,
        Request::History(_) => 7,
        Request::Bars(_) => 8,
        Request::Pause { .. } => 3,
        Request::CheckEdit(_) => 9,
        Request::Edit(..) => 10,
        Request::Sql { .. } => SQL,
        Request::SqlSchema => 12,
        Request::Who(_) => 13,
    }
}

fn failure(request: &Request) -> Failure {
    match request {
        Request::Queue { .. } => Box::new(|reason| Answer::Queue(Err(reason))),
        Request::Change(change, _) => {
            let change = *change;
            Box::new(move |reason| Answer::Changed(change, Err(reason)))
        }
        Request::CheckEdit(edit) => {
            let body = edit.body.clone();
            Box::new(|reason| Answer::EditChecked(body, Err(reason)))
        }
        Request::Edit(..) => Box::new(|reason| Answer::Edited(Err(reason))),
        Request::Batch(id) => {
            let id = id.clone();
            Box::new(|reason| Answer::Batch(id, Err(reason)))
        }
        Request::Event(id) => {
            let id = id.clone();
            Box::new(|reason| Answer::Event(id, Err(reason)))
        }
        Request::Session { id, .. } => {
            let id = id.clone();
            Box::new(|reason| Answer::Session(id, Err(reason)))
        }
        Request::Live => Box::new(|reason| Answer::Live(Err(reason))),
        Request::History(_) => Box::new(|reason| Answer::History(Err(reason))),
        Request::Bars(_) => Box::new(|reason| Answer::Bars(Err(reason))),
        Request::Who(_) => Box::new(|reason| Answer::Who(Err(reason))),
        Request::Pause { part, paused, .. } => {
            let (part, paused) = (*part, *paused);
            Box::new(move |reason| Answer::Paused(part, paused, Err(reason)))
        }
        Request::Sql { number, .. } => {
            let number = *number;
            Box::new(move |reason| Answer::Sql(number, Err(reason)))
        }
        Request::SqlSchema => Box::new(|reason| Answer::SqlSchema(Err(reason))),
    }
}

impl Tasks {
    /// Creates it without any requests.
    pub(crate) fn new(backend: Option<Arc<dyn Backend>>, who: &str, data_dir: PathBuf) -> Self {
        let data_dir = data_dir.into();
        Self { backend, who: who.into(), data_dir, running: [const { None }; KINDS] }
    }

    /// Starts a request; [`Tasks::next`] returns the answer. Ignored while one of its kind is
    /// pending: the model sends the next only after an answer.
    pub(crate) fn ask(&mut self, request: Request) {
        let place = &mut self.running[kind(&request)];
        let is_latest = matches!(
            request,
            Request::Batch(_)
                | Request::Event(_)
                | Request::Session { .. }
                | Request::CheckEdit(_)
                | Request::Sql { .. }
                | Request::Who(_)
        );
        if let (Some((task, _)), true) = (&place, is_latest) {
            // For these, only the latest request matters: the reader has moved on.
            task.abort();
            *place = None;
        }
        if place.is_none() {
            let fail = failure(&request);
            *place = {
                let context = Context {
                    backend: self.backend.clone(),
                    who: Arc::clone(&self.who),
                    data_dir: Arc::clone(&self.data_dir),
                };
                Some((tokio::spawn(answer(context, request)), fail))
            };
        }
    }

    /// Stops the running query, without an answer.
    pub(crate) fn stop_sql(&mut self) {
        if let Some((task, _)) = self.running[SQL].take() {
            task.abort();
        }
    }

    /// Waits for the next answer; forever if there is no request. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Answer {
        std::future::poll_fn(|context| {
            for place in &mut self.running {
                let Some((task, _)) = place else { continue };
                let Poll::Ready(answer) = Pin::new(task).poll(context) else { continue };
                let Some((_, fail)) = place.take() else { continue };
                return Poll::Ready(answer.unwrap_or_else(|error| fail(error.to_string())));
            }
            Poll::Pending
        })
        .await
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.running.iter().flatten().for_each(|(task, _)| task.abort());
    }
}

/// What is needed to execute a request.
struct Context {
    backend: Option<Arc<dyn Backend>>,
    who: Arc<str>,
    data_dir: Arc<Path>,
}

async fn answer(context: Context, request: Request) -> Answer {
    let wait = match request {
        Request::Queue { .. }
        | Request::Batch(_)
        | Request::Event(_)
        | Request::Session { .. }
        | Request::Live
        | Request::History(_)
        | Request::Bars(_)
        | Request::CheckEdit(_)
        | Request::Who(_)
        | Request::Pause { .. } => ANSWER_WAIT,
        Request::Sql { .. } | Request::SqlSchema => SQL_WAIT,
        Request::Change(..) | Request::Edit(..) => CHANGE_WAIT,
    };
    let fail = failure(&request);
    let late = || fail(format!("no answer within {} s", wait.as_secs()));
    timeout(wait, carry_out(context, request)).await.unwrap_or_else(|_| late())
}

async fn carry_out(context: Context, request: Request) -> Answer {
    let Context { backend, who, data_dir } = context;
    let Some(backend) = backend.as_deref() else {
        return failure(&request)(NO_BACKEND.to_owned());
    };
    match request {
        Request::Queue { failed } => Answer::Queue(snapshot(backend, failed).await),
        Request::Change(what, id) => {
            let changed = backend.change(what, &[id]).await;
            Answer::Changed(what, changed.map_err(|error| error.error))
        }
        Request::CheckEdit(edit) => {
            let body = edit.body.clone();
            let request = EditRequest { edits: vec![edit], dry_run: true };
            let checked = backend.edit(&request).await;
            Answer::EditChecked(body, checked.map_err(|error| error.error))
        }
        Request::Edit(item, body) => {
            let edits = vec![Edit { id: item.id.clone(), body }];
            let edited = keep_and_edit(backend, &data_dir, vec![*item], edits).await;
            Answer::Edited(edited.map_err(|error| error.error))
        }
        Request::Batch(id) => Answer::Batch(id.clone(), backend.batch(&id).await),
        Request::Event(id) => Answer::Event(id.clone(), backend.event(&id).await),
        Request::Session { id, project } => {
            let found = backend.session(&id, project.as_deref()).await;
            Answer::Session(id, found)
        }
        Request::Live => Answer::Live(backend.live().await),
        Request::History(query) => Answer::History(history(backend, query).await.map(Box::new)),
        Request::Bars(query) => Answer::Bars(backend.history(query).await),
        Request::Who(query) => Answer::Who(backend.who(query).await),
        Request::Sql { number, query } => Answer::Sql(number, backend.sql(&query).await),
        Request::SqlSchema => Answer::SqlSchema(backend.sql_schema().await),
        Request::Pause { part, paused, reason } => {
            let request = PauseRequest { part, paused, by: who.as_ref().to_owned(), reason };
            Answer::Paused(part, paused, backend.pause(&request).await)
        }
    }
}
