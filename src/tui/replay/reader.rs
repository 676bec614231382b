//! Reads a recording's file line by line. Unreadable lines are counted and skipped.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use super::recording;
use bklit_wire::debug_bus::DebugMessage;
use bklit_wire::time::UtcMillis;

/// A longer line cannot be part of a recording.
const MAX_LINE: u64 = 4 << 20;
/// How much of the file's end is searched for the last time.
const TAIL: u64 = 256 * 1024;

/// What has been read of a file, up to the end of a line.
#[derive(Clone, Debug, Default)]
pub(super) struct Passed {
    /// Bytes read.
    pub(super) offset: u64,
    /// Lines read, and how many of them are unreadable.
    pub(super) line: u64,
    pub(super) unreadable: u64,
    /// The latest time so far: lines of several processes may be out of order.
    pub(super) at: Option<UtcMillis>,
    /// Messages read, and the lost ones that they report.
    pub(super) messages: u64,
    pub(super) lost: u64,
    /// Why the connection was lost, if it was.
    pub(super) cut: Option<Arc<str>>,
}

/// Reads a recording.
pub(super) struct Reader {
    file: BufReader<File>,
    pub(super) passed: Passed,
    pub(super) first_unreadable: Option<(u64, String)>,
}

impl Reader {
    /// Starts at the beginning.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = BufReader::new(File::open(path)?);
        Ok(Self { file, passed: Passed::default(), first_unreadable: None })
    }

    /// Goes back to an earlier position.
    pub(super) fn go_back(&mut self, to: Passed) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(to.offset))?;
        if to.unreadable == 0 {
            self.first_unreadable = None;
        }
        self.passed = to;
        Ok(())
    }

    /// The next readable message; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<(UtcMillis, DebugMessage)>> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let length = (&mut self.file).take(MAX_LINE).read_until(b'\n', &mut bytes)?;
            if length == 0 {
                return Ok(None);
            }
            self.passed.offset += length as u64;
            self.passed.line += 1;
            if length as u64 == MAX_LINE && bytes.last() != Some(&b'\n') {
                self.passed.offset += self.file.skip_until(b'\n')? as u64;
                self.note(format!("it is longer than {MAX_LINE} bytes"));
                continue;
            }
            let text = String::from_utf8_lossy(&bytes);
            if text.trim().is_empty() {
                continue;
            }
            match recording::read(text.trim()) {
                Ok(entry) => {
                    self.passed.at = self.passed.at.max(entry.at);
                    if let (Some(at), Some(message)) = (self.passed.at, entry.message) {
                        self.passed.message(&message);
                        return Ok(Some((at, message)));
                    }
                }
                Err(error) if text.ends_with('\n') => self.note(error),
                Err(_) => self.note("the file is cut off in it".to_owned()),
            }
        }
    }

    fn note(&mut self, what: String) {
        self.passed.unreadable += 1;
        self.first_unreadable.get_or_insert((self.passed.line, what));
    }
}

impl Passed {
    fn message(&mut self, message: &DebugMessage) {
        self.messages += 1;
        match message {
            DebugMessage::Lost(lost) => self.lost = self.lost.saturating_add(*lost),
            DebugMessage::Connected => self.cut = None,
            DebugMessage::Disconnected(why) => self.cut = Some(Arc::clone(why)),
            _ => {}
        }
    }

    /// The read state that still applies, as messages.
    pub(super) fn pending(&self) -> Vec<DebugMessage> {
        let lost = (self.lost > 0).then_some(DebugMessage::Lost(self.lost));
        lost.into_iter().chain(self.cut.clone().map(DebugMessage::Disconnected)).collect()
    }
}

/// The last time in a file, if there is one near its end.
pub(super) fn last_time(path: &Path) -> io::Result<Option<UtcMillis>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    let tail = String::from_utf8_lossy(&tail);
    let times = tail.lines().filter_map(|line| recording::read(line).ok()?.at);
    Ok(times.max())
}
