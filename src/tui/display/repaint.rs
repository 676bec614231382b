//! Rows that are written as a whole. Terminals differ in how many columns characters take that are
//! wide or consist of several, such as `दी`. Where a terminal uses more columns than the frame
//! expects, unchanged cells still show part of the previous content. So a row with such characters,
//! now or in the last frame, is erased and written again whenever it changes.

use std::collections::BTreeMap;
use std::io;

use crossterm::cursor::MoveTo;
use crossterm::queue;
use crossterm::terminal::{Clear, ClearType};
use ratatui::buffer::{Buffer, Cell, CellDiffOption, CellWidth};

/// The rows of the last frame whose width a terminal may see differently.
#[derive(Debug, Default)]
pub(super) struct Repaint {
    rows: BTreeMap<u16, Vec<Cell>>,
}

impl Repaint {
    /// Marks the rows of a new frame that must be written as a whole. Returns what erases them.
    ///
    /// # Errors
    /// None in practice: everything happens in memory.
    pub(super) fn mark(&mut self, frame: &mut Buffer) -> io::Result<Vec<u8>> {
        let mut erased = Vec::new();
        let (top, width) = (frame.area.y, usize::from(frame.area.width.max(1)));
        for (y, row) in (top..).zip(frame.content.chunks_mut(width)) {
            let before = self.rows.remove(&y);
            let is_unsure = row.iter().any(is_unsure);
            if (!is_unsure && before.is_none()) || before.as_deref() == Some(row) {
                self.rows.extend(before.map(|before| (y, before)));
                continue;
            }
            if is_unsure {
                self.rows.insert(y, row.to_vec());
            }
            row.iter_mut().for_each(|cell| cell.diff_option = CellDiffOption::AlwaysUpdate);
            queue!(erased, MoveTo(0, y), Clear(ClearType::CurrentLine))?;
        }
        Ok(erased)
    }
}

/// Whether terminals differ in how they show a cell: wide characters, and several characters in one.
fn is_unsure(cell: &Cell) -> bool {
    let symbol = cell.symbol();
    symbol.len() > 1 && (symbol.chars().nth(1).is_some() || cell.cell_width() > 1)
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    use super::*;

    fn frame(rows: [&str; 2]) -> Buffer {
        let mut buf = Buffer::empty(Rect::new(0, 0, 12, 2));
        for (y, text) in (0..).zip(rows) {
            buf.set_string(0, y, text, Style::new());
        }
        buf
    }

    /// The rows that are erased.
    fn erased(repaint: &mut Repaint, rows: [&str; 2]) -> Vec<usize> {
        let mut buf = frame(rows);
        let bytes = String::from_utf8(repaint.mark(&mut buf).unwrap()).unwrap();
        let erased: Vec<_> =
            (0..2).filter(|y| bytes.contains(&format!("\x1b[{};1H\x1b[2K", y + 1))).collect();
        for y in 0..2 {
            let row = &buf.content[y * 12..][..12];
            let always = row.iter().all(|cell| cell.diff_option == CellDiffOption::AlwaysUpdate);
            assert_eq!(always, erased.contains(&y), "an erased row is written as a whole");
        }
        erased
    }

    #[test]
    fn rows_are_written_again_when_clusters_come_change_and_go() {
        let mut repaint = Repaint::default();
        for (rows, wanted) in [
            (["│ queue ▶", "plain"], vec![]),
            (["│ queue ▶", "हिंदी"], vec![1]),
            (["│ worker ▶", "हिंदी"], vec![]),
            (["ค่าน้ำ", "हिंदी 2"], vec![0, 1]),
            (["ค่าน้ำ", "हिंदी 2"], vec![]),
            (["ค่", "東京"], vec![0, 1]),
            (["", "plain"], vec![0, 1]),
            (["x", "other"], vec![]),
        ] {
            assert_eq!(erased(&mut repaint, rows), wanted, "{rows:?}");
        }
    }
}
