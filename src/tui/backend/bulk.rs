//! Changes of many failed events, outside the loop: pages through all failed events, and changes those
//! of the plan page by page.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::export::Export;
use super::keep_and_edit;
use super::tasks::NO_BACKEND;
use bklit_console_core::bulk::{BulkReport, End, Operation, Plan, Preview, Progress, Sample};
use bklit_console_core::model::bulk::Chooser;
use bklit_console_core::requests::KeptEdit;
use bklit_wire::backend::{Backend, Change};
use bklit_wire::edit_rule::EditRule;
use bklit_wire::queue::{ChangeError, Edit, EditRequest, FailedView, MAX_PAGE};

/// The timeout of reading a page.
const READ_WAIT: Duration = Duration::from_secs(10);
/// The most events in a preview.
const MOST_SAMPLES: usize = 3;
/// A request to edit events ends with the one that exceeds this size.
const EDIT_BYTES: usize = 4 << 20;
/// The timeout of changing the events of a page.
const CHANGE_WAIT: Duration = Duration::from_secs(30);

/// The change in progress, if there is one.
pub(crate) struct BulkTask {
    backend: Option<Arc<dyn Backend>>,
    /// Where originals of edited events are kept.
    data_dir: PathBuf,
    running: Option<Running>,
}

struct Running {
    task: JoinHandle<()>,
    reports: watch::Receiver<BulkReport>,
    stop: CancellationToken,
}

impl BulkTask {
    /// Creates it without a change.
    pub(crate) fn new(backend: Option<Arc<dyn Backend>>, data_dir: PathBuf) -> Self {
        Self { backend, data_dir, running: None }
    }

    /// Begins a plan. Ignored while another is in progress: the model begins one at a time.
    pub(crate) fn begin(&mut self, plan: Plan) {
        if self.running.is_some() {
            return;
        }
        let (sender, reports) =
            watch::channel(BulkReport { progress: Progress::default(), end: None });
        let (backend, stop) = (self.backend.clone(), CancellationToken::new());
        let mut work = Work {
            plan,
            data_dir: self.data_dir.clone(),
            stop: stop.clone(),
            progress: Progress::default(),
            preview: Preview::default(),
            originals: None,
            reports: sender,
        };
        let task = tokio::spawn(async move {
            let end = match backend {
                Some(backend) => work.carry_out(&*backend).await,
                None => Err(NO_BACKEND.to_owned()),
            };
            work.report(Some(end.unwrap_or_else(End::Failed)));
        });
        self.running = Some(Running { task, reports, stop });
    }

    /// Stops after the page that is being changed.
    pub(crate) fn stop(&self) {
        self.running.iter().for_each(|running| running.stop.cancel());
    }

    /// Waits for the next report, of which the last has an end; forever without a change. Cancel-safe.
    pub(crate) async fn next(&mut self) -> BulkReport {
        let Some(running) = &mut self.running else { return std::future::pending().await };
        let changed = running.reports.changed().await;
        let mut report = running.reports.borrow_and_update().clone();
        if changed.is_err() && report.end.is_none() {
            report.end = Some(End::Failed("it crashed; this is a bug".to_owned()));
        }
        if report.end.is_some() {
            self.running = None;
        }
        report
    }
}

impl Drop for BulkTask {
    fn drop(&mut self) {
        self.running.iter().for_each(|running| running.task.abort());
    }
}

struct Work {
    plan: Plan,
    data_dir: PathBuf,
    stop: CancellationToken,
    progress: Progress,
    preview: Preview,
    /// The file with the originals of edited events.
    originals: Option<String>,
    reports: watch::Sender<BulkReport>,
}

impl Work {
    fn report(&self, end: Option<End>) {
        // Fails if the console has ended.
        let _ = self.reports.send(BulkReport { progress: self.progress, end });
    }

    async fn carry_out(&mut self, backend: &dyn Backend) -> Result<End, String> {
        let mut export = match &self.plan.operation {
            Operation::Export(path) => Some(Export::create(path.clone()).await?),
            _ => None,
        };
        self.report(None);
        let (mut chooser, mut after) = (Chooser::new(&self.plan), None::<String>);
        loop {
            let read = within(READ_WAIT, backend.failed(after.as_deref(), MAX_PAGE));
            let page = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(End::Stopped),
                page = read => page?,
            };
            self.progress.seen += page.items.len() as u64;
            let mut items = page.items;
            items.retain(|item| chooser.chooses(item));
            if !items.is_empty() {
                self.take(backend, export.as_mut(), items).await?;
            }
            self.report(None);
            after = page.next;
            if after.is_none() || chooser.is_done() {
                break;
            }
        }
        Ok(match (export, &self.plan.operation) {
            (Some(export), _) => End::Done(Some(export.complete().await?)),
            (None, Operation::Preview(_)) => End::Previewed(std::mem::take(&mut self.preview)),
            (None, _) => End::Done(self.originals.take()),
        })
    }

    /// Applies the change to events of a page.
    async fn take(
        &mut self,
        backend: &dyn Backend,
        export: Option<&mut Export>,
        items: Vec<FailedView>,
    ) -> Result<(), String> {
        let change = match (&self.plan.operation, export) {
            (Operation::Retry, _) => Change::Retry,
            (Operation::Delete, _) => Change::Delete,
            (Operation::Export(_), Some(export)) => {
                self.progress.chosen += items.len() as u64;
                self.progress.done += export.write(items).await?;
                return Ok(());
            }
            (Operation::Export(_), None) => return Ok(()),
            (Operation::Preview(rule), _) => {
                let rule = rule.clone();
                return self.try_rule(backend, &rule, items).await;
            }
            (Operation::Edit(rule), _) => {
                let rule = rule.clone();
                return self.edit(backend, &rule, items).await;
            }
        };
        self.progress.chosen += items.len() as u64;
        let ids: Vec<_> = items.into_iter().map(|item| item.id).collect();
        let changed = within(CHANGE_WAIT, backend.change(change, &ids)).await;
        self.progress.done += changed.map_err(|error| self.counted(error))?;
        Ok(())
    }

    /// Counts what a rule changes; keeps the first events.
    async fn try_rule(
        &mut self,
        backend: &dyn Backend,
        rule: &EditRule,
        items: Vec<FailedView>,
    ) -> Result<(), String> {
        self.preview.chosen += items.len() as u64;
        self.progress.chosen += items.len() as u64;
        for item in items {
            let Some(edited) = rule.apply(&item.body) else { continue };
            self.preview.changes += 1;
            self.progress.done += 1;
            if self.preview.samples.len() < MOST_SAMPLES {
                let edits = vec![Edit { id: item.id.clone(), body: edited.clone() }];
                let request = EditRequest { edits, dry_run: true };
                let checked = within(READ_WAIT, backend.edit(&request)).await;
                let checked = checked.map_err(|error| error.error)?;
                let problem = checked.invalid.into_iter().next().map(|invalid| invalid.error);
                self.preview.samples.push(Sample { item, edited, problem });
            }
        }
        Ok(())
    }

    /// Applies a rule, and puts what it has changed back into the queue.
    async fn edit(
        &mut self,
        backend: &dyn Backend,
        rule: &EditRule,
        items: Vec<FailedView>,
    ) -> Result<(), String> {
        let (mut originals, mut edits, mut bytes) = (Vec::new(), Vec::new(), 0);
        for item in items {
            let Some(body) = rule.apply(&item.body) else { continue };
            bytes += body.len();
            edits.push(Edit { id: item.id.clone(), body });
            originals.push(item);
            if bytes >= EDIT_BYTES {
                let (originals, edits) =
                    (std::mem::take(&mut originals), std::mem::take(&mut edits));
                self.send(backend, originals, edits).await?;
                bytes = 0;
            }
        }
        if edits.is_empty() { Ok(()) } else { self.send(backend, originals, edits).await }
    }

    async fn send(
        &mut self,
        backend: &dyn Backend,
        originals: Vec<FailedView>,
        edits: Vec<Edit>,
    ) -> Result<(), String> {
        self.progress.chosen += edits.len() as u64;
        let sent = keep_and_edit(backend, &self.data_dir, originals, edits);
        let sent = within(CHANGE_WAIT, sent).await;
        let KeptEdit { edited, kept } = sent.map_err(|error| self.counted(error))?;
        self.originals = Some(kept);
        self.progress.done += edited.changed;
        self.progress.invalid += edited.invalid.len() as u64;
        Ok(())
    }

    /// Counts what was done before an error.
    fn counted(&mut self, error: ChangeError) -> String {
        self.progress.done += error.done.changed;
        self.progress.invalid += error.done.invalid.len() as u64;
        error.error
    }
}

async fn within<T, E: From<String>>(
    wait: Duration,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let late = |_| Err(format!("no answer within {} s", wait.as_secs()).into());
    timeout(wait, call).await.unwrap_or_else(late)
}

#[cfg(test)]
mod tests;
