//! The lines in which two texts differ.

use similar::{ChangeTag, TextDiff};

/// Lines shown around a difference.
const AROUND: usize = 3;
/// The most lines that are compared with each other. Of longer texts, all from the first to the last
/// difference counts as different.
const MAX_LINES: usize = 4_000;

/// A line of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiffLine {
    /// In both texts.
    Same(String),
    /// Only in the first one.
    Removed(String),
    /// Only in the second one.
    Added(String),
    /// Lines that are in both, and not shown.
    Gap,
}

impl DiffLine {
    /// As `diff` shows it.
    pub fn text(&self) -> String {
        match self {
            Self::Same(line) => format!("  {line}"),
            Self::Removed(line) => format!("- {line}"),
            Self::Added(line) => format!("+ {line}"),
            Self::Gap => "  …".to_owned(),
        }
    }
}

/// Compares two texts line by line.
pub fn diff(before: &str, after: &str) -> Vec<DiffLine> {
    let (old, new): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let changes = match old.len().max(new.len()) > MAX_LINES {
        true => ends(&old, &new),
        false => {
            let diff = TextDiff::from_slices(&old, &new);
            let line = |change: similar::Change<&str>| (change.tag(), change.value().to_owned());
            diff.iter_all_changes().map(line).collect()
        }
    };
    near(changes)
}

/// Compares only from both ends.
fn ends(old: &[&str], new: &[&str]) -> Vec<(ChangeTag, String)> {
    let start = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let (old_rest, new_rest) = (&old[start..], &new[start..]);
    let pairs = old_rest.iter().rev().zip(new_rest.iter().rev());
    let end = pairs.take_while(|(old, new)| old == new).count();
    let removed = &old_rest[..old_rest.len() - end];
    let added = &new_rest[..new_rest.len() - end];
    let tagged = [
        (ChangeTag::Equal, &old[..start]),
        (ChangeTag::Delete, removed),
        (ChangeTag::Insert, added),
        (ChangeTag::Equal, &old[old.len() - end..]),
    ];
    let lines = tagged.into_iter().flat_map(|(tag, lines)| lines.iter().map(move |l| (tag, *l)));
    lines.map(|(tag, line)| (tag, line.to_owned())).collect()
}

/// Only the differences, with some lines around them.
fn near(changes: Vec<(ChangeTag, String)>) -> Vec<DiffLine> {
    let mut is_near = vec![false; changes.len()];
    for (nth, _) in changes.iter().enumerate().filter(|(_, (tag, _))| *tag != ChangeTag::Equal) {
        let end = changes.len().min(nth + AROUND + 1);
        is_near[nth.saturating_sub(AROUND)..end].fill(true);
    }
    let mut lines = Vec::new();
    for ((tag, line), is_near) in changes.into_iter().zip(is_near) {
        match tag {
            ChangeTag::Delete => lines.push(DiffLine::Removed(line)),
            ChangeTag::Insert => lines.push(DiffLine::Added(line)),
            ChangeTag::Equal if is_near => lines.push(DiffLine::Same(line)),
            ChangeTag::Equal if lines.last() != Some(&DiffLine::Gap) => lines.push(DiffLine::Gap),
            ChangeTag::Equal => {}
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(before: &str, after: &str) -> Vec<String> {
        diff(before, after).iter().map(DiffLine::text).collect()
    }

    #[test]
    fn differences_are_shown_with_the_lines_around_them() {
        let before: Vec<_> = (0..20).map(|n| n.to_string()).collect();
        let after = before.join("\n").replace("\n10\n", "\nten\n10½\n");
        let lines = shown(&before.join("\n"), &after);
        let expected =
            ["  …", "  7", "  8", "  9", "- 10", "+ ten", "+ 10½", "  11", "  12", "  13", "  …"];
        assert_eq!(lines, expected);
        assert_eq!(shown("a", "b"), ["- a", "+ b"]);
        assert_eq!(shown("", "b"), ["+ b"]);
    }

    #[test]
    fn long_text_is_compared_from_both_ends() {
        let before: Vec<_> = (0..MAX_LINES + 1).map(|n| n.to_string()).collect();
        let mut after = before.clone();
        after[100] = "x".into();
        after.remove(103);
        let lines = shown(&before.join("\n"), &after.join("\n"));
        let middle = ["- 100", "- 101", "- 102", "- 103", "+ x", "+ 101", "+ 102"];
        assert_eq!(lines[4..11], middle);
        assert_eq!(lines.len(), 1 + 3 + 7 + 3 + 1);
    }
}
