//! A key and its notation.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// One key, with its modifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    code: KeyCode,
    ctrl: bool,
}

pub(super) const fn ch(c: char) -> Key {
    Key { code: KeyCode::Char(c), ctrl: false }
}

pub(super) const fn ctrl(c: char) -> Key {
    Key { code: KeyCode::Char(c), ctrl: true }
}

pub(super) const fn code(code: KeyCode) -> Key {
    Key { code, ctrl: false }
}

impl Key {
    pub(super) fn matches(self, event: &KeyEvent) -> bool {
        // For characters Shift is implied, but some terminals report it as well.
        let modifiers = event.modifiers.difference(KeyModifiers::SHIFT);
        let wanted = if self.ctrl { KeyModifiers::CONTROL } else { KeyModifiers::NONE };
        event.code == self.code && modifiers == wanted
    }

    /// The event for pressing it.
    pub fn event(self) -> KeyEvent {
        let modifiers = if self.ctrl { KeyModifiers::CONTROL } else { KeyModifiers::NONE };
        KeyEvent::new(self.code, modifiers)
    }

    /// Its notation.
    pub fn label(self) -> String {
        let name = match self.code {
            KeyCode::Char(' ') => "Space".to_owned(),
            KeyCode::Char(c) if self.ctrl => c.to_ascii_uppercase().to_string(),
            KeyCode::Char(c) => c.to_string(),
            KeyCode::Up => "↑".to_owned(),
            KeyCode::Down => "↓".to_owned(),
            KeyCode::Left => "←".to_owned(),
            KeyCode::Right => "→".to_owned(),
            KeyCode::PageUp => "PgUp".to_owned(),
            KeyCode::PageDown => "PgDn".to_owned(),
            KeyCode::BackTab => "Shift-Tab".to_owned(),
            other => other.to_string(),
        };
        if self.ctrl { format!("Ctrl-{name}") } else { name }
    }
}

/// The notation of several keys, such as `1…6` or `f G End`.
pub fn label(keys: &[Key]) -> String {
    match keys {
        [first, .., last] if keys.len() > 4 => format!("{}…{}", first.label(), last.label()),
        keys => keys.iter().map(|key| key.label()).collect::<Vec<_>>().join(" "),
    }
}

/// The first of them, for the footer.
pub fn short_label(keys: &[Key]) -> String {
    match keys {
        [] | [_, _, _, _, _, ..] => label(keys),
        [first, ..] => first.label(),
    }
}
