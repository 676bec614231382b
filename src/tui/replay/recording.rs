//! The format of recordings: lines of JSON. The first describes the recording, the others hold the
//! messages, each with the time at which it was received.
//!
//! ```text
//! {"recording":1,"program":"bklit-tui 0.1.0","source":"embedded 127.0.0.1:3001","at":"2026-01-31T12:00:00.000Z"}
//! {"at":"2026-01-31T12:00:00.123Z","log":{…}}                a line of the contract
//! {"at":"2026-01-31T12:00:01.000Z","gauges":{…}}             a process's figures
//! {"at":"2026-01-31T12:00:01.500Z","unparsed":"…"}           a line outside the contract
//! {"at":"2026-01-31T12:00:01.600Z","queue":{…}}              the queue, as the console observed it
//! {"at":"2026-01-31T12:00:01.700Z","historyEnd":true}        the lines before are from its history
//! {"at":"2026-01-31T12:00:02.000Z","lost":12}                messages that did not reach the console
//! {"at":"2026-01-31T12:00:02.000Z","notRecorded":5}          messages lost because the disk was slow
//! {"at":"2026-01-31T12:00:03.000Z","disconnected":"reason"}  the connection was lost
//! {"at":"2026-01-31T12:00:05.000Z","connected":true}         and restored
//! {"at":"2026-01-31T12:10:00.000Z","end":"stopped"}          nothing follows
//! ```
//!
//! A file of plain lines of the contract, as printed by `bklit-tui logs --json`, can be read as
//! well; then their timestamps are the times.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use bklit_wire::debug_bus::DebugMessage;
use bklit_wire::debug_log::DebugLog;
use bklit_wire::gauges::{Gauges, QueueGauges};
use bklit_wire::time::UtcMillis;

/// The version of the format.
pub const VERSION: u32 = 1;

#[derive(Serialize)]
struct Header<'a> {
    recording: u32,
    program: &'a str,
    source: &'a str,
    at: UtcMillis,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    at: Option<UtcMillis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<&'a DebugLog>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gauges: Option<&'a Gauges>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unparsed: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<QueueGauges>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history_end: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_recorded: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disconnected: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connected: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read {
    at: UtcMillis,
    recording: Option<u32>,
    log: Option<DebugLog>,
    gauges: Option<Gauges>,
    unparsed: Option<String>,
    queue: Option<QueueGauges>,
    history_end: Option<bool>,
    lost: Option<u64>,
    not_recorded: Option<u64>,
    disconnected: Option<String>,
    connected: Option<bool>,
}

/// What `logs --json` prints for a line outside the contract.
#[derive(Deserialize)]
struct Unparsed {
    unparsed: String,
}

/// A line of a recording.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When it was received; `None` if unknown.
    pub at: Option<UtcMillis>,
    /// The message; `None` for a line about the recording itself.
    pub message: Option<DebugMessage>,
}

/// Formats the first line.
pub fn header(source: &str, at: UtcMillis) -> String {
    let program = concat!("bklit-tui ", env!("CARGO_PKG_VERSION"));
    to_line(&Header { recording: VERSION, program, source, at })
}

/// Formats a message's line.
pub fn message(at: UtcMillis, message: &DebugMessage) -> String {
    let at = Some(at);
    to_line(&match message {
        DebugMessage::Log(log) => Written { at, log: Some(log), ..Written::default() },
        DebugMessage::Gauges(gauges) => Written { at, gauges: Some(gauges), ..Written::default() },
        DebugMessage::Unparsed(text) => Written { at, unparsed: Some(text), ..Written::default() },
        DebugMessage::Queue(queue) => Written { at, queue: Some(*queue), ..Written::default() },
        DebugMessage::HistoryEnd => Written { at, history_end: Some(true), ..Written::default() },
        DebugMessage::Lost(lost) => Written { at, lost: Some(*lost), ..Written::default() },
        DebugMessage::Connected => Written { at, connected: Some(true), ..Written::default() },
        DebugMessage::Disconnected(reason) => {
            Written { at, disconnected: Some(reason), ..Written::default() }
        }
    })
}

/// Formats the line about messages that could not be recorded.
pub fn not_recorded(at: UtcMillis, messages: u64) -> String {
    to_line(&Written { at: Some(at), not_recorded: Some(messages), ..Written::default() })
}

/// Formats the last line.
pub fn end(at: UtcMillis, why: &str) -> String {
    to_line(&Written { at: Some(at), end: Some(why), ..Written::default() })
}

fn to_line(value: &impl Serialize) -> String {
    let mut line = serde_json::to_string(value).unwrap_or_default();
    line.push('\n');
    line
}

/// Parses a line.
///
/// # Errors
/// Says what is wrong with the line.
pub fn read(line: &str) -> Result<Entry, String> {
    if let Ok(read) = serde_json::from_str::<Read>(line) {
        return entry(read);
    }
    // Lines of the contract have no `at`.
    match serde_json::from_str::<DebugLog>(line) {
        Ok(log) => {
            Ok(Entry { at: Some(log.timestamp), message: Some(DebugMessage::Log(Arc::new(log))) })
        }
        Err(error) => match serde_json::from_str::<Unparsed>(line) {
            Ok(Unparsed { unparsed }) => {
                Ok(Entry { at: None, message: Some(DebugMessage::Unparsed(unparsed.into())) })
            }
            Err(_) => Err(error.to_string()),
        },
    }
}

fn entry(read: Read) -> Result<Entry, String> {
    if let Some(version) = read.recording.filter(|&version| version > VERSION) {
        return Err(format!("version {version} of recordings is newer than this program"));
    }
    let lost = match (read.lost, read.not_recorded) {
        (None, None) => None,
        (lost, not) => Some(lost.unwrap_or(0).saturating_add(not.unwrap_or(0))),
    };
    let message = read
        .log
        .map(|log| DebugMessage::Log(Arc::new(log)))
        .or(read.gauges.map(|gauges| DebugMessage::Gauges(Arc::new(gauges))))
        .or(read.queue.map(DebugMessage::Queue))
        .or(read.history_end.map(|_| DebugMessage::HistoryEnd))
        .or(read.unparsed.map(|text| DebugMessage::Unparsed(text.into())))
        .or(lost.map(DebugMessage::Lost))
        .or(read.disconnected.map(|reason| DebugMessage::Disconnected(reason.into())))
        .or(read.connected.map(|_| DebugMessage::Connected));
    Ok(Entry { at: Some(read.at), message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bklit_wire::debug_log::{Level, Stage};

    #[test]
    fn messages_come_back_as_they_were() {
        let at = UtcMillis::from_epoch_millis(1_769_860_800_123);
        let mut log = DebugLog::new(Stage::Queue, Level::Warn, "ü \u{1b} \n");
        log.timestamp = UtcMillis::from_epoch_millis(1_769_860_800_000);
        log.event_id = Some("evt".into());
        let gauges = Gauges { process: "p".into(), accepted: 7, ..Gauges::default() };
        let messages = [
            DebugMessage::Log(Arc::new(log)),
            DebugMessage::Gauges(Arc::new(gauges)),
            DebugMessage::Unparsed("no \"json\"".into()),
            DebugMessage::Lost(3),
            DebugMessage::Queue(QueueGauges { depth: 7, ..QueueGauges::default() }),
            DebugMessage::HistoryEnd,
            DebugMessage::Connected,
            DebugMessage::Disconnected("gone".into()),
        ];
        for message in messages {
            let line = super::message(at, &message);
            assert_eq!(line.matches('\n').count(), 1);
            let entry = read(&line).unwrap();
            assert_eq!(entry.at, Some(at));
            assert_eq!(format!("{:?}", entry.message), format!("{:?}", Some(message)));
        }
        let lost = read(&not_recorded(at, 5)).unwrap();
        assert!(matches!(lost.message, Some(DebugMessage::Lost(5))));
        for line in [header("embedded", at), end(at, "why")] {
            assert!(read(&line).unwrap().message.is_none());
        }
        assert!(read(&header("x", at).replace(":1,", ":2,")).unwrap_err().contains("newer"));
    }

    #[test]
    fn plain_lines_of_the_contract_are_read_too() {
        let plain = r#"{"timestamp":"2026-01-31T12:00:00.000Z","stage":"queue","level":"info","message":"m","data":{}}"#;
        let entry = read(plain).unwrap();
        assert_eq!(entry.at.unwrap().to_string(), "2026-01-31T12:00:00.000Z");
        let unparsed = read(r#"{"unparsed":"text"}"#).unwrap();
        assert!(unparsed.at.is_none() && unparsed.message.is_some());
        assert!(read("{\"timestamp\":").is_err() && read("{}").is_err());
    }
}
