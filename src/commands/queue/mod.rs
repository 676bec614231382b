//! `queue`: shows the queue and repairs it, with a pipeline running on it or without.

mod change;
mod drain;
mod export;
mod list;
mod status;
mod walk;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use color_eyre::Result;

use crate::cli::{QueueArgs, QueueCommand};
use bklit_pipeline::queue::Queue;

pub use drain::{Drain, run as drain};
use walk::Which;

/// The queue, and the spool before it where there is one.
pub struct Queues {
    /// Where events wait.
    pub queue: Arc<dyn Queue>,
    /// Where they are put while that is away; only to look into.
    pub spool: Option<Arc<dyn Queue>>,
}

/// Carries out all commands but `drain`, and prints what they have to say.
///
/// # Errors
/// When the queue cannot be reached or the result cannot be written.
pub async fn run(args: &QueueArgs, queues: &Queues) -> Result<ExitCode> {
    let queue = &*queues.queue;
    match &args.command {
        QueueCommand::Status { json } => status::run(queues, *json).await?,
        QueueCommand::List { filter, waiting, limit, json } => {
            list::run(queue, Which::of(*waiting), filter, *limit, *json).await?;
        }
        QueueCommand::Retry { choice } => return change::retry(queue, choice).await,
        QueueCommand::Delete { choice, waiting, yes } => {
            return change::delete(queue, Which::of(*waiting), choice, *yes).await;
        }
        QueueCommand::Export { filter, waiting, file } => {
            export::run(queue, Which::of(*waiting), filter, file).await?;
        }
        // Has a worker, which the queue alone does not make.
        QueueCommand::Drain { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// A pipe that is closed early, as by `head`, is no error; then there is no more to print.
fn print(text: &str) -> Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}
