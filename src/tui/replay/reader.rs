//! A recording's file, line by line. A line that cannot be read is counted and left out.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::format;
use crate::pipeline::bus::DebugMessage;
use crate::pipeline::time::UtcMillis;

/// A longer line is none that was recorded.
const MAX_LINE: u64 = 4 << 20;
/// Of the file's end, where the last time is looked for.
const TAIL: u64 = 256 * 1024;

/// Reads a recording from its beginning.
pub(super) struct Reader {
    file: BufReader<File>,
    line: u64,
    /// No time goes back: lines of several processes may be out of order.
    at: Option<UtcMillis>,
    pub(super) unreadable: u64,
    pub(super) first_unreadable: Option<(u64, String)>,
}

impl Reader {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = BufReader::new(File::open(path)?);
        Ok(Self { file, line: 0, at: None, unreadable: 0, first_unreadable: None })
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
            self.line += 1;
            if length as u64 == MAX_LINE && bytes.last() != Some(&b'\n') {
                self.skip_line()?;
                self.note(format!("it is longer than {MAX_LINE} bytes"));
                continue;
            }
            let text = String::from_utf8_lossy(&bytes);
            if text.trim().is_empty() {
                continue;
            }
            match format::read(text.trim()) {
                Ok(entry) => {
                    self.at = self.at.max(entry.at);
                    if let (Some(at), Some(message)) = (self.at, entry.message) {
                        return Ok(Some((at, message)));
                    }
                }
                Err(error) if text.ends_with('\n') => self.note(error),
                Err(_) => self.note("the file is cut off in it".to_owned()),
            }
        }
    }

    fn note(&mut self, what: String) {
        self.unreadable += 1;
        self.first_unreadable.get_or_insert((self.line, what));
    }

    fn skip_line(&mut self) -> io::Result<()> {
        self.file.skip_until(b'\n').map(|_| ())
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
    let times = tail.lines().filter_map(|line| format::read(line).ok()?.at);
    Ok(times.max())
}
