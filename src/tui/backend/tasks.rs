//! Pending requests: tasks outside the loop, one per kind, each with a timeout.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::{Backend, change, export, history, snapshot};
use bklit_console_core::requests::{Answer, Request};
use bklit_wire::pause::PauseRequest;

/// The timeout of a request.
const ANSWER_WAIT: Duration = Duration::from_secs(6);
/// The timeout of a change to many events.
const CHANGE_WAIT: Duration = Duration::from_secs(30);
/// The number of kinds of requests.
const KINDS: usize = 11;
/// The reason given when the source has no API, only a stream.
const NO_BACKEND: &str = "this source only streams lines and cannot be queried";

/// The pending requests.
pub(crate) struct Tasks {
    backend: Option<Arc<dyn Backend>>,
    /// Who uses the console, as others know them.
    who: Arc<str>,
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
        Request::Export { .. } => 3,
        Request::Batch(_) => 4,
        Request::Event(_) => 5,
        Request::Session { .. } => 6,
        Request::History(_) => 7,
        Request::Bars(_) => 8,
        Request::Pause { .. } => 9,
        Request::Who(_) => 10,
    }
}

fn failure(request: &Request) -> Failure {
    match request {
        Request::Queue { .. } => Box::new(|reason| Answer::Queue(Err(reason))),
        Request::Change(change, _) => {
            let change = *change;
            Box::new(move |reason| Answer::Changed(change, Err(reason)))
        }
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
        Request::Export { .. } => Box::new(|reason| Answer::Exported(Err(reason))),
    }
}

impl Tasks {
    /// Creates it without any requests.
    pub(crate) fn new(backend: Option<Arc<dyn Backend>>, who: &str) -> Self {
        Self { backend, who: who.into(), running: [const { None }; KINDS] }
    }

    /// Starts a request; [`Tasks::next`] returns the answer. Ignored while one of its kind is
    /// pending: the model sends the next only after an answer.
    pub(crate) fn ask(&mut self, request: Request) {
        let place = &mut self.running[kind(&request)];
        let is_latest = matches!(
            request,
            Request::Batch(_) | Request::Event(_) | Request::Session { .. } | Request::Who(_)
        );
        if let (Some((task, _)), true) = (&place, is_latest) {
            // For these the latest counts: the reader has moved on.
            task.abort();
            *place = None;
        }
        if place.is_none() {
            let fail = failure(&request);
            *place = {
                let (backend, who) = (self.backend.clone(), Arc::clone(&self.who));
                Some((tokio::spawn(answer(backend, who, request)), fail))
            };
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

async fn answer(backend: Option<Arc<dyn Backend>>, who: Arc<str>, request: Request) -> Answer {
    let wait = match request {
        Request::Queue { .. }
        | Request::Batch(_)
        | Request::Event(_)
        | Request::Session { .. }
        | Request::Live
        | Request::History(_)
        | Request::Bars(_)
        | Request::Who(_)
        | Request::Pause { .. } => ANSWER_WAIT,
        Request::Change(..) | Request::Export { .. } => CHANGE_WAIT,
    };
    let fail = failure(&request);
    let late = || fail(format!("no answer within {} s", wait.as_secs()));
    timeout(wait, carry_out(backend, &who, request)).await.unwrap_or_else(|_| late())
}

async fn carry_out(backend: Option<Arc<dyn Backend>>, who: &str, request: Request) -> Answer {
    let fail = failure(&request);
    let backend = || backend.as_deref().ok_or_else(|| NO_BACKEND.to_owned());
    match request {
        Request::Queue { failed } => match backend() {
            Ok(backend) => Answer::Queue(snapshot(backend, failed).await),
            Err(reason) => fail(reason),
        },
        Request::Change(what, ids) => match backend() {
            Ok(backend) => Answer::Changed(what, change(backend, what, &ids).await),
            Err(reason) => fail(reason),
        },
        Request::Batch(id) => match backend() {
            Ok(backend) => Answer::Batch(id.clone(), backend.batch(&id).await),
            Err(reason) => fail(reason),
        },
        Request::Event(id) => match backend() {
            Ok(backend) => Answer::Event(id.clone(), backend.event(&id).await),
            Err(reason) => fail(reason),
        },
        Request::Session { id, project } => match backend() {
            Ok(backend) => {
                let found = backend.session(&id, project.as_deref()).await;
                Answer::Session(id, found)
            }
            Err(reason) => fail(reason),
        },
        Request::Live => match backend() {
            Ok(backend) => Answer::Live(backend.live().await),
            Err(reason) => fail(reason),
        },
        Request::History(query) => match backend() {
            Ok(backend) => Answer::History(history(backend, query).await.map(Box::new)),
            Err(reason) => fail(reason),
        },
        Request::Bars(query) => match backend() {
            Ok(backend) => Answer::Bars(backend.history(query).await),
            Err(reason) => fail(reason),
        },
        Request::Who(query) => match backend() {
            Ok(backend) => Answer::Who(backend.who(query).await),
            Err(reason) => fail(reason),
        },
        Request::Pause { part, paused, reason } => match backend() {
            Ok(backend) => {
                let request = PauseRequest { part, paused, by: who.to_owned(), reason };
                Answer::Paused(part, paused, backend.pause(&request).await)
            }
            Err(reason) => fail(reason),
        },
        Request::Export { path, items } => {
            let written = spawn_blocking(move || export::write(&path, &items)).await;
            Answer::Exported(written.unwrap_or_else(|error| Err(error.to_string())))
        }
    }
}
