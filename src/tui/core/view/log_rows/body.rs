//! Message and details in full: wrapped, or scrolled to the right.

use ratatui::layout::Rect;

use super::Row;
use crate::model::line::{Part, Piece, Rows};
use crate::view::draw::row;
use bklit_wire::text;

impl Row<'_> {
    /// Draws the line in several rows from the row `top` of an area on; the first `skip` of them
    /// are above it.
    pub(super) fn render_rows(&mut self, area: Rect, top: usize, skip: usize, rows: &Rows) {
        let count = rows.rows.len();
        for (nth, pieces) in rows.rows.iter().enumerate().skip(skip) {
            self.at = row(area, top + nth - skip);
            if self.at.height == 0 {
                return;
            }
            self.background();
            if nth == 0 {
                self.fixed();
                self.ends();
            } else if self.selected {
                self.put(0, 1, "▌", self.theme.key());
            }
            let room = self.columns.body;
            self.pieces(pieces, 0, room);
            if rows.is_cut && nth + 1 == count {
                let end = self.columns.body_start + room;
                self.put(end - 1, 1, text::ELLIPSIS, self.theme.key());
            }
        }
    }

    /// Draws message and details without the first `shift` columns.
    pub(super) fn shifted_body(&mut self, shift: usize) {
        let start = self.columns.body_start;
        let room = self.body_end() - start;
        let pieces = self.line.body_row();
        self.pieces(&pieces, shift, room);
        if !pieces.is_empty() {
            self.put(start, 1, text::ELLIPSIS, self.theme.key());
        }
    }

    fn pieces(&mut self, pieces: &[Piece], shift: usize, room: usize) {
        let has_reason = pieces.iter().any(|piece| piece.part == Part::Reason);
        for piece in pieces {
            let style = match piece.part {
                Part::Reason => self.theme.reason(),
                Part::Message if !has_reason => self.theme.message(self.line.level()),
                Part::Message | Part::Details => self.theme.dim(),
            };
            let all = &self.line.text()[piece.text.clone()];
            let skipped = text::fit(all, shift.saturating_sub(piece.x));
            let x = (piece.x + text::width(skipped)).saturating_sub(shift);
            if x >= room {
                break;
            }
            let shown = &all[skipped.len()..];
            let x = self.columns.body_start + x;
            let width = self.columns.body_start + room - x;
            self.put(x, width, shown, style);
            self.highlight(text::fit(shown, width), piece.text.start + skipped.len(), x);
        }
    }
}
