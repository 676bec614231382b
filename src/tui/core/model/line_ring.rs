//! The lines kept for scrolling back: limited in number and bytes. Lines have permanent numbers, so
//! dropping old ones moves nothing.
//!
//! Texts are stored one after the other in chunks; a line uses its text and 29 bytes.
//!
//! Warnings and errors are kept longer, see `kept`.

mod kept;
mod lines;

use std::collections::VecDeque;
use std::ops::Range;

use self::kept::Kept;
pub use self::lines::Run;
use self::lines::{Lines, Numbers};
use super::line::{self, LineRef, Meta};
use bklit_wire::debug_log::{DebugLog, Level};
use bklit_wire::time::UtcMillis;

#[derive(Debug)]
struct Chunk {
    /// The number of its first line.
    first: u64,
    lines: Lines,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.first + self.lines.len() as u64
    }
}

/// The most processes that have a number; lines of others count as of no known process.
const MAX_PROCESSES: usize = 1_000;

/// The lines.
#[derive(Debug)]
pub struct LineRing {
    chunks: VecDeque<Chunk>,
    first: u64,
    next: u64,
    /// The size of the lines from `first` on. Lines of the oldest chunk that are dropped but not
    /// freed take less than a chunk.
    bytes: usize,
    max_lines: usize,
    max_bytes: usize,
    /// Warnings and errors older than `first`.
    kept: Kept,
    /// Lines before this one are hidden.
    hidden: u64,
    /// Whether a line was dropped because of the limits.
    has_dropped: bool,
    /// The processes of lines, by their numbers from 1 on.
    processes: Vec<String>,
}

impl LineRing {
    /// Keeps at most this many lines and bytes, but always the newest line.
    pub fn new(max_lines: usize, max_bytes: usize) -> Self {
        Self {
            chunks: VecDeque::new(),
            first: 0,
            next: 0,
            bytes: 0,
            max_lines: max_lines.max(1),
            max_bytes,
            kept: Kept::default(),
            hidden: 0,
            has_dropped: false,
            processes: Vec::new(),
        }
    }

    /// Keeps up to this many further warnings and errors after other lines of their time are dropped.
    #[must_use]
    pub fn with_problems(self, max_lines: usize, max_bytes: usize) -> Self {
        Self { kept: Kept::new(max_lines, max_bytes), ..self }
    }

    /// The number of the oldest line, not counting older warnings and errors.
    pub fn first(&self) -> u64 {
        self.first.max(self.hidden)
    }

    /// The number from which on all lines of a level and above are kept.
    pub fn first_of(&self, level: Level) -> u64 {
        match self.kept.first() {
            Some(first) if level > Level::Info => first.max(self.hidden).min(self.first()),
            _ => self.first(),
        }
    }

    /// The time of the oldest line of a level and above, if older ones were dropped.
    pub fn begins(&self, level: Level) -> Option<UtcMillis> {
        let first = self.first_of(level);
        let has_kept = level > Level::Info && first < self.first;
        let has_dropped = if has_kept { self.kept.has_dropped() } else { self.has_dropped };
        let is_hidden = first == self.hidden && self.hidden > 0;
        let (_, line) =
            self.lines(first..self.next).next().filter(|_| has_dropped && !is_hidden)?;
        Some(line.time())
    }

    /// The number of the next line.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The number of lines kept.
    pub fn len(&self) -> usize {
        (self.next - self.first()) as usize
    }

    /// Whether there are no lines.
    pub fn is_empty(&self) -> bool {
        self.first() == self.next
    }

    /// The memory that the lines use.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The memory that older warnings and errors use.
    pub fn problem_bytes(&self) -> usize {
        self.kept.bytes()
    }

    /// Adds a line, and drops old ones to stay within the limits.
    pub fn push_log(&mut self, log: &DebugLog) {
        let process = log.process.as_deref().map_or(0, |process| self.number_of(process));
        self.push(|text| {
            let mut meta = line::push_log(text, log);
            meta.process = process;
            meta
        });
    }

    /// The number of a process, which need not have any lines yet; 0 if there are too many processes.
    pub(crate) fn number_of(&mut self, name: &str) -> u16 {
        let known = self.processes.iter().position(|known| known == name);
        let place = match known {
            Some(place) => place,
            None if self.processes.len() >= MAX_PROCESSES => return 0,
            None => {
                self.processes.push(name.to_owned());
                self.processes.len() - 1
            }
        };
        u16::try_from(place + 1).unwrap_or(0)
    }

    /// Adds a line that could not be parsed.
    pub fn push_unparsed(&mut self, now: UtcMillis, line: &str) {
        self.push(|text| line::push_text(text, now, line, Level::Warn));
    }

    /// Adds a note of the console itself, such as a gap between connections.
    pub fn push_note(&mut self, now: UtcMillis, note: &str) {
        self.push(|text| line::push_text(text, now, note, Level::Info));
    }

    fn push(&mut self, write: impl FnOnce(&mut String) -> Meta) {
        if self.chunks.back().is_none_or(|chunk| chunk.lines.is_full()) {
            if let Some(chunk) = self.chunks.back_mut() {
                chunk.lines.shrink();
            }
            self.chunks.push_back(Chunk { first: self.next, lines: Lines::default() });
        }
        let Some(chunk) = self.chunks.back_mut() else { return };
        self.bytes += chunk.lines.push(write);
        self.next += 1;
        let count = |ring: &Self| (ring.next - ring.first) as usize;
        while count(self) > self.max_lines || (self.bytes > self.max_bytes && count(self) > 1) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(chunk) = self.chunks.front() else { return };
        let place = (self.first - chunk.first) as usize;
        self.has_dropped = true;
        if let Some(line) = chunk.lines.get(place).filter(|line| line.level() > Level::Info) {
            self.kept.push(self.first, line);
        }
        self.first += 1;
        self.bytes -= chunk.lines.cost(place);
        if chunk.end() == self.first {
            self.chunks.pop_front();
        }
    }

    /// Drops all lines; the numbering continues.
    pub fn clear(&mut self) {
        self.chunks.clear();
        self.kept.clear();
        self.first = self.next;
        self.bytes = 0;
        (self.hidden, self.has_dropped) = (0, false);
    }

    /// Hides all lines, until [`LineRing::show_all`]. The limits apply to hidden lines as to others.
    pub fn hide_all(&mut self) {
        self.hidden = self.next;
    }

    /// Shows the hidden lines that have not been dropped meanwhile. Returns how many there are.
    pub fn show_all(&mut self) -> u64 {
        let shown_again =
            self.hidden.saturating_sub(self.first) + self.kept.count_before(self.hidden);
        self.hidden = 0;
        shown_again
    }

    /// Whether lines are hidden that can be shown again.
    pub fn has_hidden(&self) -> bool {
        self.hidden > self.kept.first().unwrap_or(self.first)
    }

    /// The line with a number, if it is still kept.
    pub fn get(&self, number: u64) -> Option<LineRef<'_>> {
        self.lines(number..number + 1).next().map(|(_, line)| line)
    }

    /// The kept lines in a range of numbers, in order, as runs of joined texts. Of lines before
    /// [`LineRing::first`], only warnings and errors.
    pub fn runs(&self, range: Range<u64>) -> impl Iterator<Item = Run<'_>> {
        let older = range.start.max(self.hidden)..range.end.min(self.first);
        let older = Some(older).filter(|older| older.start < older.end);
        let older = older.into_iter().flat_map(|older| self.kept.runs(older));
        older.chain(self.recent(range))
    }

    fn recent(&self, range: Range<u64>) -> impl Iterator<Item = Run<'_>> {
        let start = range.start.max(self.first());
        let end = range.end.min(self.next).max(start);
        let from = self.chunks.partition_point(|chunk| chunk.end() <= start);
        let to = self.chunks.partition_point(|chunk| chunk.first < end).max(from);
        self.chunks.range(from..to).map(move |chunk| {
            let skip = start.saturating_sub(chunk.first) as usize;
            let stop = (end.min(chunk.end()) - chunk.first) as usize;
            chunk.lines.run(Numbers::From(chunk.first + skip as u64), skip..stop)
        })
    }

    /// Extends a range of lines towards older ones: among older warnings and errors, which are few,
    /// to as many of them as a slice has.
    pub fn older(&self, range: Range<u64>) -> Range<u64> {
        if range.start >= self.first() {
            return range;
        }
        let start = self.kept.older_than(range.end.min(self.first));
        start.map_or(range.start, |start| start.min(range.start))..range.end
    }

    /// The same towards newer lines.
    pub fn newer(&self, range: Range<u64>) -> Range<u64> {
        if range.end >= self.first() {
            return range;
        }
        let end = self.kept.newer_than(range.start).unwrap_or(self.first());
        range.start..end.max(range.end).min(self.first().max(range.end))
    }

    /// The kept lines in a range of numbers, in order.
    pub fn lines(&self, range: Range<u64>) -> impl Iterator<Item = (u64, LineRef<'_>)> {
        self.runs(range).flat_map(|run| {
            (0..run.len()).filter_map(move |place| Some((run.number(place), run.get(place)?.1)))
        })
    }
}

#[cfg(test)]
mod tests;
