//! `queue edit`: edits failed events, in the user's editor or by rules, and puts them back into the
//! queue. The originals are kept in a file in the data dir.

use std::collections::HashSet;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use color_eyre::Result;
use color_eyre::eyre::{bail, eyre};

use super::change::answer;
use super::walk::{Entry, Seen, Walk, Which};
use super::{Ending, print};
use crate::cli::{ChoiceArgs, EditArgs};
use bklit_console::{editor, originals};
use bklit_console_core::diff::diff;
use bklit_console_core::model::edit::editable;
use bklit_pipeline::queue::edit::check;
use bklit_pipeline::queue::{Queue, changes};
use bklit_wire::edit_rule::EditRule;
use bklit_wire::json_text::one_line;
use bklit_wire::queue::{Edit, Edited, FailedView, InvalidEdit};
use bklit_wire::text::safe;

/// Events whose differences are shown before they are edited by rules.
const SHOWN: usize = 3;
/// Invalid events that are named.
const NAMED: usize = 10;
/// Edits sent at once end with the one that exceeds this size, in bytes.
const EDIT_BYTES: usize = 4 << 20;

/// Edits failed events.
///
/// # Errors
/// When the queue is unavailable, the editor fails or the originals cannot be kept.
pub(super) async fn run(
    queue: &dyn Queue,
    data_dir: &Path,
    args: &EditArgs,
    watch_signals: impl FnOnce() -> Result<Ending>,
) -> Result<ExitCode> {
    let EditArgs { choice, rules, dry_run, yes } = args;
    if !rules.is_empty() {
        let by_rules = ByRules { queue, data_dir, choice, rules };
        return by_rules.run(*dry_run, *yes).await;
    }
    let [id] = choice.ids.as_slice() else {
        bail!("an editor edits one event; give one ID, or change several by --rule");
    };
    let mut walk = Walk::over(queue, Which::Failed, &choice.filter);
    while let Some(entries) = walk.next().await? {
        if let Some(entry) = entries.into_iter().find(|entry| entry.id == *id) {
            let mut ending = watch_signals()?;
            return match edited(&entry, &mut ending).await? {
                Ok(body) => one(queue, data_dir, (entry, body), *dry_run, *yes).await,
                Err(code) => Ok(code),
            };
        }
    }
    eprintln!("id not found; `bklit-tui queue list` shows the current ones");
    Ok(ExitCode::FAILURE)
}

/// Edits an event in the editor until it is valid; else returns how the command ends.
async fn edited(entry: &Entry, ending: &mut Ending) -> Result<Result<String, ExitCode>> {
    let before = editable(&entry.body);
    let mut text = before.clone();
    loop {
        text = match editor::edit(&text, signal(ending)).await {
            Ok(edited) => edited.map_err(|error| eyre!(error))?,
            Err(signal) => {
                eprintln!("stopped by a signal; nothing was changed");
                return Ok(Err(ExitCode::from(128_u8.saturating_add(signal))));
            }
        };
        if text.trim_end() == before.trim_end() {
            print("Not changed; the failed queue is unchanged.\n")?;
            return Ok(Err(ExitCode::SUCCESS));
        }
        let checked = one_line(&text).and_then(|body| check(&entry.body, &body).map(|()| body));
        match checked {
            Ok(body) => return Ok(Ok(body)),
            Err(problem) => {
                eprintln!("{}", safe(&problem));
                let again = io::stdin().is_terminal() && asks("Type `e` to edit it again: ", "e")?;
                if !again {
                    print(UNCHANGED)?;
                    return Ok(Err(ExitCode::FAILURE));
                }
            }
        }
    }
}

/// Waits for the signal that ends the process.
async fn signal(ending: &mut Ending) -> u8 {
    let signal = ending.wait_for(Option::is_some).await.ok().and_then(|signal| *signal);
    match signal.and_then(|signal| u8::try_from(signal).ok()) {
        Some(signal) => signal,
        // It is not watched any more.
        None => std::future::pending().await,
    }
}

/// Shows an edited event and retries it after a confirmation.
async fn one(
    queue: &dyn Queue,
    data_dir: &Path,
    (entry, body): (Entry, String),
    dry_run: bool,
    yes: bool,
) -> Result<ExitCode> {
    print(&shown(&entry.body, &body))?;
    if dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    if !yes && !confirmed(1)? {
        print(UNCHANGED)?;
        return Ok(ExitCode::FAILURE);
    }
    let mut done = Done::default();
    done.send(queue, data_dir, vec![(entry, body)]).await?;
    done.report()
}

const UNCHANGED: &str = "Nothing was changed.\n";

/// The differences between two bodies, as text for a terminal.
fn shown(before: &str, after: &str) -> String {
    let lines = diff(&editable(before), &editable(after));
    lines.iter().map(|line| format!("{}\n", safe(&line.text()))).collect()
}

/// Edits many events by rules.
struct ByRules<'a> {
    queue: &'a dyn Queue,
    data_dir: &'a Path,
    choice: &'a ChoiceArgs,
    rules: &'a [EditRule],
}

impl ByRules<'_> {
    async fn run(&self, dry_run: bool, yes: bool) -> Result<ExitCode> {
        if !dry_run && !yes && !io::stdin().is_terminal() {
            bail!("refusing to edit without --yes: there is no terminal to ask for confirmation");
        }
        let mut walk = Walk::over(self.queue, Which::Failed, &self.choice.filter);
        let (mut seen, mut matching, mut count) = (Seen::default(), 0, 0);
        while let Some(entries) = walk.next().await? {
            for entry in entries.into_iter().filter(|entry| self.chooses(entry)) {
                matching += 1;
                let Some(body) = self.edited(&entry.body) else { continue };
                if count < SHOWN {
                    self.show(&entry, &body)?;
                }
                count += 1;
                seen.record(&entry);
            }
        }
        print(&format!("Changes {count} of {matching} failed events.\n"))?;
        if dry_run || count == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        if !yes && !confirmed(count)? {
            print(UNCHANGED)?;
            return Ok(ExitCode::FAILURE);
        }
        // Only those counted.
        self.carry_out(walk.again(seen)).await
    }

    async fn carry_out(&self, mut walk: Walk<'_>) -> Result<ExitCode> {
        let mut done = Done::default();
        while let Some(entries) = walk.next().await? {
            let (mut edits, mut bytes) = (Vec::new(), 0);
            for entry in entries.into_iter().filter(|entry| self.chooses(entry)) {
                let Some(body) = self.edited(&entry.body) else { continue };
                bytes += body.len();
                edits.push((entry, body));
                if bytes >= EDIT_BYTES {
                    done.send(self.queue, self.data_dir, std::mem::take(&mut edits)).await?;
                    bytes = 0;
                }
            }
            done.send(self.queue, self.data_dir, edits).await?;
        }
        done.report()
    }

    fn chooses(&self, entry: &Entry) -> bool {
        self.choice.all || self.choice.ids.contains(&entry.id)
    }

    /// The body as the rules make it; `None` if they change nothing.
    fn edited(&self, body: &str) -> Option<String> {
        let mut edited: Option<String> = None;
        for rule in self.rules {
            edited = rule.apply(edited.as_deref().unwrap_or(body)).or(edited);
        }
        edited.filter(|edited| edited != body)
    }

    fn show(&self, entry: &Entry, body: &str) -> Result<()> {
        let id = entry.event.event_id.as_deref().unwrap_or(&entry.id);
        let reason = entry.reason.as_deref().unwrap_or_default();
        print(&format!("{} failed: {}\n{}", safe(id), safe(reason), shown(&entry.body, body)))?;
        if let Err(problem) = check(&entry.body, body) {
            print(&format!("would stay as it is: {}\n", safe(&problem)))?;
        }
        print("\n")?;
        Ok(())
    }
}

/// What was done so far.
#[derive(Default)]
struct Done {
    changed: u64,
    /// The file with the originals, if any were kept.
    originals: Option<PathBuf>,
    invalid: Vec<InvalidEdit>,
    /// Of those that are not named.
    more_invalid: usize,
}

impl Done {
    /// Keeps events as they are, and puts edited ones into the queue instead of them.
    async fn send(
        &mut self,
        queue: &dyn Queue,
        data_dir: &Path,
        edits: Vec<(Entry, String)>,
    ) -> Result<()> {
        if edits.is_empty() {
            return Ok(());
        }
        let items = edits.iter().map(|(entry, _)| FailedView::from(entry.clone()));
        let kept = originals::keep(data_dir, &items.collect::<Vec<_>>());
        self.originals = Some(kept.map_err(|error| eyre!("{error}{}", self.so_far()))?);
        let edits = edits.into_iter().map(|(entry, body)| Edit { id: entry.id, body });
        let edited = queue.retry_edited(&edits.collect::<Vec<_>>()).await;
        let (Edited { changed, invalid }, result) = changes::split(edited);
        self.changed += changed;
        result.map_err(|error| eyre!("{error}{}", self.so_far()))?;
        let named = invalid.len().min(NAMED - self.invalid.len());
        self.more_invalid += invalid.len() - named;
        self.invalid.extend(invalid.into_iter().take(named));
        Ok(())
    }

    fn so_far(&self) -> String {
        match self.changed {
            0 => String::new(),
            changed => format!("; edited and put back into the queue before: {changed}"),
        }
    }

    fn report(self) -> Result<ExitCode> {
        print(&format!("Edited and put back into the queue: {}\n", self.changed))?;
        match &self.originals {
            Some(path) => eprintln!("The originals are in {}", path.display()),
            None => eprintln!("The events are no longer in the failed queue"),
        }
        let mut names = HashSet::new();
        for InvalidEdit { id, error } in self.invalid.iter().filter(|i| names.insert(&i.id)) {
            eprintln!("{} left as it was: {}", safe(id), safe(error));
        }
        if self.more_invalid > 0 {
            eprintln!("… and {} more left as they were", self.more_invalid);
        }
        let is_done = self.changed > 0 && self.invalid.is_empty();
        Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Asks for a typed phrase: pressing a key by mistake must not be enough.
fn confirmed(count: usize) -> Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("not retried without --yes: there is no terminal to ask for confirmation");
    }
    let word = format!("edit {count}");
    let events = if count == 1 { "event" } else { "events" };
    asks(&format!("Type `{word}` to edit and retry {count} {events}: "), &word)
}

fn asks(question: &str, word: &str) -> Result<bool> {
    eprint!("{question}");
    Ok(answer()? == word)
}
