//! Untrusted text made safe for terminals, and text cut to a width in columns.
//!
//! What a terminal would interpret, reorder or hide (control characters, escape sequences, bidi
//! controls, zero-width characters) is escaped: `\u{1b}`.

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Marks where text was cut.
pub const ELLIPSIS: &str = "…";

/// The text of an HTTP header: UTF-8, otherwise Latin-1, in which every byte means something.
pub fn of_header(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect()),
    }
}

/// Combining marks kept on one character; more would paint over neighbouring lines.
const MAX_MARKS: u8 = 3;

/// Characters that are invisible, change the order of others or join with what follows them.
const INVISIBLE: [(u32, u32); 34] = [
    (0x00ad, 0x00ad),
    (0x034f, 0x034f),
    (0x0600, 0x0605),
    (0x061c, 0x061c),
    (0x06dd, 0x06dd),
    (0x070f, 0x070f),
    (0x0890, 0x0891),
    (0x08e2, 0x08e2),
    (0x0d4e, 0x0d4e),
    (0x115f, 0x1160),
    (0x17b4, 0x17b5),
    (0x180b, 0x180f),
    (0x200b, 0x200f),
    (0x2028, 0x202e),
    (0x2060, 0x206f),
    (0x3164, 0x3164),
    (0xe000, 0xf8ff),
    (0xfe00, 0xfe0f),
    (0xfeff, 0xfeff),
    (0xffa0, 0xffa0),
    (0xfff0, 0xfffb),
    (0x110bd, 0x110bd),
    (0x110cd, 0x110cd),
    (0x111c2, 0x111c3),
    (0x113d1, 0x113d1),
    (0x1193f, 0x1193f),
    (0x11941, 0x11941),
    (0x11a3a, 0x11a3a),
    (0x11a84, 0x11a89),
    (0x11d46, 0x11d46),
    (0x11f02, 0x11f02),
    (0x1bca0, 0x1bca3),
    (0x1d173, 0x1d17a),
    (0xe0000, 0x10_ffff),
];

/// Whether a character can be shown unescaped in any context.
pub fn is_visible(c: char) -> bool {
    let code = u32::from(c);
    if code < 0x7f {
        return code >= 0x20;
    }
    !c.is_control()
        && !INVISIBLE.iter().any(|&(first, last)| (first..=last).contains(&code))
        && (code < 0x300 || c.width().is_some())
}

/// Decides, character by character in text order, which ones to show and which to escape.
#[derive(Default)]
struct Guard {
    /// The character that a following mark would combine with.
    base: Option<char>,
    marks: u8,
}

impl Guard {
    fn shows(&mut self, c: char) -> bool {
        if !is_visible(c) {
            self.base = None;
            return false;
        }
        if u32::from(c) < 0x300 || c.width() != Some(0) {
            (self.base, self.marks) = (Some(c), 0);
            return true;
        }
        self.marks = self.marks.saturating_add(1);
        self.marks <= MAX_MARKS && self.base.is_some_and(|base| combine(base, c))
    }
}

/// Whether a mark combines with the character before it, and not with the one after it.
fn combine(base: char, mark: char) -> bool {
    let pair = String::from_iter([base, mark]);
    pair.graphemes(true).nth(1).is_none()
}

/// Whether a text can be shown unescaped.
pub fn is_safe(text: &str) -> bool {
    // Without an early end, so that the compiler compares many bytes at once.
    if text.bytes().fold(true, |plain, byte| plain & (0x20..0x7f).contains(&byte)) {
        return true;
    }
    let mut guard = Guard::default();
    text.chars().all(|c| guard.shows(c))
}

/// Characters that turn the one before them into an emoji or back, and that join two emoji into one.
const SELECTORS: [char; 2] = ['\u{fe0e}', '\u{fe0f}'];
const JOINER: char = '\u{200d}';

/// Whether `c` is part of an emoji between these characters. How wide such an emoji is differs between
/// terminals; without `c`, its characters are shown next to each other, as wide as they are alone.
fn is_part_of_emoji(before: Option<char>, c: char, after: Option<char>) -> bool {
    match (before, after) {
        (Some(before), _) if SELECTORS.contains(&c) => join(before, '🚀'),
        (Some(before), Some(after)) if c == JOINER => join(before, after),
        _ => false,
    }
}

/// Whether these characters with a joiner between them are one emoji.
fn join(before: char, after: char) -> bool {
    String::from_iter([before, JOINER, after]).graphemes(true).nth(1).is_none()
}

/// The text without the characters that could not be shown unescaped; `None` if there are none.
pub fn without_unsafe(text: &str) -> Option<String> {
    let mut guard = Guard::default();
    (!is_safe(text)).then(|| text.chars().filter(|&c| guard.shows(c)).collect())
}

/// The text with everything escaped that a terminal must not receive: `\n`, `\t`, `\u{1b}`. Emoji that
/// consist of several joined ones become these.
pub fn safe(text: &str) -> Cow<'_, str> {
    if is_safe(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut guard = Guard::default();
    let mut before = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if is_part_of_emoji(before, c, chars.peek().copied()) {
            continue;
        }
        before = Some(c);
        if guard.shows(c) {
            out.push(c);
        } else {
            match c {
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c => push_escape(&mut out, c),
            }
        }
    }
    Cow::Owned(out)
}

fn push_escape(out: &mut String, c: char) {
    // Writing to a string cannot fail.
    let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
}

/// JSON text with unsafe characters escaped in JSON syntax, so that it stays JSON with the same
/// meaning. Only strings can contain them.
pub fn safe_json(json: &str) -> Cow<'_, str> {
    if is_safe(json) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    let mut guard = Guard::default();
    for c in json.chars() {
        if guard.shows(c) {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    Cow::Owned(out)
}

/// How many columns a text takes.
pub fn width(text: &str) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    text.graphemes(true).map(UnicodeWidthStr::width).sum()
}

/// The longest prefix of `text` that takes at most `columns`.
pub fn fit(text: &str, columns: usize) -> &str {
    if text.is_ascii() {
        return &text[..text.len().min(columns)];
    }
    let mut used = 0;
    for (at, grapheme) in text.grapheme_indices(true) {
        used += grapheme.width();
        if used > columns {
            return &text[..at];
        }
    }
    text
}

/// The longest prefix of `text` of at most `bytes` bytes.
pub fn fit_bytes(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The text in at most `columns`, ending in `…` if it was cut.
pub fn clip(text: &str, columns: usize) -> Cow<'_, str> {
    if columns == 0 {
        return Cow::Borrowed("");
    }
    // Lines may be long, so only the part that can be shown is measured.
    let fitting = fit(text, columns);
    if fitting.len() == text.len() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}{ELLIPSIS}", fit(fitting, columns - 1)))
}

/// The end of the text in at most `columns`, starting with `…` if it was cut: for ids, which often
/// share a prefix.
pub fn clip_start(text: &str, columns: usize) -> Cow<'_, str> {
    if columns == 0 {
        return Cow::Borrowed("");
    }
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let mut used = 1;
    let mut start = text.len();
    for (at, grapheme) in text.grapheme_indices(true).rev() {
        used += grapheme.width();
        if used > columns {
            break;
        }
        start = at;
    }
    Cow::Owned(format!("{ELLIPSIS}{}", &text[start..]))
}

/// The text in pieces of at most `columns`, broken after spaces where possible.
pub fn wrap(text: &str, columns: usize) -> Vec<&str> {
    let columns = columns.max(2);
    let mut pieces = Vec::new();
    let mut rest = text;
    loop {
        let fitting = fit(rest, columns);
        if fitting.len() == rest.len() {
            pieces.push(rest);
            return pieces;
        }
        let at = fitting.rfind(' ').map_or(fitting.len(), |space| space + 1);
        let at = if at == 0 { rest.chars().next().map_or(rest.len(), char::len_utf8) } else { at };
        pieces.push(&rest[..at]);
        rest = &rest[at..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_visible_character_joins_with_the_next_one() {
        for c in (' '..=char::MAX).filter(|&c| is_visible(c)) {
            let pair = format!("{c}A");
            assert_eq!(pair.graphemes(true).count(), 2, "{c:?}");
        }
    }

    #[test]
    fn plain_text_stays_as_it_is() {
        for text in ["", "checkout done", "Zürich 東京 🚀", "e\u{301}te\u{301}", "नमस्ते", "C:\\n"]
        {
            assert!(matches!(safe(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn what_a_terminal_interprets_or_hides_is_escaped() {
        for (text, shown) in [
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("a\tb\nc\r", "a\\tb\\nc\\r"),
            ("\0\u{7f}\u{9b}", "\\u{0}\\u{7f}\\u{9b}"),
            ("a\u{202e}b\u{2066}", "a\\u{202e}b\\u{2066}"),
            ("a\u{200b}\u{200d}\u{feff}", "a\\u{200b}\\u{200d}\\u{feff}"),
            ("\u{301}x", "\\u{301}x"),
            ("a\u{fe0f}東\u{fe0f}", "a\\u{fe0f}東\\u{fe0f}"),
            ("東\u{200d}京🚀\u{200d}", "東\\u{200d}京🚀\\u{200d}"),
            ("\u{e0041}", "\\u{e0041}"),
            ("a\u{113d1}b\u{600}", "a\\u{113d1}b\\u{600}"),
        ] {
            assert_eq!(safe(text), shown);
            assert!(is_safe(shown) && !is_safe(text));
        }
        assert_eq!(safe(&format!("a{}", "\u{301}".repeat(5))).matches("\\u{301}").count(), 2);
    }

    #[test]
    fn emoji_are_as_wide_as_their_parts() {
        for (text, shown, columns) in [
            ("❤\u{fe0f}!", "❤!", 2),
            ("⌚\u{fe0e}", "⌚", 2),
            ("👩\u{200d}💻", "👩💻", 4),
            ("🏳\u{fe0f}\u{200d}🌈", "🏳🌈", 3),
        ] {
            assert_eq!((&*safe(text), width(&safe(text))), (shown, columns), "{text}");
        }
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = serde_json::json!({ "a\u{202e}": "\u{1b}[2J\u{e0041}\u{200b}é", "n": [1.5] });
        let json = value.to_string();
        let safe = safe_json(&json);
        assert!(is_safe(&safe), "{safe}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
    }

    #[test]
    fn cutting_counts_columns_and_marks_the_cut() {
        assert_eq!(clip("checkout", 8), "checkout");
        assert_eq!(clip("checkout", 5), "chec…");
        assert_eq!(clip("東京都", 5), "東京…");
        assert_eq!(clip("東京都", 4), "東…");
        assert_eq!(clip("東", 1), "…");
        assert_eq!(clip("abc", 0), "");
        assert_eq!(clip_start("evt_0123456789", 6), "…56789");
        assert_eq!(clip_start("evt_1", 6), "evt_1");
        for columns in 0..12 {
            assert!(width(&clip("a東b京c🚀d", columns)) <= columns);
            assert!(width(&clip_start("a東b京c🚀d", columns)) <= columns);
        }
    }

    #[test]
    fn wrapping_loses_nothing_and_keeps_to_the_width() {
        let text = "a line of 東京 words andoneverylongwordwithoutanyspace 🚀";
        for columns in 2..40 {
            let pieces = wrap(text, columns);
            assert_eq!(pieces.concat(), text);
            assert!(pieces.iter().all(|piece| width(piece) <= columns), "{columns}: {pieces:?}");
        }
    }
}
