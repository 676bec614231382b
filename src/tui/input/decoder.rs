//! Decodes the bytes from a terminal into keys, pasted text and mouse input.
//!
//! crossterm 0.29 is not used here, because its reader owns the terminal's input and never returns
//! once the terminal is gone. Keys have the same meaning as in crossterm: a capital letter has
//! SHIFT, a control character is its letter with CONTROL, ESC before a key is ALT.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseEvent};

use super::mouse;
use super::reported::{self, Parameter};

const ESC: u8 = 0x1b;
const PASTE_END: &[u8] = b"\x1b[201~";
/// A longer escape sequence is not a key's and is dropped.
const MAX_SEQUENCE: usize = 64;
/// How much of a pasted text is kept; searches and filters are far shorter.
const MAX_PASTE: usize = 64 * 1024;

/// Input from the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// A key.
    Key(KeyEvent),
    /// A pasted text.
    Paste(String),
    /// A click or a turn of the wheel.
    Mouse(MouseEvent),
}

/// Decodes bytes into keys, whatever chunks they arrive in.
#[derive(Default)]
pub struct Decoder {
    pending: Vec<u8>,
    paste: Option<Vec<u8>>,
}

/// What the pending bytes start with.
enum Front {
    /// An incomplete sequence.
    Incomplete,
    /// A sequence of this many bytes, and what it means, if anything.
    Complete(usize, Option<Typed>),
    /// A sequence of this many bytes that starts a pasted text.
    PasteStart(usize),
}

impl Decoder {
    /// Accepts `bytes` and appends the input that they complete to `typed`.
    pub fn push(&mut self, bytes: &[u8], typed: &mut Vec<Typed>) {
        self.pending.extend_from_slice(bytes);
        while !self.pending.is_empty() {
            if self.paste.is_some() {
                match self.take_paste() {
                    Some(text) => typed.push(Typed::Paste(text)),
                    None => return,
                }
                continue;
            }
            match front(&self.pending) {
                Front::Incomplete if self.pending.len() > MAX_SEQUENCE => self.pending.clear(),
                Front::Incomplete => return,
                Front::Complete(length, what) => {
                    self.pending.drain(..length);
                    typed.extend(what);
                }
                Front::PasteStart(length) => {
                    self.pending.drain(..length);
                    self.paste = Some(Vec::new());
                }
            }
        }
    }

    /// Whether incomplete bytes are pending, outside a pasted text.
    pub fn is_waiting(&self) -> bool {
        self.paste.is_none() && !self.pending.is_empty()
    }

    /// Decodes the pending bytes after the wait for more has ended: a single ESC is the Esc key.
    pub fn give_up_waiting(&mut self) -> Option<Typed> {
        let key = match self.pending.as_slice() {
            [ESC] => Some(KeyEvent::from(KeyCode::Esc)),
            [ESC, byte @ (b'[' | b'O')] => {
                Some(KeyEvent::new(KeyCode::Char(char::from(*byte)), KeyModifiers::ALT))
            }
            _ => None,
        };
        self.pending.clear();
        key.map(Typed::Key)
    }

    /// Moves pending bytes into the pasted text; returns the text when it is complete.
    fn take_paste(&mut self) -> Option<String> {
        let paste = self.paste.get_or_insert_default();
        let end = self.pending.windows(PASTE_END.len()).position(|window| window == PASTE_END);
        // The last bytes may be the start of the end marker, so they stay.
        let length = end.unwrap_or_else(|| self.pending.len().saturating_sub(PASTE_END.len() - 1));
        let room = MAX_PASTE.saturating_sub(paste.len()).min(length);
        paste.extend_from_slice(&self.pending[..room]);
        self.pending.drain(..length);
        end?;
        self.pending.drain(..PASTE_END.len());
        let text = self.paste.take()?;
        Some(String::from_utf8_lossy(&text).into_owned())
    }
}

fn front(bytes: &[u8]) -> Front {
    match bytes {
        [] | [ESC] | [ESC, b'['] | [ESC, b'O'] => Front::Incomplete,
        // Two ESCs: the first is a key, the second may start a sequence.
        [ESC, ESC, ..] => Front::Complete(1, Some(plain(KeyCode::Esc))),
        [ESC, b'[', rest @ ..] => control_sequence(rest),
        [ESC, b'O', last, ..] => Front::Complete(3, keypad_key(*last).map(plain)),
        [ESC, rest @ ..] => match front(rest) {
            Front::Complete(length, what) => Front::Complete(length + 1, what.map(with_alt)),
            other => other,
        },
        [byte, ..] => match plain_key(*byte) {
            Some(key) => Front::Complete(1, Some(Typed::Key(key))),
            None => character(bytes),
        },
    }
}

fn plain(code: KeyCode) -> Typed {
    Typed::Key(KeyEvent::from(code))
}

fn with_alt(typed: Typed) -> Typed {
    match typed {
        Typed::Key(key) => Typed::Key(KeyEvent::new(key.code, key.modifiers | KeyModifiers::ALT)),
        other => other,
    }
}

/// Decodes a control character.
fn plain_key(byte: u8) -> Option<KeyEvent> {
    let control = |base: u8, offset: u8| {
        let code = KeyCode::Char(char::from(base + (byte - offset)));
        Some(KeyEvent::new(code, KeyModifiers::CONTROL))
    };
    match byte {
        b'\r' => Some(KeyEvent::from(KeyCode::Enter)),
        b'\t' => Some(KeyEvent::from(KeyCode::Tab)),
        0x7f => Some(KeyEvent::from(KeyCode::Backspace)),
        0 => Some(KeyEvent::new(KeyCode::Char(' '), KeyModifiers::CONTROL)),
        0x01..=0x1a => control(b'a', 1),
        0x1c..=0x1f => control(b'4', 0x1c),
        _ => None,
    }
}

/// Decodes a UTF-8 character; invalid bytes are dropped.
fn character(bytes: &[u8]) -> Front {
    let length = match bytes[0] {
        0x00..=0x7f => 1,
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Front::Complete(1, None),
    };
    let head = &bytes[..length.min(bytes.len())];
    match std::str::from_utf8(head) {
        Ok(text) => {
            let key = text.chars().next().map(|c| {
                let shift = if c.is_uppercase() { KeyModifiers::SHIFT } else { KeyModifiers::NONE };
                Typed::Key(KeyEvent::new(KeyCode::Char(c), shift))
            });
            Front::Complete(length, key)
        }
        Err(error) if error.error_len().is_none() => Front::Incomplete,
        Err(_) => Front::Complete(1, None),
    }
}

/// Decodes what follows `ESC [`.
fn control_sequence(rest: &[u8]) -> Front {
    // The Linux console's F1 to F5.
    if let [b'[', tail @ ..] = rest {
        return match tail {
            [] => Front::Incomplete,
            [byte @ b'A'..=b'E', ..] => {
                Front::Complete(4, Some(plain(KeyCode::F(byte - b'A' + 1))))
            }
            _ => Front::Complete(3, None),
        };
    }
    let Some(end) = rest.iter().position(|byte| !(0x20..=0x3f).contains(byte)) else {
        return Front::Incomplete;
    };
    let last = rest[end];
    let length = 2 + end;
    if !(0x40..=0x7e).contains(&last) {
        // Interrupted by something else, which is decoded next.
        return Front::Complete(length, None);
    }
    if &rest[..=end] == b"200~" {
        return Front::PasteStart(length + 1);
    }
    let parameters = &rest[..end];
    match (parameters, last) {
        ([], b'M') => match mouse::x10_length(&rest[1..]) {
            Some(more) => Front::Complete(length + 1 + more, None),
            None => Front::Incomplete,
        },
        ([b'<', ..], _) => {
            Front::Complete(length + 1, mouse::report(parameters, last).map(Typed::Mouse))
        }
        _ => Front::Complete(length + 1, sequence_key(parameters, last).map(Typed::Key)),
    }
}

/// The key for a sequence with these parameters and this last byte.
fn sequence_key(parameters: &[u8], last: u8) -> Option<KeyEvent> {
    let text = std::str::from_utf8(parameters).ok()?;
    let mut parameters = Parameter::all(text);
    let mut next = || parameters.next().unwrap_or_default();
    let (first, held) = (next(), next());
    if held.is_release() {
        return None;
    }
    let modifiers = held.modifiers();
    let code = match last {
        b'u' => return reported::key(first, held),
        b'~' if first.value == Some(27) => return reported::key(next(), held),
        b'~' => tilde_key(first.value?)?,
        b'Z' => return Some(KeyEvent::new(KeyCode::BackTab, modifiers | KeyModifiers::SHIFT)),
        // With other parameters it is a report, not a key.
        _ if first.value.is_none() && !text.is_empty() => return None,
        other => letter_key(other)?,
    };
    Some(KeyEvent::new(code, modifiers))
}

fn letter_key(last: u8) -> Option<KeyCode> {
    Some(match last {
        b'A' => KeyCode::Up,
        b'B' => KeyCode::Down,
        b'C' => KeyCode::Right,
        b'D' => KeyCode::Left,
        b'F' => KeyCode::End,
        b'H' => KeyCode::Home,
        b'P'..=b'S' => KeyCode::F(last - b'P' + 1),
        _ => return None,
    })
}

/// Decodes what follows `ESC O`; the keypad has its own Enter there.
fn keypad_key(last: u8) -> Option<KeyCode> {
    if last == b'M' { Some(KeyCode::Enter) } else { letter_key(last) }
}

fn tilde_key(number: u32) -> Option<KeyCode> {
    let function = |base: u32, first: u8| {
        u8::try_from(number - base).ok().map(|offset| KeyCode::F(first + offset))
    };
    match number {
        1 | 7 => Some(KeyCode::Home),
        2 => Some(KeyCode::Insert),
        3 => Some(KeyCode::Delete),
        4 | 8 => Some(KeyCode::End),
        5 => Some(KeyCode::PageUp),
        6 => Some(KeyCode::PageDown),
        11..=15 => function(11, 1),
        17..=21 => function(17, 6),
        23..=26 => function(23, 11),
        28..=29 => function(28, 15),
        31..=34 => function(31, 17),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
