//! The lines kept for scrolling back: limited in number and bytes. Lines have permanent numbers, so
//! dropping old ones moves nothing.
//!
//! Texts are stored one after the other in chunks; a line uses its text and 33 bytes.

use std::collections::VecDeque;
use std::ops::Range;

use super::line::{self, LineRef, Meta};
use bklit_wire::debug_log::{DebugLog, Level};
use bklit_wire::time::UtcMillis;

/// A chunk ends with the line that exceeds this size.
const CHUNK_BYTES: usize = 64 * 1024;
/// The most lines per chunk.
const CHUNK_LINES: usize = 1024;

#[derive(Debug)]
struct Chunk {
    /// The number of its first line.
    first: u64,
    text: String,
    lines: Vec<Meta>,
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
            processes: Vec::new(),
        }
    }

    /// The number of the oldest line kept.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The number of the next line.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The number of lines kept.
    pub fn len(&self) -> usize {
        (self.next - self.first) as usize
    }

    /// Whether there are no lines.
    pub fn is_empty(&self) -> bool {
        self.first == self.next
    }

    /// The memory that the lines use.
    pub fn bytes(&self) -> usize {
        self.bytes
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

    /// The number of a process, also if there are no lines of it yet; 0 if there are too many.
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
        let full =
            |chunk: &Chunk| chunk.text.len() >= CHUNK_BYTES || chunk.lines.len() >= CHUNK_LINES;
        if self.chunks.back().is_none_or(full) {
            if let Some(chunk) = self.chunks.back_mut() {
                chunk.text.shrink_to_fit();
                chunk.lines.shrink_to_fit();
            }
            let chunk = Chunk { first: self.next, text: String::new(), lines: Vec::new() };
            self.chunks.push_back(chunk);
        }
        let Some(chunk) = self.chunks.back_mut() else { return };
        let meta = write(&mut chunk.text);
        // So that a search of the whole text finds no match across two lines.
        chunk.text.push(line::SEPARATOR);
        chunk.lines.push(meta);
        self.next += 1;
        self.bytes += cost(&meta);
        while self.len() > self.max_lines || (self.bytes > self.max_bytes && self.len() > 1) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(chunk) = self.chunks.front() else { return };
        let meta = chunk.lines[(self.first - chunk.first) as usize];
        self.first += 1;
        self.bytes -= cost(&meta);
        if chunk.end() == self.first {
            self.chunks.pop_front();
        }
    }

    /// Drops all lines; the numbering continues.
    pub fn clear(&mut self) {
        self.chunks.clear();
        self.first = self.next;
        self.bytes = 0;
    }

    /// The line with a number, if it is still kept.
    pub fn get(&self, number: u64) -> Option<LineRef<'_>> {
        self.lines(number..number + 1).next().map(|(_, line)| line)
    }

    /// The kept lines in a range of numbers, in order, as runs of joined texts.
    pub fn runs(&self, range: Range<u64>) -> impl Iterator<Item = Run<'_>> {
        let start = range.start.max(self.first);
        let end = range.end.min(self.next).max(start);
        let from = self.chunks.partition_point(|chunk| chunk.end() <= start);
        let to = self.chunks.partition_point(|chunk| chunk.first < end).max(from);
        self.chunks.range(from..to).map(move |chunk| {
            let skip = start.saturating_sub(chunk.first) as usize;
            let stop = (end.min(chunk.end()) - chunk.first) as usize;
            let lines = &chunk.lines[skip..stop];
            // So that a search ends at the last of them.
            let text = lines.last().map_or("", |meta| &chunk.text[..meta.range().end]);
            Run { first: chunk.first + skip as u64, text, lines }
        })
    }

    /// The kept lines in a range of numbers, in order.
    pub fn lines(&self, range: Range<u64>) -> impl Iterator<Item = (u64, LineRef<'_>)> {
        self.runs(range).flat_map(|run| {
            (0..).map_while(move |place| Some((run.number(place), run.get(place)?.1)))
        })
    }
}

/// Lines whose texts are stored one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    first: u64,
    text: &'a str,
    lines: &'a [Meta],
}

impl<'a> Run<'a> {
    /// The joined text; `line::SEPARATOR` is between the lines.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The number of the line at a position in the run.
    pub fn number(&self, place: usize) -> u64 {
        self.first + place as u64
    }

    /// The line at a position in the run, and where it starts in the text.
    pub fn get(&self, place: usize) -> Option<(usize, LineRef<'a>)> {
        let meta = self.lines.get(place)?;
        let range = meta.range();
        Some((range.start, LineRef::new(meta, &self.text[range])))
    }

    /// The position of the line that contains offset `at`; it is not before the line at `from`.
    pub fn place_of(&self, from: usize, at: usize) -> usize {
        let starts = |meta: &Meta| meta.range().start <= at;
        let rest = &self.lines[from..];
        // It is usually close, and this avoids reading the lines between from memory.
        let mut reach = 1;
        while rest.get(reach).is_some_and(starts) {
            reach *= 2;
        }
        let (low, high) = (reach / 2, reach.min(rest.len()));
        from + (low + rest[low..high].partition_point(starts)).saturating_sub(1)
    }
}

fn cost(meta: &Meta) -> usize {
    meta.text_len() + line::SEPARATOR.len_utf8() + size_of::<Meta>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bklit_wire::debug_log::{Level, Stage};

    fn log(message: impl Into<String>, stage: Stage, level: Level) -> DebugLog {
        DebugLog::new(stage, level, message.into())
    }

    fn filled(lines: usize, max_lines: usize, max_bytes: usize) -> LineRing {
        let mut ring = LineRing::new(max_lines, max_bytes);
        for i in 0..lines {
            let level = if i % 10 == 0 { Level::Error } else { Level::Info };
            ring.push_log(&log(format!("line {i}"), Stage::ALL[i % 6], level));
        }
        ring
    }

    #[test]
    fn numbers_stay_when_old_lines_are_forgotten() {
        let ring = filled(5_000, 1_500, usize::MAX);
        assert_eq!((ring.first(), ring.next(), ring.len()), (3_500, 5_000, 1_500));
        assert!(ring.get(3_499).is_none() && ring.get(5_000).is_none());
        for number in [3_500, 4_095, 4_096, 4_999] {
            assert_eq!(ring.get(number).unwrap().message(), format!("line {number}"));
        }
        let seen: Vec<u64> = ring.lines(0..u64::MAX).map(|(number, _)| number).collect();
        assert_eq!(seen, (3_500..5_000).collect::<Vec<_>>());
        assert_eq!(ring.lines(4_000..4_003).count(), 3);
        assert_eq!(ring.lines(10..20).count(), 0);
    }

    #[test]
    fn bytes_are_a_limit_too_and_are_freed() {
        let ring = filled(50_000, usize::MAX, 1 << 20);
        assert!(ring.bytes() <= 1 << 20 && ring.bytes() > (1 << 20) - 100);
        let kept: usize = ring
            .chunks
            .iter()
            .map(|c| c.text.capacity() + c.lines.capacity() * size_of::<Meta>())
            .sum();
        let slack = 3 * (CHUNK_BYTES + CHUNK_LINES * size_of::<Meta>());
        assert!(kept <= ring.bytes() + slack, "{kept} {}", ring.bytes());
    }

    #[test]
    fn the_newest_line_is_kept_even_when_it_is_too_big() {
        let mut ring = filled(10, 10, 1);
        assert_eq!(ring.len(), 1);
        ring.push_log(&log("x".repeat(10_000), Stage::Queue, Level::Info));
        assert_eq!(ring.get(10).unwrap().message().len(), 10_000);
    }
}
