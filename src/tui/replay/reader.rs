//! A recording's file, line by line. A line that cannot be read is counted and left out.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use super::recording;
use bklit_wire::debug_bus::DebugMessage;
use bklit_wire::time::UtcMillis;

/// A longer line is none that was recorded.
const MAX_LINE: u64 = 4 << 20;
/// Of the file's end, where the last time is looked for.
const TAIL: u64 = 256 * 1024;

/// What has been read of a file, up to a line's end.
#[derive(Clone, Debug, Default)]
pub(super) struct Passed {
    /// Bytes.
    pub(super) offset: u64,
    /// Lines, of which so many cannot be read.
    pub(super) line: u64,
    pub(super) unreadable: u64,
    /// No time goes back: lines of several processes may be out of order.
    pub(super) at: Option<UtcMillis>,
    /// Messages, and those that they say are missing.
    pub(super) messages: u64,
    pub(super) lost: u64,
    /// Why the connection was cut, if it was.
    pub(super) cut: Option<Arc<str>>,
}

/// Reads a recording.
pub(super) struct Reader {
    file: BufReader<File>,
    pub(super) passed: Passed,
    pub(super) first_unreadable: Option<(u64, String)>,
}

impl Reader {
    /// From its beginning.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = BufReader::new(File::open(path)?);
        Ok(Self { file, passed: Passed::default(), first_unreadable: None })
    }

    /// Goes back to where it has been before.
    pub(super) fn go_back(&mut self, to: Passed) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(to.offset))?;
        if to.unreadable == 0 {
            self.first_unreadable = None;
        }
        self.passed = to;
        Ok(())
    }

    /// The next message that can be read; `None` at the end.
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

    /// What of all that still counts, as messages.
    pub(super) fn told(&self) -> Vec<DebugMessage> {
        let lost = (self.lost > 0).then_some(DebugMessage::Lost(self.lost));
        lost.into_iter().chain(self.cut.clone().map(DebugMessage::Disconnected)).collect()
    }
}

/// The last time in a file, if there is one at its end.
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
