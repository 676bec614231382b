//! The thread that writes the queue's file: many commands, one transaction.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::tables::Tables;
use super::{View, unavailable};
use bklit_pipeline::queue::{
    Claim, ClaimId, FailedItem, Order, Page, Pushed, QueueError, Rejected, WaitingItem,
};
use bklit_wire::queue::BatchInFlight;

/// Commands that share a commit at most: bounds the time a push waits for its neighbours.
const MAX_GROUP: usize = 4_096;

type Reply<T> = oneshot::Sender<Result<T, QueueError>>;

/// Something to do, and whom to tell.
pub(super) enum Command {
    Push {
        body: String,
        dedup: Option<(String, String)>,
        reply: Reply<Pushed>,
    },
    Claim {
        most: usize,
        lease: Duration,
        reply: Reply<Option<Claim>>,
    },
    /// Whether an event could be written.
    Probe {
        reply: Reply<()>,
    },
    Renew {
        claim: ClaimId,
        lease: Duration,
        reply: Reply<()>,
    },
    Acknowledge {
        claim: ClaimId,
        rejected: Vec<Rejected>,
        reply: Reply<()>,
    },
    /// Whether another process has changed something.
    Look {
        reply: Reply<()>,
    },
    Batches {
        most: usize,
        reply: Reply<Vec<BatchInFlight>>,
    },
    BatchItems {
        batch: String,
        most: usize,
        reply: Reply<Option<Vec<String>>>,
    },
    Waiting {
        order: Order,
        after: Option<i64>,
        most: usize,
        reply: Reply<Page<WaitingItem>>,
    },
    DeleteWaiting {
        ids: Vec<i64>,
        reply: Reply<u64>,
    },
    Failed {
        after: Option<i64>,
        most: usize,
        reply: Reply<Page<FailedItem>>,
    },
    RetryFailed {
        ids: Vec<i64>,
        reply: Reply<u64>,
    },
    DeleteFailed {
        ids: Vec<i64>,
        reply: Reply<u64>,
    },
}

impl Command {
    /// Whether it leaves the file as it is.
    fn only_reads(&self) -> bool {
        matches!(
            self,
            Self::Look { .. }
                | Self::Batches { .. }
                | Self::BatchItems { .. }
                | Self::Waiting { .. }
                | Self::Failed { .. }
        )
    }
}

/// A command that was carried out and waits for the commit: called with `None` once it is
/// durable, else with the reason why it was undone. Returns a claim that nobody waits for any
/// more.
type Pending = Box<dyn FnOnce(Option<&str>) -> Option<ClaimId>>;

pub(super) struct Writer {
    tables: Tables,
    commands: mpsc::Receiver<Command>,
    view: watch::Sender<View>,
}

impl Writer {
    pub(super) fn new(
        tables: Tables,
        commands: mpsc::Receiver<Command>,
    ) -> (Self, watch::Receiver<View>) {
        let (view, receiver) = watch::channel(tables.view(None));
        (Self { tables, commands, view }, receiver)
    }

    /// Serves commands until all senders are gone.
    pub(super) fn run(mut self) {
        let mut group = Vec::with_capacity(MAX_GROUP);
        while self.commands.blocking_recv_many(&mut group, MAX_GROUP) > 0 {
            self.carry_out(&mut group);
        }
    }

    fn carry_out(&mut self, group: &mut Vec<Command>) {
        // What is known in memory must not run ahead of the file.
        let before = self.tables.state();
        let only_reads = group.iter().all(Command::only_reads);
        let mut pending: Vec<Pending> = Vec::with_capacity(group.len());
        let mut commands = group.drain(..);
        let outcome = self.tables.begin().and_then(|()| {
            for command in commands.by_ref() {
                let (finish, result) = apply(&mut self.tables, command);
                pending.push(finish);
                result?;
            }
            self.tables.commit()
        });
        let failure = outcome.err().map(|error| error.to_string());
        if let Some(reason) = &failure {
            tracing::error!(%reason, "the queue could not be written");
            self.tables.roll_back(before);
            // These were not begun; dropping their replies would look like the writer's end.
            commands.for_each(|command| refuse(command, reason));
        }
        // Before the answers: whoever has one also sees what it changed.
        // What was only read says nothing of whether events can be kept.
        let shown = match only_reads {
            true => self.view.borrow().failure.clone(),
            false => failure.clone(),
        };
        self.view.send_replace(self.tables.view(shown));
        let finished = pending.into_iter().filter_map(|finish| finish(failure.as_deref()));
        let abandoned: Vec<_> = finished.collect();
        if !abandoned.is_empty() {
            self.give_back(&abandoned);
        }
    }

    /// Ends leases that nobody knows of. What fails here ends with its lease.
    fn give_back(&mut self, claims: &[ClaimId]) {
        let before = self.tables.state();
        let outcome = self.tables.begin().and_then(|()| {
            for claim in claims {
                // One that is held by another meanwhile stays so.
                let _ = self.tables.renew(claim, Duration::ZERO)?;
            }
            self.tables.commit()
        });
        if let Err(error) = outcome {
            tracing::warn!(%error, "a claim that nobody waits for could not be given back");
            self.tables.roll_back(before);
        }
        let failure = self.view.borrow().failure.clone();
        self.view.send_replace(self.tables.view(failure));
    }
}

/// Carries a command out inside the open transaction. The error is the transaction's; what
/// the caller did wrong is part of the answer.
fn apply(tables: &mut Tables, command: Command) -> (Pending, rusqlite::Result<()>) {
    match command {
        Command::Push { body, dedup, reply } => finish(reply, tables.push(&body, dedup.as_ref())),
        Command::Claim { most, lease, reply } => {
            finish_with(reply, tables.claim(most, lease), |claim| claim.map(|claim| claim.id))
        }
        Command::Probe { reply } => finish(reply, tables.probe()),
        Command::Renew { claim, lease, reply } => finish(reply, tables.renew(&claim, lease)),
        Command::Acknowledge { claim, rejected, reply } => {
            finish(reply, tables.acknowledge(&claim, &rejected))
        }
        Command::Look { reply } => finish(reply, Ok(Ok(()))),
        Command::Batches { most, reply } => finish(reply, tables.batches(most)),
        Command::BatchItems { batch, most, reply } => {
            finish(reply, tables.batch_items(&batch, most))
        }
        Command::Waiting { order, after, most, reply } => {
            finish(reply, tables.waiting(order, after, most))
        }
        Command::DeleteWaiting { ids, reply } => finish(reply, tables.delete_waiting(&ids)),
        Command::Failed { after, most, reply } => finish(reply, tables.failed(after, most)),
        Command::RetryFailed { ids, reply } => finish(reply, tables.retry_failed(&ids)),
        Command::DeleteFailed { ids, reply } => finish(reply, tables.delete_failed(&ids)),
    }
}

fn finish<T: 'static>(
    reply: Reply<T>,
    result: rusqlite::Result<Result<T, QueueError>>,
) -> (Pending, rusqlite::Result<()>) {
    finish_with(reply, result, |_| None)
}

/// The same; `abandoned` tells of an answer that nobody took whether a claim is in it.
fn finish_with<T: 'static>(
    reply: Reply<T>,
    result: rusqlite::Result<Result<T, QueueError>>,
    abandoned: fn(T) -> Option<ClaimId>,
) -> (Pending, rusqlite::Result<()>) {
    let (answer, outcome) = match result {
        Ok(answer) => (answer, Ok(())),
        Err(error) => (Err(unavailable(&error)), Err(error)),
    };
    let pending = move |undone: Option<&str>| {
        // Nobody waits any more when the caller was cancelled.
        let untaken = reply.send(undone.map_or(answer, |reason| Err(unavailable(reason)))).err()?;
        untaken.ok().and_then(abandoned)
    };
    (Box::new(pending), outcome)
}

fn refuse(command: Command, reason: &str) {
    fn tell<T>(reply: Reply<T>, reason: &str) {
        let _ = reply.send(Err(unavailable(reason)));
    }
    match command {
        Command::Push { reply, .. } => tell(reply, reason),
        Command::Claim { reply, .. } => tell(reply, reason),
        Command::Probe { reply }
        | Command::Renew { reply, .. }
        | Command::Acknowledge { reply, .. }
        | Command::Look { reply } => tell(reply, reason),
        Command::Batches { reply, .. } => tell(reply, reason),
        Command::BatchItems { reply, .. } => tell(reply, reason),
        Command::Waiting { reply, .. } => tell(reply, reason),
        Command::Failed { reply, .. } => tell(reply, reason),
        Command::DeleteWaiting { reply, .. }
        | Command::RetryFailed { reply, .. }
        | Command::DeleteFailed { reply, .. } => tell(reply, reason),
    }
}
