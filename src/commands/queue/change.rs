//! `queue retry` and `queue delete`, with the confirmation.

use std::collections::HashSet;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

use color_eyre::Result;
use color_eyre::eyre::{WrapErr, bail};

use super::walk::{Entry, Seen, Walk, Which};
use super::{list, print};
use crate::cli::ChoiceArgs;
use bklit_pipeline::queue::{Queue, changes};
use bklit_wire::queue::MAX_PAGE;
use bklit_wire::text::safe;

/// Events that are listed before they are deleted.
const SHOWN: usize = 10;
/// The longest answer to the confirmation that is read, in bytes.
const MAX_ANSWER: usize = 100;

/// What to do with events.
#[derive(Clone, Copy)]
enum Change {
    Retry,
    Delete(Which),
}

impl Change {
    /// Adds to `changed`, also if it fails later.
    async fn apply(self, queue: &dyn Queue, ids: &[String], changed: &mut u64) -> Result<()> {
        for ids in ids.chunks(MAX_PAGE) {
            let step = match self {
                Self::Retry => queue.retry_failed(ids).await,
                Self::Delete(Which::Failed) => queue.delete_failed(ids).await,
                Self::Delete(Which::Waiting) => queue.delete_waiting(ids).await,
            };
            let (done, result) = changes::split(changes::counted(step));
            *changed += done.changed;
            let done = self.done();
            result.wrap_err_with(|| format!("{done}: {changed}, then it failed"))?;
        }
        Ok(())
    }

    fn done(self) -> &'static str {
        match self {
            Self::Retry => "Put back into the queue",
            Self::Delete(_) => "Deleted",
        }
    }
}

pub(super) async fn retry(queue: &dyn Queue, choice: &ChoiceArgs) -> Result<ExitCode> {
    let walk = Walk::over(queue, Which::Failed, &choice.filter);
    change(queue, Change::Retry, choice, walk).await
}

pub(super) async fn delete(
    queue: &dyn Queue,
    which: Which,
    choice: &ChoiceArgs,
    yes: bool,
) -> Result<ExitCode> {
    let mut walk = Walk::over(queue, which, &choice.filter);
    if !yes {
        if !io::stdin().is_terminal() {
            bail!("refusing to delete without --yes: there is no terminal to ask for confirmation");
        }
        let (count, seen) = show(&mut walk, which, choice).await?;
        if count == 0 {
            print(&format!("No matching {} events.\n", which.adjective()))?;
            return Ok(ExitCode::SUCCESS);
        }
        if !confirmed(which, count)? {
            print("Nothing was deleted.\n")?;
            return Ok(ExitCode::FAILURE);
        }
        walk = walk.again(seen);
    }
    change(queue, Change::Delete(which), choice, walk).await
}

async fn change(
    queue: &dyn Queue,
    change: Change,
    choice: &ChoiceArgs,
    mut walk: Walk<'_>,
) -> Result<ExitCode> {
    let (done, mut changed) = (change.done(), 0);
    if choice.all {
        while let Some(entries) = walk.next().await? {
            let ids: Vec<_> = entries.into_iter().map(|entry| entry.id).collect();
            change.apply(queue, &ids, &mut changed).await?;
        }
        print(&format!("{done}: {changed}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut seen = HashSet::new();
    let ids: Vec<_> = choice.ids.iter().filter(|id| seen.insert(*id)).cloned().collect();
    change.apply(queue, &ids, &mut changed).await?;
    print(&format!("{done}: {changed} of {}\n", ids.len()))?;
    if changed == ids.len() as u64 {
        return Ok(ExitCode::SUCCESS);
    }
    let missing = ids.len() as u64 - changed;
    let missing = if missing == 1 { "1 id".to_owned() } else { format!("{missing} ids") };
    eprintln!("{missing} not found; `bklit-tui queue list` shows the current ones");
    Ok(ExitCode::FAILURE)
}

/// Prints the first events to be deleted; returns how many there are, and which.
async fn show(walk: &mut Walk<'_>, which: Which, choice: &ChoiceArgs) -> Result<(usize, Seen)> {
    let chosen: HashSet<_> = choice.ids.iter().collect();
    let mut first: Vec<Entry> = Vec::new();
    let (mut count, mut seen) = (0, Seen::default());
    while let Some(mut entries) = walk.next().await? {
        entries.retain(|entry| choice.all || chosen.contains(&entry.id));
        count += entries.len();
        entries.iter().for_each(|entry| seen.record(entry));
        entries.truncate(SHOWN - first.len());
        first.extend(entries);
        if !choice.all && count >= chosen.len() {
            break;
        }
    }
    // An id that moved in the list while it was read is still found when it is deleted.
    let count = if choice.all { count } else { chosen.len() };
    if !first.is_empty() {
        print(&list::rows_of(which, &first))?;
    }
    if count > first.len() {
        print(&format!("… and {} more\n", count - first.len()))?;
    }
    Ok((count, seen))
}

/// Asks for a typed phrase: pressing a key by mistake must not be enough.
fn confirmed(which: Which, count: usize) -> Result<bool> {
    let word = format!("delete {count}");
    let events = if count == 1 { "event" } else { "events" };
    let adjective = which.adjective();
    eprint!("Type `{word}` to permanently delete {count} {adjective} {events}: ");
    let answer = answer()?;
    if answer == word {
        return Ok(true);
    }
    eprintln!("`{}` does not match.", safe(&answer));
    Ok(false)
}

/// What the user types, without whitespace around it.
pub(super) fn answer() -> Result<String> {
    let mut answer = String::new();
    let mut input = io::Read::take(io::stdin().lock(), MAX_ANSWER as u64);
    io::BufRead::read_line(&mut input, &mut answer)?;
    Ok(answer.trim().to_owned())
}
