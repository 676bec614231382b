//! One open connection: whether its client is idle or being served, and its deadlines.
//!
//! A connection *waits* from its opening, and from the end of each response, until the head of the
//! next request is complete. Only a waiting connection may be closed to make room for another one:
//! nothing that was sent on it is lost.

use std::future::Future;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// How long a connection that was accepted beyond the limit waits for a regular slot.
const MAX_WAIT_FOR_PLACE: Duration = Duration::from_millis(250);

/// Instead of a time: a request is in progress.
const BUSY: u64 = u64::MAX;
/// Instead of a time: it waits, and is to be closed.
const CHOSEN: u64 = u64::MAX - 1;
/// Instead of a time: nothing of the next request has arrived.
const NOTHING: u64 = u64::MAX;

/// How long a client may take to send a request.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the first byte of a head, or from the opening of the connection, to the end of the head.
    pub head: Duration,
    /// From the end of a response to the first byte of the next request.
    pub idle: Duration,
}

/// What the connections of a server share.
#[derive(Debug)]
pub struct Shared {
    /// Times are counted from here.
    began: Instant,
    /// Whether the server is near its limit of connections.
    pub(super) pressed: AtomicBool,
}

impl Default for Shared {
    fn default() -> Self {
        Self { began: Instant::now(), pressed: AtomicBool::new(false) }
    }
}

/// An open connection, shared by its own task and the accept loop.
#[derive(Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    /// Unique within the server.
    pub(super) id: u64,
    /// The client's network, if it may only have a limited number of connections.
    pub(super) network: Option<IpAddr>,
    /// Milliseconds; [`BUSY`] while a request is in progress, [`CHOSEN`] once it is to be closed.
    waiting_since: AtomicU64,
    /// When the first byte of the request arrived, in milliseconds, or [`NOTHING`].
    head_since: AtomicU64,
    /// Whether it has done something that only legitimate clients do.
    proven: AtomicBool,
    /// Whether its first bytes were those of TLS, on a port without it.
    saw_tls: AtomicBool,
    closing: Signal,
    /// Set once it has a regular slot.
    admitted: Signal,
}

/// A [`CancellationToken`] whose state is read without its lock, as each request does.
#[derive(Debug, Default)]
struct Signal {
    is_set: AtomicBool,
    token: CancellationToken,
}

impl Signal {
    fn set(&self) {
        self.is_set.store(true, Release);
        self.token.cancel();
    }

    fn is_set(&self) -> bool {
        self.is_set.load(Acquire)
    }
}

/// Which of two waiting connections is closed first: the smaller one.
pub(super) type Rank = (bool, u64);

impl Connection {
    pub(super) fn new(shared: &Arc<Shared>, id: u64, network: Option<IpAddr>) -> Self {
        let now = millis(shared.began.elapsed());
        Self {
            shared: Arc::clone(shared),
            id,
            network,
            waiting_since: AtomicU64::new(now),
            head_since: AtomicU64::new(now),
            proven: AtomicBool::new(false),
            saw_tls: AtomicBool::new(false),
            closing: Signal::default(),
            admitted: Signal::default(),
        }
    }

    fn now(&self) -> u64 {
        millis(self.shared.began.elapsed())
    }

    /// Begins a request that ends when the guard is dropped.
    pub fn begin(self: &Arc<Self>) -> InProgress {
        self.keep();
        InProgress(Arc::clone(self))
    }

    /// From now on it does not wait, until a request that has begun ends; it may be closing already.
    pub fn keep(&self) {
        if self.waiting_since.swap(BUSY, AcqRel) == CHOSEN {
            self.closing.set();
        }
        self.head_since.store(NOTHING, Relaxed);
    }

    fn wait(&self) {
        self.waiting_since.store(self.now(), Relaxed);
    }

    /// Whether no request is in progress.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting_since.load(Relaxed) != BUSY
    }

    /// Records that bytes have arrived.
    pub(super) fn received(&self) {
        if self.is_waiting() && self.head_since.load(Relaxed) == NOTHING {
            self.head_since.store(self.now(), Relaxed);
        }
    }

    /// When a connection must be closed, prefers to keep this one over those that have sent nothing
    /// useful yet.
    pub fn prove(&self) {
        self.proven.store(true, Relaxed);
    }

    /// Whether the server is near its limit of connections.
    pub fn is_pressed(&self) -> bool {
        self.shared.pressed.load(Relaxed)
    }

    pub(super) fn set_saw_tls(&self) {
        self.saw_tls.store(true, Relaxed);
    }

    /// Whether the client tried to speak TLS on a port without it.
    pub fn saw_tls(&self) -> bool {
        self.saw_tls.load(Relaxed)
    }

    /// Its rank among the waiting connections; `None` if it does not wait or is already closing.
    pub(super) fn rank(&self) -> Option<Rank> {
        let since = self.waiting_since.load(Relaxed);
        let is_candidate = since != BUSY && !self.closing.is_set();
        is_candidate.then(|| (self.proven.load(Relaxed), since))
    }

    /// Asks its task to close it, if it has waited since it had that rank; returns whether it has.
    pub(super) fn close(&self, rank: Rank) -> bool {
        let (_, since) = rank;
        let is_chosen = self.rank() == Some(rank)
            && self.waiting_since.compare_exchange(since, CHOSEN, AcqRel, Relaxed).is_ok();
        if is_chosen {
            self.closing.set();
        }
        is_chosen
    }

    /// Whether it is to be closed to make room for another. That begins only while it waits.
    pub fn is_closing(&self) -> bool {
        self.closing.is_set()
    }

    /// Waits until it is to be closed to make room for another.
    pub async fn closing(&self) {
        self.closing.token.cancelled().await;
    }

    /// The result of `step`, unless the connection is to be closed first.
    pub async fn until_closing<F: Future>(&self, step: F) -> Option<F::Output> {
        self.closing.token.run_until_cancelled(step).await
    }

    pub(super) fn admit(&self) {
        self.admitted.set();
    }

    /// Whether it has a regular slot, not a reserved one.
    pub fn is_admitted(&self) -> bool {
        self.admitted.is_set()
    }

    /// Waits briefly for a regular slot; returns whether it has one.
    pub async fn admitted(&self) -> bool {
        self.is_admitted()
            || timeout(MAX_WAIT_FOR_PLACE, self.admitted.token.cancelled()).await.is_ok()
    }

    /// When it has waited for too long; `None` during a request.
    fn deadline(&self, timeouts: Timeouts) -> Option<Instant> {
        let at = |since: u64| self.shared.began + Duration::from_millis(since);
        match (self.waiting_since.load(Relaxed), self.head_since.load(Relaxed)) {
            (BUSY | CHOSEN, _) => None,
            (waiting, NOTHING) => Some(at(waiting) + timeouts.idle),
            (_, head) => Some(at(head) + timeouts.head),
        }
    }

    /// When to look at the deadline next: at the deadline, or at the earliest moment at which
    /// waiting that begins from now on could have taken too long. One timer for each connection is
    /// enough then, and a request does not touch it.
    fn next_look(&self, timeouts: Timeouts) -> Instant {
        let earliest = Instant::now() + timeouts.head.min(timeouts.idle);
        self.deadline(timeouts).map_or(earliest, |deadline| deadline.min(earliest))
    }
}

fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX).min(CHOSEN - 1)
}

/// A request in progress, until its response is complete.
#[derive(Debug)]
pub struct InProgress(Arc<Connection>);

impl InProgress {
    /// The request's connection.
    pub fn connection(&self) -> &Connection {
        &self.0
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.wait();
    }
}

/// The body of a response; the request is in progress until it is dropped.
pub struct ProgressBody<B> {
    body: B,
    _in_progress: InProgress,
}

impl<B> ProgressBody<B> {
    /// Ends the request with `body`.
    pub fn new(body: B, in_progress: InProgress) -> Self {
        Self { body, _in_progress: in_progress }
    }
}

impl<B: Body + Unpin> Body for ProgressBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Drives `driven` to its end. It ends early when its client takes too long to send a request, or
/// when it is to make room for another connection: at once while it waits, after the request in
/// progress otherwise. On a shutdown, it ends after the request whose head has begun to arrive.
/// `finish` makes it end after the current request.
pub async fn drive<C: Future>(
    driven: C,
    connection: &Connection,
    timeouts: Timeouts,
    shutdown: &CancellationToken,
    finish: impl Fn(Pin<&mut C>),
) -> Option<C::Output> {
    let mut driven = pin!(driven);
    let (mut is_stopping, mut is_closing) = (false, false);
    // In a set of its own, which polls it when it is woken: not with each step of each request.
    let mut events = FuturesUnordered::new();
    let next = |is_stopping: bool, is_closing: bool| {
        let look = connection.next_look(timeouts);
        async move {
            tokio::select! {
                biased;
                () = shutdown.cancelled(), if !is_stopping => Event::Shutdown,
                () = connection.closing(), if !is_closing => Event::Closing,
                () = sleep_until(look) => Event::Look,
            }
        }
    };
    events.push(next(false, false));
    loop {
        tokio::select! {
            biased;
            ended = driven.as_mut() => return Some(ended),
            Some(event) = events.next() => {
                match event {
                    Event::Shutdown => is_stopping = true,
                    Event::Closing => is_closing = true,
                    Event::Look => {}
                }
                let is_late =
                    || connection.deadline(timeouts).is_some_and(|at| at <= Instant::now());
                let ends = match event {
                    Event::Shutdown => false,
                    Event::Closing => connection.is_waiting(),
                    Event::Look => is_late(),
                };
                if ends || !matches!(event, Event::Look) {
                    finish(driven.as_mut());
                }
                if ends {
                    return driven.now_or_never();
                }
                events.push(next(is_stopping, is_closing));
            }
        }
        if is_closing && connection.is_waiting() {
            return driven.now_or_never();
        }
    }
}

/// What concerns a connection besides its requests.
#[derive(Clone, Copy)]
enum Event {
    /// The server stops.
    Shutdown,
    /// It is to make room for another one.
    Closing,
    /// It is time to look at the deadline.
    Look,
}

#[cfg(test)]
mod tests;
