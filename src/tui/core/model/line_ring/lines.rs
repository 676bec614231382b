//! Lines whose texts are stored one after the other.

use std::ops::Range;

use crate::model::line::{LineRef, Meta, SEPARATOR};

/// A chunk is full with the line that exceeds this size.
pub(super) const MAX_BYTES: usize = 64 * 1024;
/// The most lines of a chunk.
pub(super) const MAX_LINES: usize = 1024;

/// How many lines a search goes through before it skips some.
const NEAR_LINES: usize = 8;

/// The lines of a chunk.
#[derive(Debug, Default)]
pub(super) struct Lines {
    text: String,
    /// Where each line starts in the text. Apart from the rest, because a search that finds little
    /// reads nothing else of most lines.
    starts: Vec<u32>,
    metas: Vec<Meta>,
}

impl Lines {
    pub(super) fn len(&self) -> usize {
        self.metas.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.text.len() >= MAX_BYTES || self.len() >= MAX_LINES
    }

    /// Frees memory that is not used.
    pub(super) fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.starts.shrink_to_fit();
        self.metas.shrink_to_fit();
    }

    /// Adds a line whose text `write` appends. Returns what the line costs.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut String) -> Meta) -> usize {
        // A full chunk gets no further line, so its size is far below this limit.
        let start = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
        let meta = write(&mut self.text);
        // So that a search of the whole text finds no match across two lines.
        self.text.push(SEPARATOR);
        self.starts.push(start);
        self.metas.push(meta);
        cost(&meta)
    }

    /// Adds a copy of a line. Returns what it costs.
    pub(super) fn push_copy(&mut self, line: LineRef<'_>) -> usize {
        self.push(|text| {
            text.push_str(line.text());
            line.meta()
        })
    }

    pub(super) fn get(&self, place: usize) -> Option<LineRef<'_>> {
        self.run(Numbers::From(0), 0..self.len()).get(place).map(|(_, line)| line)
    }

    /// What the line at a position costs.
    pub(super) fn cost(&self, place: usize) -> usize {
        self.metas.get(place).map_or(0, cost)
    }

    /// The lines in a range of positions.
    pub(super) fn run<'a>(&'a self, numbers: Numbers<'a>, places: Range<usize>) -> Run<'a> {
        let (starts, metas) = (&self.starts[places.clone()], &self.metas[places]);
        // So that a search ends at the last of them.
        let end = starts.last().zip(metas.last());
        let end = end.map_or(0, |(&start, meta)| start as usize + meta.text_len());
        Run { numbers, text: &self.text[..end], starts, metas }
    }

    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        let line = size_of::<Meta>() + size_of::<u32>();
        self.text.capacity() + self.metas.capacity() * line
    }
}

fn cost(meta: &Meta) -> usize {
    meta.text_len() + SEPARATOR.len_utf8() + size_of::<Meta>() + size_of::<u32>()
}

/// Lines whose texts are stored one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    numbers: Numbers<'a>,
    text: &'a str,
    starts: &'a [u32],
    metas: &'a [Meta],
}

/// The numbers of the lines of a run.
#[derive(Clone, Copy, Debug)]
pub(super) enum Numbers<'a> {
    /// From this one on.
    From(u64),
    /// These.
    Listed(&'a [u64]),
}

impl<'a> Run<'a> {
    /// The joined text; `line::SEPARATOR` is between the lines.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The number of the line at a position in the run.
    pub fn number(&self, place: usize) -> u64 {
        match self.numbers {
            Numbers::From(first) => first + place as u64,
            Numbers::Listed(numbers) => numbers.get(place).copied().unwrap_or(u64::MAX),
        }
    }

    /// The number of lines.
    pub fn len(&self) -> usize {
        self.metas.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.metas.is_empty()
    }

    /// Where the line at a position in the run starts in the text.
    pub fn start(&self, place: usize) -> Option<usize> {
        self.starts.get(place).map(|&start| start as usize)
    }

    /// The line at a position in the run, and where it starts in the text.
    pub fn get(&self, place: usize) -> Option<(usize, LineRef<'a>)> {
        let (start, meta) = (self.start(place)?, self.metas.get(place)?);
        Some((start, LineRef::new(meta, &self.text[start..start + meta.text_len()])))
    }

    /// The position of the line that contains offset `at`; it is not before the line at `from`.
    pub fn place_of(&self, from: usize, at: usize) -> usize {
        let is_before = |start: &u32| *start as usize <= at;
        let rest = &self.starts[from..];
        // It is usually close, and this avoids reading the starts between from memory.
        let near = rest.iter().take(NEAR_LINES).position(|start| !is_before(start));
        if let Some(next) = near {
            return from + next.saturating_sub(1);
        }
        let mut reach = NEAR_LINES;
        while rest.get(reach).is_some_and(is_before) {
            reach *= 2;
        }
        let (low, high) = ((reach / 2).min(rest.len()), reach.min(rest.len()));
        from + (low + rest[low..high].partition_point(is_before)).saturating_sub(1)
    }
}
