//! The parts of the views of the problems, of where events come from, and of a session: a title with
//! labels below it, a list, and details of the selected row if there is space.

use ratatui::layout::Rect;

use super::Model;
use super::layout::below;

/// The height of the view from which details are shown.
const DETAILS_MIN_HEIGHT: u16 = 13;
/// A divider and the details.
const DETAILS: u16 = 5;

/// The parts below the title, from top to bottom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListParts {
    /// The labels of the columns.
    pub labels: Rect,
    /// The rows.
    pub list: Rect,
    /// The divider and the details of the selected row; empty if there is no space.
    pub details: Rect,
}

impl ListParts {
    /// The parts of a view.
    pub fn of(view: Rect) -> Self {
        let inner = below(view, 1);
        let details = if view.height < DETAILS_MIN_HEIGHT { 0 } else { DETAILS };
        let labels = Rect { height: inner.height.min(1), ..inner };
        let height = inner.height.saturating_sub(1 + details);
        let list = Rect { y: inner.y + labels.height, height, ..inner };
        Self { labels, list, details: Rect { y: list.bottom(), height: details, ..inner } }
    }
}

impl Model {
    /// The parts of the view of the problems, of where events come from, or of a session.
    pub fn list_parts(&self) -> ListParts {
        ListParts::of(self.layout().map_or(Rect::ZERO, |layout| layout.overlay()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fill_the_view() {
        for height in 0..80 {
            let view = Rect::new(0, 1, 80, height);
            let parts = ListParts::of(view);
            assert_eq!(parts.list.y, parts.labels.bottom());
            assert_eq!(parts.details.y, parts.list.bottom());
            if height > 2 {
                assert_eq!(parts.details.bottom(), view.bottom(), "{height}");
                assert!(parts.list.height > 0);
            }
        }
    }
}
