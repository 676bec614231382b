//! Work done outside the console's loop. Each job runs in its own thread or child process and sends
//! a [`Report`] with its result.
//!
//! - `aside`: a file that appears once it is complete
//! - `export`: writes an export's file
//! - `files`: lists directories for completion, saves filters and what was typed
//! - `layout`: saves the layout of the console
//! - `record`: records messages

mod aside;
mod export;
mod files;
mod layout;
mod record;

use std::path::{Path, PathBuf};

use tokio::sync::mpsc;

pub(crate) use aside::Aside;
use bklit_alerts::command::Runner;
use bklit_alerts::{Alert, Kind, State};
use bklit_console_core::msg::{Job, Report};
use bklit_console_core::remembered::Remembered;
use bklit_wire::debug_bus::DebugMessage;
use bklit_wire::time::UtcMillis;
use export::Exporter;
pub use files::{saved_filters, saved_histories};
use layout::LayoutFile;
pub use layout::saved_layout;
use record::Recorder;

/// How many reports may wait for the loop.
const CAPACITY: usize = 64;

/// The running jobs, and the channel for their reports.
pub struct Jobs {
    reports: mpsc::Sender<Report>,
    incoming: mpsc::Receiver<Report>,
    export: Option<Exporter>,
    recorder: Option<Recorder>,
    alert_command: Option<Runner>,
    layout: Option<LayoutFile>,
    options: JobOptions,
}

/// The settings of jobs.
#[derive(Clone, Debug, Default)]
pub struct JobOptions {
    /// The command to run on an alert.
    pub alert_command: Option<String>,
    /// Whether the watched process runs the command for its own alerts. Alerts on queries entered
    /// here always run it.
    pub alerts_run_elsewhere: bool,
    /// Where filters are saved; `None` saves none.
    pub data_dir: Option<PathBuf>,
    /// The maximum size of a recording.
    pub record_max_bytes: u64,
    /// The name of the source.
    pub source: String,
}

impl Jobs {
    /// Creates it without any jobs.
    pub fn new(options: JobOptions) -> Self {
        let (reports, incoming) = mpsc::channel(CAPACITY);
        let command = options.alert_command.clone();
        let alert_command = command.map(|command| Runner::new(command, options.source.clone()));
        let layout = options.data_dir.clone().map(LayoutFile::new);
        Self { reports, incoming, export: None, recorder: None, alert_command, layout, options }
    }

    /// The next report. Cancel-safe.
    pub async fn report(&mut self) -> Report {
        match self.incoming.recv().await {
            Some(report) => report,
            None => std::future::pending().await,
        }
    }

    /// Starts or continues a job. Returns a report that is available immediately, if there is one.
    pub fn start(&mut self, job: Job) -> Option<Report> {
        match job {
            Job::BeginExport(target) => match Exporter::start(target, self.reports.clone()) {
                Ok(exporter) => self.export = Some(exporter),
                Err(error) => return Some(Report::Exported(Err(error.to_string()))),
            },
            Job::ExportPiece(piece) => {
                if !self.export.as_ref().is_some_and(|export| export.write(piece)) {
                    self.export = None;
                }
            }
            Job::EndExport => {
                if let Some(export) = self.export.take() {
                    export.end();
                }
            }
            Job::ListFiles(dir) => files::list(dir, self.reports.clone()),
            Job::SaveFilter { name, query } => {
                if let Some(dir) = self.options.data_dir.clone() {
                    files::save_filter(dir, name, query, self.reports.clone());
                }
            }
            Job::SaveHistories(histories) => {
                if let Some(dir) = self.options.data_dir.clone() {
                    files::save_histories(dir, histories);
                }
            }
            Job::SaveLayout(layout) => self.save_layout(layout),
            Job::Alert(alert, count) => self.run_alert_command(&alert, count),
            Job::Record(None) => {
                if let Some(recorder) = self.recorder.take() {
                    recorder.end(self.reports.clone());
                }
            }
            Job::Record(Some(target)) => {
                let most = self.options.record_max_bytes;
                match Recorder::start(target, &self.options.source, most) {
                    Ok((recorder, path)) => {
                        self.recorder = Some(recorder);
                        return Some(Report::RecordBegan(path));
                    }
                    Err(error) => {
                        return Some(Report::RecordEnded(format!("not recorded: {error}")));
                    }
                }
            }
        }
        None
    }

    fn save_layout(&mut self, layout: Remembered) {
        if let Some(file) = &mut self.layout {
            file.save(layout);
        }
    }

    /// Waits until what must not be lost is saved, for a moment.
    pub fn finish(&mut self) {
        if let Some(file) = &mut self.layout {
            file.finish();
        }
    }

    fn run_alert_command(&mut self, alert: &Alert, count: u64) {
        let Some(runner) = &mut self.alert_command else { return };
        if self.options.alerts_run_elsewhere && !matches!(alert.kind, Kind::Lines | Kind::NoWorker)
        {
            return;
        }
        let reports = self.reports.clone();
        runner.run(State::Raised, alert, count, move |outcome| {
            if let Err(error) = outcome {
                let _ = reports.blocking_send(Report::Notice(format!("alerts.command: {error}")));
            }
        });
    }

    /// Records messages, if a recording is running.
    pub fn record(&mut self, messages: &[DebugMessage]) {
        if let Some(recorder) = &mut self.recorder {
            recorder.record(UtcMillis::now(), messages);
        }
    }

    /// The state of the recording, if there is one.
    pub fn recorded(&mut self) -> Option<Report> {
        let recorder = self.recorder.as_ref()?;
        let report = recorder.state();
        if matches!(report, Report::RecordBroke(_)) {
            self.recorder = None;
        }
        Some(report)
    }
}

/// Replaces `~/` with the user's home directory.
pub(super) fn expand(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    }
}
