//! The thread that writes the queue's file: many commands per transaction.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::client_ids::Chosen;
use super::edits::CheckedEdit;
use super::tables::Tables;
use super::{View, unavailable};
use bklit_pipeline::queue::{
    Claim, ClaimId, FailedItem, Order, Page, Pushed, QueueError, Rejected, WaitingItem,
};
use bklit_wire::queue::BatchInFlight;

/// Maximum commands per commit: limits how long a push waits for others.
const MAX_GROUP: usize = 4_096;

type Reply<T> = oneshot::Sender<Result<T, QueueError>>;

/// An event to add.
pub(super) struct NewRow {
    pub(super) body: String,
    /// The id, if the client chose it.
    pub(super) chosen: Option<Chosen>,
}

/// A command and where to send its result.
pub(super) enum Command {
    Push {
        item: NewRow,
        reply: Reply<Pushed>,
    },
    PushMany {
        items: Vec<NewRow>,
        reply: Reply<Vec<Result<Pushed, QueueError>>>,
    },
    Claim {
        most: usize,
        lease: Duration,
        reply: Reply<Option<Claim>>,
    },
    /// Checks whether an event could be written.
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
    /// Picks up changes of other processes.
    Refresh {
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
    FailedBodies {
        ids: Vec<i64>,
        reply: Reply<HashMap<i64, String>>,
    },
    RetryEdited {
        edits: Vec<CheckedEdit>,
        reply: Reply<u64>,
    },
    DeleteFailed {
        ids: Vec<i64>,
        reply: Reply<u64>,
    },
}

impl Command {
    /// Whether the command does not change the file.
    fn only_reads(&self) -> bool {
        matches!(
            self,
            Self::Refresh { .. }
                | Self::Batches { .. }
                | Self::BatchItems { .. }
                | Self::Waiting { .. }
                | Self::Failed { .. }
                | Self::FailedBodies { .. }
        )
    }
}

/// A command that was executed and waits for the commit. Called with `None` once it is durable,
/// otherwise with the reason why it was rolled back. Returns a claim whose caller no longer waits.
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

    /// Executes commands until all senders are dropped.
    pub(super) fn run(mut self) {
        let mut group = Vec::with_capacity(MAX_GROUP);
        while self.commands.blocking_recv_many(&mut group, MAX_GROUP) > 0 {
            self.execute_group(&mut group);
        }
    }

    fn execute_group(&mut self, group: &mut Vec<Command>) {
        // The state in memory must not get ahead of the file.
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
        let failure = outcome.err().map(|error| self.tables.reason(&error));
        if let Some(reason) = &failure {
            tracing::error!(%reason, "cannot write the queue");
            self.tables.roll_back(before);
        }
        // Before the replies, so that callers who have one also see its effect. Reads alone do not
        // show whether events can be written.
        let shown = match only_reads {
            true => self.view.borrow().failure.clone(),
            false => failure.clone(),
        };
        self.view.send_replace(self.tables.view(shown));
        if let Some(reason) = &failure {
            // These were not executed; dropping their replies would look as if the writer had
            // stopped.
            commands.for_each(|command| reply_with_error(command, reason));
        }
        let finished = pending.into_iter().filter_map(|finish| finish(failure.as_deref()));
        let abandoned: Vec<_> = finished.collect();
        if !abandoned.is_empty() {
            self.release_abandoned(&abandoned);
        }
    }

    /// Releases claims whose callers no longer wait. If this fails, they expire.
    fn release_abandoned(&mut self, claims: &[ClaimId]) {
        let before = self.tables.state();
        let outcome = self.tables.begin().and_then(|()| {
            for claim in claims {
                // A batch that was claimed again in the meantime stays claimed.
                let _ = self.tables.renew(claim, Duration::ZERO)?;
            }
            self.tables.commit()
        });
        if let Err(error) = outcome {
            tracing::warn!(%error, "cannot release a claim whose caller has gone");
            self.tables.roll_back(before);
        }
        let failure = self.view.borrow().failure.clone();
        self.view.send_replace(self.tables.view(failure));
    }
}

/// Executes a command in the open transaction. The error is the transaction's; errors of the caller
/// are part of the reply.
fn apply(tables: &mut Tables, command: Command) -> (Pending, rusqlite::Result<()>) {
    match command {
        Command::Push { item, reply } => finish(reply, tables.push(&item)),
        Command::PushMany { items, reply } => finish(reply, tables.push_many(&items)),
        Command::Claim { most, lease, reply } => {
            finish_with(reply, tables.claim(most, lease), |claim| claim.map(|claim| claim.id))
        }
        Command::Probe { reply } => finish(reply, tables.probe()),
        Command::Renew { claim, lease, reply } => finish(reply, tables.renew(&claim, lease)),
        Command::Acknowledge { claim, rejected, reply } => {
            finish(reply, tables.acknowledge(&claim, &rejected))
        }
        Command::Refresh { reply } => finish(reply, Ok(Ok(()))),
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
        Command::FailedBodies { ids, reply } => finish(reply, tables.failed_bodies(&ids)),
        Command::RetryEdited { edits, reply } => finish(reply, tables.retry_edited(&edits)),
        Command::DeleteFailed { ids, reply } => finish(reply, tables.delete_failed(&ids)),
    }
}

fn finish<T: 'static>(
    reply: Reply<T>,
    result: rusqlite::Result<Result<T, QueueError>>,
) -> (Pending, rusqlite::Result<()>) {
    finish_with(reply, result, |_| None)
}

/// Like [`finish`]; `abandoned` extracts the claim from a result that nobody received.
fn finish_with<T: 'static>(
    reply: Reply<T>,
    result: rusqlite::Result<Result<T, QueueError>>,
    abandoned: fn(T) -> Option<ClaimId>,
) -> (Pending, rusqlite::Result<()>) {
    let (value, outcome) = match result {
        Ok(value) => (value, Ok(())),
        Err(error) => (Err(unavailable(&error)), Err(error)),
    };
    let pending = move |undone: Option<&str>| {
        // Fails if the caller was cancelled.
        let untaken = reply.send(undone.map_or(value, |reason| Err(unavailable(reason)))).err()?;
        untaken.ok().and_then(abandoned)
    };
    (Box::new(pending), outcome)
}

fn reply_with_error(command: Command, reason: &str) {
    fn send<T>(reply: Reply<T>, reason: &str) {
        let _ = reply.send(Err(unavailable(reason)));
    }
    match command {
        Command::Push { reply, .. } => send(reply, reason),
        Command::PushMany { reply, .. } => send(reply, reason),
        Command::Claim { reply, .. } => send(reply, reason),
        Command::Probe { reply }
        | Command::Renew { reply, .. }
        | Command::Acknowledge { reply, .. }
        | Command::Refresh { reply } => send(reply, reason),
        Command::Batches { reply, .. } => send(reply, reason),
        Command::BatchItems { reply, .. } => send(reply, reason),
        Command::Waiting { reply, .. } => send(reply, reason),
        Command::Failed { reply, .. } => send(reply, reason),
        Command::FailedBodies { reply, .. } => send(reply, reason),
        Command::DeleteWaiting { reply, .. }
        | Command::RetryEdited { reply, .. }
        | Command::RetryFailed { reply, .. }
        | Command::DeleteFailed { reply, .. } => send(reply, reason),
    }
}
