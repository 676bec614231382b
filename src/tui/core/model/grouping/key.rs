//! What makes two lines the same.

use std::borrow::Cow;

use super::mask::mask;
use crate::model::line::{LineRef, REASONS};
use crate::model::query::detail_text;
use bklit_wire::debug_log::{Level, Stage, unfolded};

/// The most bytes of a masked message, and of a masked reason.
pub const MAX_PART: usize = 240;
/// Separates the parts; safe text never contains it.
const SEPARATOR: char = '\n';

/// What the lines of a group have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey {
    stage: Option<Stage>,
    level: Level,
    /// The status code of a refused request.
    status: Option<u16>,
    /// Message and reason, masked.
    text: Box<str>,
}

impl GroupKey {
    /// The key of a line.
    pub fn of(line: LineRef<'_>) -> Self {
        Self::with_status(line, status_of(line))
    }

    fn with_status(line: LineRef<'_>, status: Option<u16>) -> Self {
        let mut text = String::new();
        mask(&mut text, unfolded(line.message()).0, MAX_PART);
        text.push(SEPARATOR);
        if let Some(reason) = reason_of(line) {
            mask(&mut text, &reason, MAX_PART);
        }
        Self { stage: line.stage(), level: line.level(), status, text: text.into() }
    }

    /// Whether a line has this key.
    pub fn is_of(&self, line: LineRef<'_>) -> bool {
        // Masking costs most.
        self.stage == line.stage()
            && self.level == line.level()
            && self.status == status_of(line)
            && *self == Self::with_status(line, self.status)
    }

    /// The stage; `None` for lines that could not be parsed.
    pub fn stage(&self) -> Option<Stage> {
        self.stage
    }

    /// The level.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The status code, if the lines have one.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// The message, masked.
    pub fn message(&self) -> &str {
        self.text.split(SEPARATOR).next().unwrap_or_default()
    }

    /// The reason, masked, if the lines have one.
    pub fn reason(&self) -> Option<&str> {
        self.text.split(SEPARATOR).nth(1).filter(|reason| !reason.is_empty())
    }

    /// What the lines say is wrong: the reason, or else the message.
    pub fn what(&self) -> &str {
        self.reason().unwrap_or_else(|| self.message())
    }
}

fn status_of(line: LineRef<'_>) -> Option<u16> {
    detail_text(line, "status")?.parse().ok()
}

/// Why a line was written, if it says that.
fn reason_of(line: LineRef<'_>) -> Option<Cow<'_, str>> {
    REASONS.iter().find_map(|name| detail_text(line, name))
}

/// What a line says is wrong, unmasked: its reason, or else its message.
pub(super) fn what_of(line: LineRef<'_>) -> Cow<'_, str> {
    reason_of(line).unwrap_or_else(|| unfolded(line.message()).0.into())
}

/// How many lines a line stands for.
pub fn lines_of(line: LineRef<'_>) -> u64 {
    unfolded(line.message()).1
}

/// Whether two lines have the same key. The lines of a flood are mostly equal, which is found out
/// without masking them.
pub fn is_same(one: LineRef<'_>, other: LineRef<'_>) -> bool {
    if (one.stage(), one.level()) != (other.stage(), other.level()) {
        return false;
    }
    if one.message() == other.message() && one.fields() == other.fields() {
        return true;
    }
    GroupKey::of(one) == GroupKey::of(other)
}
