//! `verify`: compares events that went through the queue with those inserted directly.

use std::collections::HashMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use color_eyre::eyre::{Report as Error, Result, bail};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::cli::{Moment, VerifyArgs};
use bklit_console_core::format::count;
use bklit_pipeline::queue::Queue;
use bklit_pipeline::store::baseline::{Baseline, EventKey, Kind, Span};
use bklit_pipeline::verify::{Mismatch, PAGE, Plan, Report, failed_reasons, reconcile};
use bklit_wire::gauges::match_rate;
use bklit_wire::text::{safe, safe_json};
use bklit_wire::time::UtcMillis;

/// At least one event does not match.
const MISMATCHED: u8 = 1;
/// Pages of failed events that are searched for reasons, and how long that may take.
const REASON_PAGES: usize = 20;
const REASONS_TIMEOUT: Duration = Duration::from_secs(10);

/// Not verified, or not completely; not a success.
const NOT_VERIFIED: u8 = 2;

/// Compares, and prints mismatches and counts; returns the exit code.
pub async fn run(
    args: &VerifyArgs,
    settle: Duration,
    open: impl FnOnce() -> Result<Box<dyn Baseline>>,
    queue: Option<Arc<dyn Queue>>,
) -> ExitCode {
    let verified = async {
        let store = open()?;
        // Only explains missing events; without the reasons they are missing all the same.
        let reasons = match &queue {
            Some(queue) => timeout(REASONS_TIMEOUT, failed_reasons(&**queue, REASON_PAGES)).await,
            None => Ok(HashMap::new()),
        };
        let reasons = reasons.unwrap_or_default();
        verify(args, settle, &*store, reasons).await
    };
    match verified.await {
        Ok(code) => code,
        Err(error) => {
            let error = format!("error: not verified: {error:#}");
            error.lines().for_each(|line| eprintln!("{}", safe(line)));
            NOT_VERIFIED.into()
        }
    }
}

async fn verify(
    args: &VerifyArgs,
    settle: Duration,
    store: &dyn Baseline,
    reasons: HashMap<EventKey, String>,
) -> Result<ExitCode> {
    let now = UtcMillis::now();
    let plan = plan(args, settle, now)?;
    let mut printer =
        Printer { json: args.json, left: args.limit, left_out: 0, error: None, reasons };
    let report = reconcile(store, &plan, &mut |mismatch| printer.mismatch(&mismatch)).await?;
    printer.summary(&report, &plan);
    if let Some(error) = printer.error
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        return Err(Error::new(error).wrap_err("cannot write the result"));
    }
    Ok(match verdict(&report) {
        (code, None) => code.into(),
        (code, Some(reason)) => {
            eprintln!("{reason}");
            code.into()
        }
    })
}

fn plan(args: &VerifyArgs, settle: Duration, now: UtcMillis) -> Result<Plan> {
    let ago = |ago: Duration| now.epoch_seconds().saturating_sub_unsigned(ago.as_secs()).max(0);
    let since = match args.since {
        Moment::Ago(time) => ago(time),
        Moment::At(moment) => moment.epoch_seconds(),
    };
    let until = match args.until {
        // Includes the current second, so that "0s" covers everything.
        Moment::Ago(time) => ago(time) + 1,
        Moment::At(moment) => moment.epoch_seconds(),
    };
    if since >= until {
        bail!("--since must be before --until");
    }
    let settled_until = ago(settle) + 1;
    let span = Span { since, until, project: args.project.clone() };
    Ok(Plan { span, settled_until, page: PAGE })
}

/// The exit code and the reason for it.
fn verdict(report: &Report) -> (u8, Option<String>) {
    if report.mismatched() > 0 {
        return (MISMATCHED, None);
    }
    if report.compared() == 0 {
        let reason = "Nothing to compare: no event in that range has settled on both paths.";
        return (NOT_VERIFIED, Some(reason.to_owned()));
    }
    if report.before_baseline > 0 {
        let begins = report.baseline_begins.map(moment).unwrap_or_default();
        let reason = format!(
            "Not completely verified: {} events are older than the baseline; compare the newer \
             ones with --since {begins}",
            report.before_baseline
        );
        return (NOT_VERIFIED, Some(reason));
    }
    if report.not_written > 0 {
        let reason = format!(
            "Not completely verified: {} events were not written to the baseline, because the \
             store was slow, dual write was off or a process was killed; compare a range without \
             such events",
            report.not_written
        );
        return (NOT_VERIFIED, Some(reason));
    }
    (0, None)
}

fn moment(seconds: i64) -> String {
    UtcMillis::from_epoch_millis(seconds.saturating_mul(1000)).to_string()
}

/// Prints mismatches as they are found; keeps the first write error for the end.
struct Printer {
    json: bool,
    left: u64,
    left_out: u64,
    error: Option<io::Error>,
    /// Why events failed, by project and id.
    reasons: HashMap<EventKey, String>,
}

impl Printer {
    fn mismatch(&mut self, mismatch: &Mismatch) {
        if self.left == 0 {
            self.left_out += 1;
            return;
        }
        self.left -= 1;
        let Mismatch { kind, key, found } = mismatch;
        let kind = match kind {
            Kind::PageViews => "pageview",
            Kind::CustomEvents => "event",
        };
        let reason = self.reasons.get(key).filter(|_| found.queue_rows == 0).cloned();
        if self.json {
            let mut object = json!(found);
            if let Some(reason) = &reason {
                object["reason"] = reason.as_str().into();
            }
            object["eventId"] = key.id.as_str().into();
            object["projectId"] = key.project_id.as_str().into();
            object["type"] = kind.into();
            object["problem"] = found.summary().into();
            return self.line(&safe_json(&object.to_string()));
        }
        let mut text = format!("{} {kind} of {}: {}", key.id, key.project_id, found.summary());
        if found.queue_rows.max(found.baseline_rows) > 1 {
            let counts = (found.queue_rows, found.baseline_rows);
            text += &format!(" ({} rows through the queue, {} direct)", counts.0, counts.1);
        }
        if let Some(reason) = reason {
            text += &format!(": failed: {reason}");
        }
        self.line(&safe(&text));
        for field in &found.fields {
            let text =
                format!("    {}: queue {}, baseline {}", field.field, field.queue, field.baseline);
            self.line(&safe(&text));
        }
    }

    fn summary(&mut self, report: &Report, plan: &Plan) {
        if self.json {
            return self.line(&safe_json(&as_json(report, plan, self.left_out).to_string()));
        }
        if self.left_out > 0 {
            let text = format!("… and {} more (see --limit)", self.left_out);
            self.line(&text);
        }
        let rate = match match_rate(report.matched, report.mismatched()) {
            Some(rate) => format!("match rate {rate} %"),
            None => "no match rate".to_owned(),
        };
        let (since, until) = (moment(plan.span.since), moment(plan.span.until));
        self.line(&format!("accepted from {since} to before {until}: {rate}"));
        for (_, name, value) in counts(report) {
            if value > 0 || name == "matched" {
                self.line(&format!("{:>12}  {name}", count(value)));
            }
        }
    }

    fn line(&mut self, text: &str) {
        if self.error.is_some() {
            return;
        }
        if let Err(error) = writeln!(io::stdout().lock(), "{text}") {
            self.error = Some(error);
        }
    }
}

/// Each count with its JSON key and its description.
fn counts(report: &Report) -> [(&'static str, &'static str, u64); 7] {
    [
        ("matched", "matched", report.matched),
        ("missingInQueuePath", "missing in the queue path", report.missing_in_queue_path),
        ("missingInBaseline", "missing in the baseline", report.missing_in_baseline),
        ("different", "different, or stored more than once", report.different),
        ("beforeBaseline", "skipped: older than the baseline", report.before_baseline),
        ("notWritten", "skipped: not written to the baseline", report.not_written),
        ("notSettled", "skipped: not settled yet", report.not_settled),
    ]
}

fn as_json(report: &Report, plan: &Plan, left_out: u64) -> Value {
    let mut object = json!({
        "summary": true,
        "since": moment(plan.span.since),
        "until": moment(plan.span.until),
        "baselineBegins": report.baseline_begins.map(moment),
        "matchRate": match_rate(report.matched, report.mismatched()),
        "notPrinted": left_out,
    });
    for (name, _, value) in counts(report) {
        object[name] = value.into();
    }
    object
}
