//! The console under load: filtering a full buffer, compared with ripgrep; and the real program in
//! a pseudo-terminal under a flood of lines, and idle. See bench/README.md.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod daemon;
mod filtering;
mod live;
#[path = "../shared/record.rs"]
mod record;
#[allow(dead_code, unused_imports)]
#[path = "../../tests/support/mod.rs"]
mod support;

use bklit_wire::debug_log::{DebugLog, Level, Stage};
use bklit_wire::time::UtcMillis;
use clap::{Parser, ValueEnum};
use serde_json::{Value, json};

const NOON: i64 = 1_769_860_800_000;
const PATHS: [&str; 5] = ["/", "/pricing", "/checkout", "/blog/how-we-count", "/docs"];

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Filter,
    Flood,
    Idle,
}

#[derive(Parser)]
struct Options {
    /// Run only this part
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Lines of the full buffer
    #[arg(long, default_value_t = 1_000_000)]
    lines: usize,
    /// Seconds of the flood
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    #[command(flatten)]
    recording: record::Recording,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// A line like that of a real pipeline.
fn line(nth: usize) -> DebugLog {
    let stage = Stage::ALL[nth % 6];
    let (message, data): (_, Value) = match stage {
        Stage::Ingestion => {
            let url = format!("https://shop.example{}", PATHS[nth / 6 % 5]);
            ("Event accepted", json!({ "type": "pageview", "url": url, "bytes": 400 + nth % 99 }))
        }
        Stage::Queue => ("Event queued", json!({ "depth": nth % 1_000 })),
        Stage::Worker => ("Processing page view", json!({ "batchId": nth / 600, "waitedMs": 12 })),
        Stage::Clickhouse => ("Batch stored", json!({ "table": "page_view_event", "rows": 100 })),
        Stage::Pubsub => ("Live event published", json!({ "subscribers": 3 })),
        Stage::Websocket => ("Sent to dashboards", json!({ "sockets": 3 })),
    };
    let level = if nth.is_multiple_of(97) { Level::Error } else { Level::Info };
    let mut log = DebugLog::new(stage, level, message);
    log.timestamp = UtcMillis::from_epoch_millis(NOON + nth as i64);
    log.data = data.as_object().cloned().unwrap();
    log.event_id = Some(format!("evt_019c13f0a7b87000{:016x}", nth / 6));
    log.project_id = Some(format!("project-{}", nth % 7));
    log.duration = Some((nth % 50) as f64 / 10.0);
    log
}

fn main() {
    let options = Options::parse();
    let is_wanted = |part| options.only.is_none_or(|only| only == part);
    if is_wanted(Part::Filter) {
        filtering::run(options.lines, &options.recording);
    }
    if is_wanted(Part::Flood) {
        live::flood(options.lines, options.seconds, &options.recording);
    }
    if is_wanted(Part::Idle) {
        live::idle(&options.recording);
    }
}
