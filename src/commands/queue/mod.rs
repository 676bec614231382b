//! `queue`: shows and repairs the queue, whether or not a pipeline is running on it.
//!
//! - `status`: how many events are waiting, in flight and failed
//! - `list`: prints events
//! - `change`: retries and deletes events
//! - `edit`: edits failed events and retries them
//! - `pause`: pauses and resumes accepting and storing events
//! - `export`: writes events to a file
//! - `drain`: runs a worker until the queue is empty
//! - `walk`: reads a list page by page

mod change;
mod drain;
mod edit;
mod export;
mod list;
mod pause;
mod status;
mod walk;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use color_eyre::Result;
use tokio::sync::watch;

use super::print;
use crate::cli::{QueueArgs, QueueCommand};
use bklit_pipeline::queue::Queue;

pub use drain::{Drain, run as drain};
use walk::Which;

/// The queue, and its spool where there is one.
pub struct Queues {
    /// The queue.
    pub queue: Arc<dyn Queue>,
    /// Where events are kept while Redis is unavailable; only read.
    pub spool: Option<Arc<dyn Queue>>,
}

/// Receives the signal that ends the process once the editor has ended.
pub type Ending = watch::Receiver<Option<i32>>;

/// Runs all commands but `drain`, and prints their results. Originals of edited events are kept in the
/// data dir. `watch_signals` is called before an editor is opened.
///
/// # Errors
/// When the queue is unavailable or the result cannot be written.
pub async fn run(
    args: &QueueArgs,
    queues: &Queues,
    data_dir: &Path,
    watch_signals: impl FnOnce() -> Result<Ending>,
) -> Result<ExitCode> {
    let queue = &*queues.queue;
    match &args.command {
        QueueCommand::Status { json } => status::run(queues, *json).await?,
        QueueCommand::List { filter, waiting, limit, json } => {
            list::run(queue, Which::of(*waiting), filter, *limit, *json).await?;
        }
        QueueCommand::Retry { choice } => return change::retry(queue, choice).await,
        QueueCommand::Edit(args) => return edit::run(queue, data_dir, args, watch_signals).await,
        QueueCommand::Delete { choice, waiting, yes } => {
            return change::delete(queue, Which::of(*waiting), choice, *yes).await;
        }
        QueueCommand::Export { filter, waiting, force, file } => {
            export::run(queue, Which::of(*waiting), filter, (file, *force)).await?;
        }
        QueueCommand::Pause { part, reason } => {
            pause::pause(queue, *part, reason.as_deref()).await?;
        }
        QueueCommand::Resume { part } => pause::resume(queue, *part).await?,
        // Handled by `drain`, which also needs a store.
        QueueCommand::Drain { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}
