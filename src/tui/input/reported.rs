//! Keys that a terminal reports by number: xterm's modifyOtherKeys (`CSI 27 ; modifiers ; code ~`)
//! and kitty's protocol (`CSI code : shifted ; modifiers : event u`). The console enables neither,
//! but some terminals and multiplexers always use them for some keys.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Where kitty numbers keys that have no character.
const FUNCTIONAL: std::ops::RangeInclusive<u32> = 57_344..=63_743;
/// Kitty's event type of a key that is released.
const RELEASED: u32 = 3;
/// In a mask of modifiers: Super, Hyper and Meta, which no key of the console has.
const OTHERS: u32 = 8 | 16 | 32;

/// A parameter of a sequence, with what follows it after colons.
#[derive(Clone, Copy, Default)]
pub struct Parameter {
    pub value: Option<u32>,
    /// Of a key, the one with Shift; of modifiers, the type of the event.
    pub second: Option<u32>,
}

impl Parameter {
    /// Parameters separated by semicolons.
    pub fn all(text: &str) -> impl Iterator<Item = Self> {
        text.split(';').map(|parameter| {
            let mut numbers = parameter.split(':').map(|number| number.parse().ok());
            let mut next = || numbers.next().flatten();
            Self { value: next(), second: next() }
        })
    }

    /// Whether it says that the key is released.
    pub fn is_release(self) -> bool {
        self.second == Some(RELEASED)
    }

    /// Its modifiers, in xterm's encoding: a bit mask plus one.
    pub fn modifiers(self) -> KeyModifiers {
        let mask = self.mask();
        let pairs = [(1, KeyModifiers::SHIFT), (2, KeyModifiers::ALT), (4, KeyModifiers::CONTROL)];
        let held = pairs.into_iter().filter(|(bit, _)| mask & bit != 0);
        held.fold(KeyModifiers::NONE, |all, (_, modifier)| all | modifier)
    }

    fn mask(self) -> u32 {
        self.value.unwrap_or(1).saturating_sub(1)
    }
}

/// The key with this number.
pub fn key(key: Parameter, held: Parameter) -> Option<KeyEvent> {
    if held.is_release() || held.mask() & OTHERS != 0 {
        return None;
    }
    let modifiers = held.modifiers();
    let has_shift = modifiers.contains(KeyModifiers::SHIFT);
    Some(match code(key.value?)? {
        KeyCode::Tab if has_shift => KeyEvent::new(KeyCode::BackTab, modifiers),
        KeyCode::Char(c) => {
            let shifted = key.second.and_then(char::from_u32).filter(|c| !c.is_control());
            let c = match shifted {
                Some(shifted) if has_shift => shifted,
                // A letter of which only the key is reported.
                None if has_shift => single(c.to_uppercase()).unwrap_or(c),
                _ => c,
            };
            // As without a protocol: Shift is held for capitals, and part of other characters.
            let shift = if c.is_uppercase() { KeyModifiers::SHIFT } else { KeyModifiers::NONE };
            KeyEvent::new(KeyCode::Char(c), (modifiers - KeyModifiers::SHIFT) | shift)
        }
        code => KeyEvent::new(code, modifiers),
    })
}

fn single(mut chars: impl Iterator<Item = char>) -> Option<char> {
    chars.next().filter(|_| chars.next().is_none())
}

fn code(number: u32) -> Option<KeyCode> {
    match number {
        8 | 127 => Some(KeyCode::Backspace),
        9 => Some(KeyCode::Tab),
        13 => Some(KeyCode::Enter),
        27 => Some(KeyCode::Esc),
        number if FUNCTIONAL.contains(&number) => functional(number),
        other => char::from_u32(other).filter(|c| !c.is_control()).map(KeyCode::Char),
    }
}

/// The keys of the keypad, and F13 and higher; the others are locks, media keys and modifiers.
fn functional(number: u32) -> Option<KeyCode> {
    Some(match number {
        57_376..=57_398 => KeyCode::F(u8::try_from(number - 57_376).ok()? + 13),
        57_399..=57_408 => KeyCode::Char(char::from_digit(number - 57_399, 10)?),
        57_409 => KeyCode::Char('.'),
        57_410 => KeyCode::Char('/'),
        57_411 => KeyCode::Char('*'),
        57_412 => KeyCode::Char('-'),
        57_413 => KeyCode::Char('+'),
        57_414 => KeyCode::Enter,
        57_415 => KeyCode::Char('='),
        57_416 => KeyCode::Char(','),
        57_417 => KeyCode::Left,
        57_418 => KeyCode::Right,
        57_419 => KeyCode::Up,
        57_420 => KeyCode::Down,
        57_421 => KeyCode::PageUp,
        57_422 => KeyCode::PageDown,
        57_423 => KeyCode::Home,
        57_424 => KeyCode::End,
        57_425 => KeyCode::Insert,
        57_426 => KeyCode::Delete,
        _ => return None,
    })
}
