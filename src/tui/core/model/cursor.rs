//! A selection in a list, with scrolling.

use crate::keymap::Action;

/// The selected position, and the visible part of the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    selected: usize,
    top: usize,
}

impl Cursor {
    /// The selected position.
    pub fn selected(self) -> usize {
        self.selected
    }

    /// The number of rows scrolled off at the top.
    pub fn top(self) -> usize {
        self.top
    }

    /// Selects a position in a list of `count`, and scrolls only as far as needed to show it.
    pub fn select(&mut self, place: usize, count: usize, height: usize) {
        self.selected = place.min(count.saturating_sub(1));
        self.settle(count, height);
    }

    /// Keeps the selected position visible, and avoids empty rows.
    pub fn settle(&mut self, count: usize, height: usize) {
        self.selected = self.selected.min(count.saturating_sub(1));
        let least = (self.selected + 1).saturating_sub(height.max(1));
        let most = self.selected.min(count.saturating_sub(height));
        self.top = self.top.clamp(least, most.max(least));
    }

    /// Follows an item to its new position; stays at the same position if the item is gone.
    pub fn follow(&mut self, place: Option<usize>, count: usize) {
        self.selected = place.unwrap_or(self.selected).min(count.saturating_sub(1));
    }
}

/// The position that an action of moving leads to, in a list with this many visible rows.
pub fn target(action: Action, place: usize, height: usize) -> usize {
    let (page, half) = (height.max(1), height.max(1).div_ceil(2));
    match action {
        Action::Oldest => 0,
        Action::Up => place.saturating_sub(1),
        Action::Down => place.saturating_add(1),
        Action::PageUp => place.saturating_sub(page),
        Action::PageDown => place.saturating_add(page),
        Action::HalfUp => place.saturating_sub(half),
        Action::HalfDown => place.saturating_add(half),
        _ => usize::MAX,
    }
}

/// The position after moving by one row through lists one below the other: continues in the next
/// list that is not empty. `counts` has the lengths of the lists.
pub fn across(
    action: Action,
    list: usize,
    place: usize,
    counts: &[usize],
) -> Option<(usize, usize)> {
    let count = counts.get(list).copied().unwrap_or(0);
    match action {
        Action::Up if place == 0 => {
            let above = (0..list).rev().find(|&other| counts[other] > 0)?;
            Some((above, counts[above] - 1))
        }
        Action::Down if place + 1 >= count => {
            let below = (list + 1..counts.len()).find(|&other| counts[other] > 0)?;
            Some((below, 0))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_can_be_reached_and_the_selected_one_is_visible() {
        for (count, height) in [(0, 0), (0, 5), (1, 0), (3, 5), (100, 1), (100, 7)] {
            let mut cursor = Cursor::default();
            let mut seen = Vec::new();
            for _ in 0..count {
                seen.push(cursor.selected());
                let rows = cursor.top()..cursor.top() + height.max(1);
                assert!(rows.contains(&cursor.selected()), "{cursor:?} of {count}, {height}");
                let next = target(Action::Down, cursor.selected(), height);
                cursor.select(next, count, height);
            }
            assert_eq!(seen, (0..count).collect::<Vec<_>>());
            cursor.select(target(Action::Oldest, cursor.selected(), height), count, height);
            assert_eq!((cursor.selected(), cursor.top()), (0, 0));
            cursor.select(target(Action::Follow, 0, height), count, height);
            assert_eq!(cursor.top(), count.saturating_sub(height.max(1)).min(cursor.selected()));
        }
    }

    #[test]
    fn up_and_down_continue_in_the_next_list_with_rows() {
        assert_eq!(across(Action::Down, 0, 2, &[3, 0, 4]), Some((2, 0)));
        assert_eq!(across(Action::Up, 2, 0, &[3, 0, 4]), Some((0, 2)));
        assert_eq!(across(Action::Down, 0, 1, &[3, 0, 4]), None);
        assert_eq!(across(Action::Down, 2, 3, &[3, 0, 4]), None);
        assert_eq!(across(Action::Up, 0, 0, &[3, 0, 4]), None);
        assert_eq!(across(Action::PageDown, 0, 2, &[3, 0, 4]), None);
    }
}
